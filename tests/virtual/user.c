/* SPDX-License-Identifier: Apache-2.0 */
/* A client: connects, makes a few deals at once or one after the other, and leaves, at the end or
 * sooner. Over HTTP deals of one connection are answered in order, over MCP each has a session;
 * some of those negotiate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/parse/message.h"
#include "terms.h"
#include "wire/frame.h"
#include "world.h"

enum {
    PATIENCE_MS = 10 * 60 * 1000,
    BEAT_MS = 20 * 1000,
    STALL_MS = 2 * 60 * 1000,
    ERRORS_MAX = 10
};

/* Sessions of an MCP client besides those of its deals. */
enum { SESSION_BEAT = 7, SESSION_BAD = 8, SESSION_UNKNOWN = 9 };

struct user {
    bool is_mcp;
    struct terms terms;
    bool leaves_slowly; /* half-closes */
    bool closes;        /* asks that the gateway does */
    bool done;
    unsigned deals_left;
    struct sock *s;
    struct deal *deals[SESSIONS_MAX]; /* HTTP: in order, from the first; MCP: by session */
    size_t in_flight;
    struct http_parser *parser;
    struct buf in;
    struct buf out;       /* not written yet */
    unsigned errors_made; /* on purpose, MCP */
    unsigned errors_told;
    bool crowded[SESSIONS_MAX];
    unsigned beats_sent;
    unsigned beats_echoed;
    bool is_error; /* of the answer that comes in */
    bool paused;
    bool stalled;
    struct timer writing;
    struct timer dawdling;
    struct timer leaving;
    struct timer patience;
    struct timer stalling;
    struct timer beating;
};

/* --- the end */

static void finish(struct user *u)
{
    if (u->done) {
        return;
    }
    u->done = true;
    world.users_done++;
    timer_cancel(world.loop, &u->writing);
    timer_cancel(world.loop, &u->dawdling);
    timer_cancel(world.loop, &u->leaving);
    timer_cancel(world.loop, &u->patience);
    timer_cancel(world.loop, &u->stalling);
    timer_cancel(world.loop, &u->beating);
}

static void end_all(struct user *u, enum deal_end how)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (u->deals[i] != NULL) {
            deal_ended(u->deals[i], how);
            u->deals[i] = NULL;
        }
    }
    u->in_flight = 0;
}

static void leave(void *owner)
{
    struct user *u = owner;

    end_all(u, DEAL_LEFT);
    if (u->leaves_slowly && buf_len(&u->out) == 0) {
        sock_close_gently(&u->s);
    } else {
        sock_close(&u->s, one_in(2));
    }
    finish(u);
}

/* The gateway should have said something by now, or ended the connection; on a network that
 * swallows connections nobody can. (How long all of an answer takes is the network's business: with
 * buffers of a few bytes on a long way, hours.) */
static void lose_patience(void *owner)
{
    assert_true(world.plan.net_hangs);
    leave(owner);
}

/* --- asking */

static void write_some(void *owner)
{
    struct user *u = owner;
    size_t n = buf_len(&u->out);

    if (world.plan.clients_dawdle && n > 1) {
        n = one_in(2) ? n : (size_t)pick(n) + 1;
    }
    assert_true(sock_write(u->s, slice_of(buf_slice(&u->out).ptr, n)));
    buf_consume(&u->out, n);
    if (buf_len(&u->out) > 0) {
        timer_arm(world.loop, &u->writing, pick(50));
    }
}

static void ask_http(struct user *u, const struct deal *d)
{
    assert_true(buf_printf(&u->out,
                           "POST %s HTTP/1.1\r\nHost: 127.0.0.1:11435\r\nContent-Type: "
                           "application/json\r\nContent-Length: %zu\r\n%s\r\n",
                           deal_path(d), deal_asked_for(d).len,
                           u->closes && u->deals_left == 0 ? "Connection: close\r\n" : "") &&
                buf_append(&u->out, deal_asked_for(d)));
}

/* What belongs to no deal, and must disturb none. */
static void say_more(struct user *u, uint32_t busy)
{
    if (one_in(4)) {
        u->beats_sent++;
        terms_say(&u->terms, &u->out, WIRE_OP_HEARTBEAT, SESSION_BEAT, SLICE("beat"));
    }
    if (world.plan.clients_err && u->errors_made < ERRORS_MAX && one_in(3)) {
        u->errors_made++;
        world.more_asked++;
        switch (busy == SESSIONS_MAX ? 1 : pick(3)) {
        case 0: /* session_busy, on session 0; on its own where that is over by then. No deal comes
                   behind it, which would find it busy too. */
            u->crowded[busy - 1] = true;
            terms_say(&u->terms, &u->out, WIRE_OP_REQUEST, busy, SLICE("{\"op\":1}"));
            break;
        case 1:
            terms_say(&u->terms, &u->out, WIRE_OP_REQUEST, SESSION_BAD, SLICE("{\"mod"));
            break;
        default:
            terms_say(&u->terms, &u->out, (enum wire_opcode)0x55, SESSION_UNKNOWN, SLICE(""));
            break;
        }
    }
}

static size_t free_place(const struct user *u)
{
    size_t at = 0;

    while (at < SESSIONS_MAX && (u->deals[at] != NULL || u->crowded[at])) {
        at++;
    }
    return at;
}

static void ask(struct user *u)
{
    size_t most = (size_t)pick(SESSIONS_MAX) + 1;

    while (u->deals_left > 0 && u->in_flight < most) {
        size_t at = free_place(u);
        struct deal *d = at == SESSIONS_MAX ? NULL : deal_new(u->is_mcp);

        if (d == NULL) {
            u->deals_left = at == SESSIONS_MAX ? u->deals_left : 0;
            break;
        }
        u->deals[at] = d;
        d->asked_us = virtual_net_now_us(world.net);
        u->in_flight++;
        u->deals_left--;
        if (!u->is_mcp) {
            ask_http(u, d);
        } else {
            terms_say(&u->terms, &u->out, WIRE_OP_REQUEST, (uint32_t)at + 1, deal_asked_for(d));
            say_more(u, (uint32_t)at + 1);
        }
    }
    if (buf_len(&u->out) > 0) {
        timer_arm(world.loop, &u->writing, one_in(2) ? 0 : pick(30));
    }
}

/* --- what comes back */

static bool leave_when_done(struct user *u)
{
    if (u->in_flight > 0 || u->deals_left > 0 || u->beats_echoed != u->beats_sent) {
        return false;
    }
    sock_close(&u->s, false);
    finish(u);
    return true;
}

static void answer_over(struct user *u, size_t at, enum deal_end how)
{
    if (u->is_mcp && terms_close(&u->terms, (uint32_t)at + 1) && how == DEAL_FAILED) {
        how = DEAL_LEFT; /* cancelled */
    }
    deal_ended(u->deals[at], how);
    u->deals[at] = NULL;
    u->in_flight--;
    if (!u->is_mcp) {
        memmove(u->deals, u->deals + 1, (SESSIONS_MAX - 1) * sizeof(u->deals[0]));
        u->deals[SESSIONS_MAX - 1] = NULL;
    }
    (void)leave_when_done(u);
}

static bool ends_with_error(struct slice body)
{
    const char *line;

    while (body.len > 0 && body.ptr[body.len - 1] == '\n') {
        body.len--;
    }
    line = body.len == 0 ? NULL : memrchr(body.ptr, '\n', body.len);
    line = line == NULL ? body.ptr : line + 1;
    return body.len > 0 && deal_is_error(slice_of(line, (size_t)(body.ptr + body.len - line)));
}

static void http_event(struct user *u, const struct http_event *ev)
{
    struct deal *d = u->deals[0];

    assert_non_null(d); /* nobody asked */
    if (ev->kind == HTTP_EV_HEAD) {
        u->is_error = ev->head->status >= 400;
    } else if (ev->kind == HTTP_EV_BODY) {
        assert_true(buf_append(&d->got, ev->body));
    } else {
        bool failed = u->is_error || ends_with_error(buf_slice(&d->got));

        answer_over(u, 0, failed ? DEAL_FAILED : DEAL_WHOLE);
    }
}

static void read_http(struct user *u)
{
    while (u->s != NULL) {
        struct http_event ev = {0};
        struct err e = {0};
        ptrdiff_t n = http_parser_feed(u->parser, buf_slice(&u->in), &ev, &e);

        assert_true(n >= 0); /* the gateway speaks HTTP */
        if (ev.kind == HTTP_EV_MORE) {
            buf_consume(&u->in, (size_t)n);
            break;
        }
        http_event(u, &ev);
        buf_consume(&u->in, (size_t)n);
    }
}

/* About what came behind the deal: to a gateway that stops, it is one more request. */
static bool is_about_crowd(const struct user *u, uint32_t session, struct slice payload)
{
    return session >= 1 && session <= SESSIONS_MAX && u->crowded[session - 1] &&
           (u->deals[session - 1] == NULL ||
            (memmem(payload.ptr, payload.len, "\"bad_request\"", 13) != NULL &&
             memmem(payload.ptr, payload.len, " is refused", 11) == NULL)); /* as deals are */
}

/* A part is the node's next line; or an error, which is the end. */
static void mcp_part(struct user *u, uint32_t session, struct slice payload)
{
    struct deal *d = session >= 1 && session <= SESSIONS_MAX ? u->deals[session - 1] : NULL;
    bool is_error = deal_is_error(payload);

    if (session == 0 || session == SESSION_BAD || session == SESSION_UNKNOWN ||
        is_about_crowd(u, session, payload)) {
        if (!is_error || u->errors_told == u->errors_made) {
            print_error("unasked for, on session %u: %.*s\n", (unsigned)session,
                        SLICE_ARG(payload));
        }
        assert_true(is_error && ++u->errors_told <= u->errors_made);
        return;
    }
    assert_non_null(d); /* nobody asked, or it has ended */
    if (is_error) {
        assert_non_null(memmem(payload.ptr, payload.len, "\"done\":true", 11));
        answer_over(u, session - 1, DEAL_FAILED);
        return;
    }
    if (deal_part(d, payload)) {
        answer_over(u, session - 1, DEAL_WHOLE);
    }
}

static void mcp_beat(struct user *u, uint32_t session, struct slice payload)
{
    assert_true(session == SESSION_BEAT && slice_eq(payload, SLICE("beat")));
    assert_true(++u->beats_echoed <= u->beats_sent);
    (void)leave_when_done(u);
}

static void read_mcp(struct user *u)
{
    while (u->s != NULL && buf_len(&u->in) >= WIRE_HEADER_BYTES) {
        const uint8_t *bytes = (const uint8_t *)buf_slice(&u->in).ptr;
        struct mcp_header h = wire_header_decode(bytes);
        struct slice payload = slice_of(bytes + WIRE_HEADER_BYTES, h.length);

        if (buf_len(&u->in) < WIRE_HEADER_BYTES + h.length) {
            break;
        }
        assert_int_equal(h.version, WIRE_VERSION);
        if (h.opcode == WIRE_OP_HEARTBEAT) {
            mcp_beat(u, h.session_id, payload);
        } else {
            assert_int_equal(h.opcode, WIRE_OP_RESPONSE);
            mcp_part(u, h.session_id, payload);
        }
        buf_consume(&u->in, WIRE_HEADER_BYTES + h.length);
    }
}

static void heard_part(void *owner, uint32_t session, struct slice payload)
{
    mcp_part(owner, session, payload);
}

static void heard_beat(void *owner, uint32_t session, struct slice payload)
{
    mcp_beat(owner, session, payload);
}

/* Who negotiated is to be heard now and then. */
static void beat(void *owner)
{
    struct user *u = owner;

    u->beats_sent++;
    terms_say(&u->terms, &u->out, WIRE_OP_HEARTBEAT, SESSION_BEAT, SLICE("beat"));
    timer_arm(world.loop, &u->writing, 0);
    timer_arm(world.loop, &u->beating, BEAT_MS);
}

static void heard_welcome(void *owner)
{
    struct user *u = owner;

    ask(u);
    timer_arm(world.loop, &u->beating, BEAT_MS);
}

static bool listens(void *owner)
{
    return ((struct user *)owner)->s != NULL;
}

static const struct terms_ops heard = {
    .part = heard_part, .beat = heard_beat, .welcome = heard_welcome, .listens = listens};

static void on_connected(void *owner)
{
    struct user *u = owner;

    if (terms_greet(&u->terms, &u->out)) {
        ask(u);
    } else {
        write_some(u);
    }
}

static void on_data(void *owner, struct slice in)
{
    struct user *u = owner;

    timer_arm(world.loop, &u->patience, PATIENCE_MS);
    if (u->terms.is_on) {
        terms_hear(&u->terms, in, &heard, u, &u->out);
    } else {
        assert_true(buf_append(&u->in, in));
        if (u->is_mcp) {
            read_mcp(u);
        } else {
            read_http(u);
        }
    }
    if (u->s != NULL && u->in_flight < SESSIONS_MAX && (!u->terms.is_on || u->terms.is_welcome)) {
        ask(u);
    }
    if (u->s != NULL && buf_len(&u->out) > 0 && !timer_armed(&u->writing)) {
        timer_arm(world.loop, &u->writing, 0);
    }
}

static void hang_up(struct user *u)
{
    end_all(u, u->stalled ? DEAL_LEFT : DEAL_CUT); /* the gateway need not wait for ever */
    sock_close(&u->s, false);
    finish(u);
}

static void on_eof(void *owner)
{
    hang_up(owner);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    hang_up(owner);
}

static const struct sock_ops user_ops = {
    .connected = on_connected, .data = on_data, .eof = on_eof, .closed = on_closed};

static void dawdle(void *owner)
{
    struct user *u = owner;

    u->paused = !u->paused;
    if (u->paused) {
        sock_pause(u->s);
    } else {
        sock_resume(u->s);
    }
    timer_arm(world.loop, &u->dawdling, pick(u->paused ? 4000 : 300));
}

/* It will not read any more; in the end it leaves. */
static void stall(void *owner)
{
    struct user *u = owner;

    timer_cancel(world.loop, &u->dawdling);
    sock_pause(u->s);
    u->stalled = true;
    timer_arm(world.loop, &u->leaving, STALL_MS);
}

struct user *user_new(bool is_mcp)
{
    struct user *u = xcalloc(1, sizeof(*u));
    struct addr at;

    u->is_mcp = is_mcp;
    u->deals_left = (unsigned)pick(8) + 1;
    u->leaves_slowly = one_in(2);
    u->closes = one_in(2);
    u->parser = http_parser_new(HTTP_PARSE_RESPONSES);
    terms_init(&u->terms, is_mcp && one_in(2));
    timer_init(&u->writing, write_some, u);
    timer_init(&u->dawdling, dawdle, u);
    timer_init(&u->leaving, leave, u);
    timer_init(&u->patience, lose_patience, u);
    timer_init(&u->stalling, stall, u);
    timer_init(&u->beating, beat, u);
    assert_int_equal(addr_parse(&at, slice_str(is_mcp ? MCP_ADDRESS : HTTP_ADDRESS), NULL), 0);
    u->s = sock_connect(world.loop, &at, &user_ops, u);
    if (u->s == NULL) {
        assert_true(world.plan.net_breaks);
        finish(u);
        return u;
    }
    timer_arm(world.loop, &u->patience, PATIENCE_MS);
    if (world.plan.clients_dawdle) {
        timer_arm(world.loop, &u->dawdling, pick(1000));
    }
    if (world.plan.clients_leave && one_in(2)) {
        timer_arm(world.loop, &u->leaving, pick(3000));
    } else if (world.plan.clients_stall && one_in(3)) {
        timer_arm(world.loop, &u->stalling, pick(3000));
    }
    return u;
}

void user_free(struct user **up)
{
    struct user *u = *up;

    if (u == NULL) {
        return;
    }
    *up = NULL;
    finish(u);
    sock_close(&u->s, false);
    http_parser_free(&u->parser);
    terms_fini(&u->terms);
    buf_fini(&u->in);
    buf_fini(&u->out);
    free(u);
}
