/* SPDX-License-Identifier: Apache-2.0 */
#include "client/core.h"

#include <stdlib.h>

#include "base/check.h"
#include "client/body.h"

enum { BEAT_BYTES = 8, BACKOFF_SHIFT_MAX = 20 };

/* --- life ---------------------------------------------------------------------------------------
 */

static void set_state(struct client_core *c, enum client_state state)
{
#define TO(state) (1u << CLIENT_##state)
    static const unsigned ALLOWED[] = {
        [CLIENT_START] = TO(START) | TO(CONNECT),
        [CLIENT_CONNECT] = TO(START) | TO(READY) | TO(RETRY) | TO(FAILED),
        [CLIENT_READY] = TO(START) | TO(RETRY) | TO(FAILED),
        [CLIENT_RETRY] = TO(START) | TO(CONNECT),
        [CLIENT_FAILED] = TO(START) | TO(CONNECT),
    };
#undef TO

    ASSERT((ALLOWED[c->state] & (1u << state)) != 0);
    c->state = state;
}

static void init_conn(struct client_core *c)
{
    const struct wire_config config = {WIRE_CLIENT, WIRE_MAX_FRAME_BYTES, 0};

    wire_conn_init(&c->conn, &config);
}

void client_core_init(struct client_core *c, const struct client_config *config)
{
    /* A client keeps nothing of a session between exchanges. */
    const struct wire_session_config sessions = {
        .max_in_flight = WIRE_SESSIONS_MAX,
        .hash_seed = config->seed,
    };

    *c = (struct client_core){.config = *config, .rng = config->seed};
    init_conn(c);
    wire_session_table_init(&c->sessions, &sessions);
}

static void end_exchange(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    wire_session_end(&c->sessions, x->session, now_ms);
    client_exchange_list_remove(&c->exchanges, x);
    buf_fini(&x->body);
    free(x);
}

void client_core_close(struct client_core *c)
{
    struct client_exchange *x;
    struct mcp_part *part;

    while ((x = client_exchange_list_first(&c->exchanges)) != NULL) {
        end_exchange(c, x, 0);
    }
    while ((part = client_part_list_pop(&c->kept)) != NULL) {
        client_part_fini(part);
        free(part);
    }
    c->failures = 0;
    buf_release(&c->out);
    wire_conn_close(&c->conn);
    set_state(c, CLIENT_START);
}

void client_core_fini(struct client_core *c)
{
    client_core_close(c);
    wire_conn_fini(&c->conn);
    wire_session_table_fini(&c->sessions);
    buf_fini(&c->out);
}

/* --- connecting ---------------------------------------------------------------------------------
 */

void client_core_connect(struct client_core *c, bool again)
{
    c->attempt = 0;
    c->attempts_left = c->config.retries;
    if (again && c->config.retries > 0) {
        c->attempts_left = CLIENT_RECONNECTS;
    }
    set_state(c, CLIENT_CONNECT);
}

static bool may_be_sent_again(const struct client_core *c, const struct client_exchange *x)
{
    return x->progress == CLIENT_WAITING && x->repeatable && x->repeats < c->config.retries;
}

static void send_request(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    wire_frame_append(&c->out, WIRE_OP_REQUEST, x->session->id, buf_slice(&x->body));
    c->sent_ms = now_ms;
    if (!may_be_sent_again(c, x)) {
        buf_release(&x->body);
    }
}

void client_core_connected(struct client_core *c, uint64_t now_ms)
{
    struct client_exchange *x;

    set_state(c, CLIENT_READY);
    wire_conn_fini(&c->conn);
    init_conn(c);
    buf_clear(&c->out);
    c->sent_ms = now_ms;
    c->unanswered_ms = 0;
    for (x = client_exchange_list_first(&c->exchanges); x != NULL;
         x = client_exchange_list_next(&c->exchanges, x)) {
        if (x->progress == CLIENT_WAITING) {
            send_request(c, x, now_ms);
        }
    }
    if (buf_failed(&c->out)) {
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}

/* U(0,1) s, by splitmix64. */
static uint64_t random_ms(struct client_core *c)
{
    uint64_t z = c->rng += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % 1000;
}

static void back_off(struct client_core *c, uint64_t now_ms)
{
    unsigned shift = c->attempt < BACKOFF_SHIFT_MAX ? c->attempt : BACKOFF_SHIFT_MAX;

    c->attempts_left--;
    c->attempt++;
    c->retry_ms = now_ms + (1000ULL << shift) + random_ms(c);
    set_state(c, CLIENT_RETRY);
}

static void fail_exchange(struct client_core *c, struct client_exchange *x, int code)
{
    x->progress = CLIENT_ENDED;
    x->failure = code;
    c->failures++;
}

/* The exchanges that the loss ends, given that sending again is possible at all or not. True: some
 * go on. */
static bool fail_exchanges(struct client_core *c, int code, bool may_repeat)
{
    bool sent = c->state == CLIENT_READY;
    bool some_go_on = false;
    struct client_exchange *x;

    for (x = client_exchange_list_first(&c->exchanges); x != NULL;
         x = client_exchange_list_next(&c->exchanges, x)) {
        if (x->progress == CLIENT_ENDED) {
            continue;
        }
        if (may_repeat && !sent) {
            some_go_on = true;
        } else if (may_repeat && may_be_sent_again(c, x)) {
            x->repeats++;
            some_go_on = true;
        } else {
            fail_exchange(c, x, code);
        }
    }
    return some_go_on;
}

void client_core_lost(struct client_core *c, int code, const char *text, uint64_t now_ms)
{
    bool stood = c->state == CLIENT_READY;
    bool may_repeat = mcp_error_retryable(code);

    err_set(&c->err, code, "%s", text);
    wire_conn_close(&c->conn);
    buf_release(&c->out);
    if (stood) {
        c->attempt = 0;
        c->attempts_left = c->config.retries > 0 ? CLIENT_RECONNECTS : 0;
    }
    may_repeat = may_repeat && c->attempts_left > 0;
    if (fail_exchanges(c, code, may_repeat) || (may_repeat && !stood)) {
        back_off(c, now_ms);
    } else {
        set_state(c, CLIENT_FAILED);
    }
}

/* --- sending ------------------------------------------------------------------------------------
 */

int client_core_request(struct client_core *c, uint32_t session, struct slice json, uint64_t now_ms,
                        struct err *e)
{
    struct client_exchange *x = calloc(1, sizeof(*x));
    struct client_body body;
    int rv;

    if (x == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rv = client_body_make(&body, &x->body, json, c->config.auth_json, e);
    if (rv != 0) {
        goto fail;
    }
    rv = wire_session_begin(&c->sessions, session, now_ms, &x->session);
    if (rv != 0) {
        err_set(e, rv, "session %u: %s", session, mcp_error_text(rv));
        goto fail;
    }
    x->streams = body.streams;
    x->repeatable = body.repeatable;
    if (c->state == CLIENT_READY) {
        send_request(c, x, now_ms);
        if (buf_failed(&c->out)) {
            c->out.failed = false; /* the frame is not in it, what is before is whole */
            rv = err_set(e, MCP_ENOMEM, "out of memory");
            goto fail_session;
        }
    } else if (c->state == CLIENT_FAILED) {
        client_core_connect(c, true);
    }
    x->session->exchange = x;
    client_exchange_list_push(&c->exchanges, x);
    return 0;
fail_session:
    wire_session_end(&c->sessions, x->session, now_ms);
fail:
    ASSERT(rv < 0);
    buf_fini(&x->body);
    free(x);
    return rv;
}

size_t client_core_in_flight(const struct client_core *c)
{
    return c->exchanges.count;
}

uint64_t client_core_heartbeat(struct client_core *c, uint64_t now_ms)
{
    uint8_t number[BEAT_BYTES];

    for (size_t i = 0; i < BEAT_BYTES; i++) {
        number[i] = (uint8_t)((c->beats_sent + 1) >> (8 * (BEAT_BYTES - 1 - i)));
    }
    if (!wire_frame_append(&c->out, WIRE_OP_HEARTBEAT, 0, slice_of(number, BEAT_BYTES))) {
        c->out.failed = false;
        return 0;
    }
    c->sent_ms = now_ms;
    if (c->unanswered_ms == 0) {
        c->unanswered_ms = now_ms;
    }
    return ++c->beats_sent;
}

void client_core_wrote(struct client_core *c, size_t n)
{
    buf_consume(&c->out, n);
}

/* --- receiving ----------------------------------------------------------------------------------
 */

static void read_echo(struct client_core *c, struct slice payload)
{
    uint64_t number = 0;

    if (payload.len != BEAT_BYTES) {
        return; /* not one of ours */
    }
    for (size_t i = 0; i < BEAT_BYTES; i++) {
        number = number << 8 | (uint8_t)payload.ptr[i];
    }
    if (number <= c->beats_sent && number > c->beat_echoed) {
        c->beat_echoed = number;
    }
}

/* True: `part` is for the caller. */
static bool read_response(struct client_core *c, const struct wire_event *ev, uint64_t now_ms,
                          struct mcp_part *part)
{
    struct wire_session *session = wire_session_find(&c->sessions, ev->session, now_ms);
    struct client_exchange *x = session == NULL ? NULL : session->exchange;

    if (ev->session == 0) { /* never ends an exchange */
        client_part_read(part, 0, ev->payload, true);
        part->last = false;
        return part->error != 0;
    }
    if (x == NULL || x->progress == CLIENT_ENDED) {
        return false;
    }
    client_part_read(part, ev->session, ev->payload, !x->streams);
    if (x->progress == CLIENT_WAITING) {
        x->progress = CLIENT_ANSWERING;
        buf_release(&x->body); /* never sent again */
    }
    if (part->last) {
        x->progress = CLIENT_ENDED;
    }
    return true;
}

static bool handle_event(struct client_core *c, const struct wire_event *ev, uint64_t now_ms,
                         struct mcp_part *part)
{
    switch (ev->kind) {
    case WIRE_EVENT_RESPONSE:
        return read_response(c, ev, now_ms, part);
    case WIRE_EVENT_HEARTBEAT:
        read_echo(c, ev->payload);
        break;
    case WIRE_EVENT_REFUSE:
        if (ev->code == MCP_ENOMEM) { /* the part is lost, and whether it was the last one */
            client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
        } else if (ev->close) {
            client_core_lost(c, MCP_EPROTOCOL, ev->text, now_ms);
        }
        break;
    case WIRE_EVENT_HTTP:
        client_core_lost(c, MCP_EPROTOCOL, "the server speaks HTTP there, not MCP", now_ms);
        break;
    case WIRE_EVENT_TLS:
        client_core_lost(c, MCP_EPROTOCOL, "the server speaks TLS there", now_ms);
        break;
    case WIRE_EVENT_HELLO: /* to a server, or of what was not negotiated: they do not come */
    case WIRE_EVENT_WELCOME:
    case WIRE_EVENT_ACK:
    case WIRE_EVENT_CREDIT:
    case WIRE_EVENT_CANCEL:
    case WIRE_EVENT_GOAWAY:
    case WIRE_EVENT_CHUNK:
    case WIRE_EVENT_CORRUPT:
    case WIRE_EVENT_NONE:
    case WIRE_EVENT_REQUEST:
    case WIRE_EVENT_CLOSE:
        break;
    }
    return false;
}

ptrdiff_t client_core_recv(struct client_core *c, struct slice in, uint64_t now_ms,
                           struct mcp_part *part)
{
    struct wire_event ev;
    ptrdiff_t used = 0, n;

    c->unanswered_ms = 0;
    while (c->state == CLIENT_READY &&
           (n = wire_conn_recv(&c->conn, slice_skip(in, (size_t)used), now_ms, &ev)) > 0) {
        used += n;
        if (handle_event(c, &ev, now_ms, part)) {
            return used;
        }
    }
    return 0;
}

void client_core_keep(struct client_core *c, struct mcp_part *part, uint64_t now_ms)
{
    struct mcp_part *kept = calloc(1, sizeof(*kept));
    struct wire_session *session;

    if (kept != NULL && client_part_keep(part)) {
        *kept = *part;
        client_part_list_push(&c->kept, kept);
        client_part_init(part);
        return;
    }
    free(kept);
    session = wire_session_find(&c->sessions, part->session, now_ms);
    if (session != NULL) {
        fail_exchange(c, session->exchange, MCP_ENOMEM);
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}

static bool pop_kept(struct client_core *c, struct mcp_part *part)
{
    struct mcp_part *kept = client_part_list_pop(&c->kept);

    if (kept == NULL) {
        return false;
    }
    client_part_fini(part);
    *part = *kept;
    free(kept);
    return true;
}

bool client_core_part(struct client_core *c, struct mcp_part *part)
{
    struct client_exchange *x;

    if (pop_kept(c, part)) {
        return true;
    }
    if (c->failures == 0) {
        return false;
    }
    for (x = client_exchange_list_first(&c->exchanges); x->failure == 0;
         x = client_exchange_list_next(&c->exchanges, x)) {
    }
    client_part_make_error(part, x->session->id, x->failure,
                           x->failure == c->err.code ? c->err.text : mcp_error_text(x->failure));
    return true;
}

void client_core_seen(struct client_core *c, const struct mcp_part *part, uint64_t now_ms)
{
    struct wire_session *session;
    struct client_exchange *x;

    if (!part->last) {
        return;
    }
    session = wire_session_find(&c->sessions, part->session, now_ms);
    ASSERT(session != NULL && session->exchange != NULL);
    x = session->exchange;
    if (x->failure != 0) {
        c->failures--;
    }
    end_exchange(c, x, now_ms);
}

/* --- time ---------------------------------------------------------------------------------------
 */

/* In the base profile a connection with an exchange in flight is not closed for silence. */
static bool silence_counts(const struct client_core *c)
{
    return c->unanswered_ms != 0 && c->exchanges.count == 0;
}

uint64_t client_core_deadline_ms(const struct client_core *c)
{
    uint64_t beat_ms = c->sent_ms + CLIENT_HEARTBEAT_MS;
    uint64_t silence_ms = c->unanswered_ms + CLIENT_SILENCE_MS;

    switch (c->state) {
    case CLIENT_READY:
        return silence_counts(c) && silence_ms < beat_ms ? silence_ms : beat_ms;
    case CLIENT_RETRY:
        return c->retry_ms;
    case CLIENT_START:
    case CLIENT_CONNECT:
    case CLIENT_FAILED:
        break;
    }
    return 0;
}

void client_core_tick(struct client_core *c, uint64_t now_ms)
{
    uint64_t deadline_ms = client_core_deadline_ms(c);

    if (deadline_ms == 0 || now_ms < deadline_ms) {
        return;
    }
    if (c->state == CLIENT_RETRY) {
        set_state(c, CLIENT_CONNECT);
    } else if (silence_counts(c) && now_ms >= c->unanswered_ms + CLIENT_SILENCE_MS) {
        client_core_lost(c, MCP_ETIMEOUT, "no sign of life from the server for 90 s", now_ms);
    } else if (client_core_heartbeat(c, now_ms) == 0) {
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}
