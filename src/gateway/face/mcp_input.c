/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends: frames, pieces of requests, and what is wrong with either. */
#include <stdlib.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/keys.h"
#include "gateway/sub.h"
#include "mcp/error.h"

/* --- the memory of requests ----------------------------------------------------------------------
 */

/* Who has shown no key yet takes nothing of what others share, and has little. */
static int hold_pieces(void *arg, size_t bytes, struct err *e)
{
    struct mcp_conn *c = arg;
    struct mcp_terms *t = c->terms;

    if (!c->wire.authenticated) {
        if (t->unshared_bytes + bytes > 2 * WIRE_UNAUTHENTICATED_FRAME_BYTES) {
            return err_set(e, MCP_EQUEUE_FULL, "too much at once before authentication");
        }
        t->unshared_bytes += bytes;
        return MCP_OK;
    }
    if (!body_memory_take(c->sub->bodies, bytes)) {
        return err_set(e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    }
    return MCP_OK;
}

/* Which bytes it was does not matter, only that the sums hold. */
static void let_go_of_pieces(void *arg, size_t bytes)
{
    struct mcp_conn *c = arg;
    struct mcp_terms *t = c->terms;
    size_t unshared = bytes < t->unshared_bytes ? bytes : t->unshared_bytes;

    t->unshared_bytes -= unshared;
    if (bytes > unshared) {
        body_memory_give(c->sub->bodies, bytes - unshared);
    }
}

static void on_chunk_limit(void *owner);

static void give_held(struct mcp_conn *c)
{
    if (c->held_bytes > 0) {
        body_memory_give(c->sub->bodies, c->held_bytes);
        c->held_bytes = 0;
    }
}

void mcp_input_init(struct mcp_conn *c)
{
    const struct config *config = c->sub->config;
    const struct wire_config wire = {
        .role = WIRE_SERVER,
        .max_frame_bytes = (uint32_t)config->max_frame_bytes,
        .max_frame_unauthenticated_bytes = WIRE_UNAUTHENTICATED_FRAME_BYTES,
    };

    wire_conn_init(&c->wire, &wire);
    wire_conn_set_authenticated(&c->wire, config->key_count == 0);
}

/* Of a request in pieces. */
static size_t max_payload(const struct mcp_conn *c)
{
    return c->wire.authenticated ? c->sub->config->max_body_bytes
                                 : WIRE_UNAUTHENTICATED_FRAME_BYTES;
}

bool mcp_input_negotiates(struct mcp_conn *c)
{
    const struct wire_chunks_config chunks = {
        .max_payload_bytes = max_payload(c),
        .hold = hold_pieces,
        .let_go = let_go_of_pieces,
        .arg = c,
        .no_memory = MCP_EINTERNAL,
        .hash_seed = c->sessions.config.hash_seed,
    };

    c->terms = calloc(1, sizeof(*c->terms));
    if (c->terms == NULL) {
        return false;
    }
    wire_chunks_init(&c->terms->chunks, &chunks);
    timer_init(&c->terms->chunk_limit, on_chunk_limit, c);
    return true;
}

void mcp_input_fini(struct mcp_conn *c)
{
    give_held(c);
    if (c->terms != NULL) {
        timer_cancel(c->sub->loop, &c->terms->chunk_limit);
        wire_chunks_fini(&c->terms->chunks);
        buf_fini(&c->terms->key);
        free(c->terms);
        c->terms = NULL;
    }
}

static void set_limits(struct mcp_conn *c, bool authenticated)
{
    wire_conn_set_authenticated(&c->wire, authenticated);
    if (c->terms != NULL) {
        c->terms->chunks.config.max_payload_bytes = max_payload(c);
    }
}

void mcp_conn_authenticated(struct mcp_conn *c, struct buf *key)
{
    if (key != NULL) {
        buf_move(&c->lifted_by, key);
    }
    set_limits(c, true);
}

static bool is_good(const struct mcp_conn *c, const struct buf *key)
{
    return buf_len(key) > 0 && keys_match(c->sub->config, buf_slice(key)) != NULL;
}

void mcp_conn_judge_again(struct mcp_conn *c)
{
    set_limits(c, c->sub->config->key_count == 0 || is_good(c, &c->lifted_by) ||
                      (c->terms != NULL && is_good(c, &c->terms->key)));
}

/* --- what is no MCP ------------------------------------------------------------------------------
 */

/* The lost browser is told where it wanted to go. */
static void answer_http(struct mcp_conn *c)
{
    char at[ADDR_TEXT_MAX] = "";
    struct buf reply = {0};
    struct buf body = {0};

    if (c->sub->http_addr != NULL) {
        addr_format(c->sub->http_addr, at);
    }
    buf_append_str(&body, "This port speaks MCP (Model Communication Protocol), not HTTP.");
    if (at[0] != '\0') {
        buf_printf(&body, " HTTP is at %s.", at);
    }
    buf_append_byte(&body, '\n');
    buf_printf(&reply,
               "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
               "Connection: close\r\n\r\n%.*s",
               buf_len(&body), SLICE_ARG(buf_slice(&body)));
    (void)sock_write(c->sock, buf_slice(&reply)); /* failed: it sees a close */
    buf_fini(&reply);
    buf_fini(&body);
}

/* fatal protocol_version: there is no TLS on this port. */
static const char tls_alert[] = {0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46};

/* --- requests ------------------------------------------------------------------------------------
 */

static bool close_for(struct mcp_conn *c, uint32_t session, const struct err *e)
{
    mcp_conn_stray_error(c, session, e->code, slice_str(e->text));
    mcp_conn_log_close(c, mcp_error_name(e->code), e->text);
    mcp_conn_close(c);
    return false;
}

/* An unfinished REQUEST is refused: once, and the session is free. */
static void refuse_pieces(struct mcp_conn *c, uint32_t session, const struct err *e)
{
    counter_add(COUNTER_MCP_CHUNKS_REFUSED, 1);
    mcp_exchange_not_arriving(c, session);
    mcp_conn_stray_error(c, session, e->code, slice_str(e->text));
}

void mcp_input_refuse_arriving(struct mcp_conn *c, uint32_t session, int code)
{
    struct err e = {0};

    (void)err_set(&e, code, "%s", mcp_error_text(code));
    if (wire_chunks_refuse(&c->terms->chunks, session)) {
        refuse_pieces(c, session, &e);
    }
}

/* A frame was dropped, for memory. What it was a piece of must not go on without it. */
static bool on_lost(struct mcp_conn *c, const struct err *why)
{
    const struct mcp_header *h = &c->wire.header;
    enum wire_chunk_verdict verdict = WIRE_CHUNK_REFUSED;
    struct err e = {0};

    if (mcp_conn_has(c, WIRE_SINCE_CHUNK) &&
        (h->opcode == WIRE_OP_CHUNK || h->opcode == WIRE_OP_REQUEST)) {
        verdict =
            wire_chunks_lost(&c->terms->chunks, h->session_id, h->opcode == WIRE_OP_REQUEST, &e);
    }
    if (verdict == WIRE_CHUNK_CLOSE) {
        return close_for(c, h->session_id, &e);
    }
    if (verdict == WIRE_CHUNK_REFUSED) {
        mcp_exchange_not_arriving(c, h->session_id);
        mcp_conn_stray_error(c, h->session_id, why->code, slice_str(why->text));
    }
    return mcp_conn_settle(c);
}

/* A request counts from its first byte, and is refused where memory is out by then. Who has shown
 * no key yet takes nothing of what others share: such frames are small, but for the one that came
 * while its key was taken away. False: the connection is gone. */
static bool account_held(struct mcp_conn *c)
{
    bool counts = c->wire.authenticated || c->held_bytes > 0;
    size_t held = counts ? wire_conn_held_bytes(&c->wire) : 0;
    struct err e = {0};

    if (held < c->held_bytes) {
        give_held(c);
    }
    if (held == c->held_bytes) {
        return true;
    }
    if (body_memory_take(c->sub->bodies, held - c->held_bytes)) {
        c->held_bytes = held;
        return true;
    }
    give_held(c);
    wire_conn_drop_held(&c->wire);
    (void)err_set(&e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    return on_lost(c, &e);
}

/* The first piece of a REQUEST is here. */
static bool begin_pieces(struct mcp_conn *c, uint32_t session)
{
    struct err e = {0};
    int rv = c->draining ? MCP_ESHUTTING_DOWN : mcp_exchange_arrive(c, session);

    if (rv == MCP_OK) {
        return true;
    }
    (void)err_set(&e, rv == MCP_ENOMEM ? MCP_EINTERNAL : rv, "%s", mcp_error_text(rv));
    if (!wire_chunks_refuse(&c->terms->chunks, session)) {
        return close_for(c, session, &e);
    }
    counter_add(COUNTER_MCP_CHUNKS_REFUSED, 1);
    mcp_conn_stray_error(c, session, e.code, slice_str(e.text));
    return true;
}

static bool on_chunk(struct mcp_conn *c, uint32_t session, struct slice piece)
{
    struct err e = {0};

    counter_add(COUNTER_MCP_CHUNKS_IN, 1);
    switch (wire_chunks_piece(&c->terms->chunks, session, piece, loop_now_ms(c->sub->loop), &e)) {
    case WIRE_CHUNK_BEGUN:
        return begin_pieces(c, session);
    case WIRE_CHUNK_DROPPED:
        mcp_exchange_not_arriving(c, session);
        return mcp_conn_settle(c);
    case WIRE_CHUNK_REFUSED:
        refuse_pieces(c, session, &e);
        return mcp_conn_settle(c);
    case WIRE_CHUNK_CLOSE:
        return close_for(c, session, &e);
    default:
        return true;
    }
}

static void on_request(struct mcp_conn *c, uint32_t session, struct slice payload)
{
    struct buf whole = {0};
    struct err e = {0};
    enum wire_chunk_verdict verdict = WIRE_CHUNK_ALONE;

    if (mcp_conn_has(c, WIRE_SINCE_CHUNK)) {
        verdict = wire_chunks_last(&c->terms->chunks, session, payload, &whole, &e);
    }
    if (verdict == WIRE_CHUNK_ALONE) {
        mcp_exchange_begin(c, session);
    } else if (verdict == WIRE_CHUNK_WHOLE) {
        mcp_exchange_arrived(c, session, &whole);
    } else if (verdict == WIRE_CHUNK_REFUSED) {
        refuse_pieces(c, session, &e);
    }
    buf_fini(&whole);
}

static void on_cancel(struct mcp_conn *c, uint32_t session)
{
    if (mcp_conn_has(c, WIRE_SINCE_CHUNK) && wire_chunks_drop(&c->terms->chunks, session)) {
        counter_add(COUNTER_MCP_CANCELS, 1);
        mcp_exchange_not_arriving(c, session);
    } else {
        mcp_exchange_on_cancel(c, session);
    }
}

/* --- events --------------------------------------------------------------------------------------
 */

static bool on_refuse(struct mcp_conn *c, const struct wire_event *ev)
{
    if (ev->lost) {
        struct err e = {0};

        (void)err_set(&e, ev->code, "%s", ev->text);
        return on_lost(c, &e);
    }
    mcp_conn_stray_error(c, ev->session, ev->code, slice_str(ev->text));
    if (!ev->close) {
        return true;
    }
    mcp_conn_log_close(c, ev->too_many ? "too_many_errors" : mcp_error_name(ev->code), ev->text);
    if (ev->too_many) {
        counter_add(COUNTER_MCP_TOO_MANY_ERRORS, 1);
        mcp_conn_go_away(c, WIRE_GOAWAY_TOO_MANY_ERRORS);
    } else {
        mcp_conn_close(c);
    }
    return false;
}

/* What ends the connection. */
static bool on_end(struct mcp_conn *c, const struct wire_event *ev)
{
    switch (ev->kind) {
    case WIRE_EVENT_HTTP:
        answer_http(c);
        mcp_conn_close(c);
        break;
    case WIRE_EVENT_TLS:
        /* failed: it sees a close */
        (void)sock_write(c->sock, slice_of(tls_alert, sizeof(tls_alert)));
        mcp_conn_close(c);
        break;
    case WIRE_EVENT_CORRUPT:
        counter_add(COUNTER_MCP_ERRORS, 1);
        counter_add(COUNTER_MCP_CORRUPT, 1);
        mcp_conn_log_close(c, "corrupt", ev->text);
        mcp_conn_go_away(c, WIRE_GOAWAY_CORRUPT);
        break;
    default: /* WIRE_EVENT_CLOSE */
        counter_add(COUNTER_MCP_ERRORS, 1);
        mcp_conn_log_close(c, "slow", ev->text);
        mcp_conn_close(c);
        break;
    }
    return false;
}

/* False: the connection is gone. */
static bool handle_event(struct mcp_conn *c, const struct wire_event *ev)
{
    switch (ev->kind) {
    case WIRE_EVENT_REQUEST:
        give_held(c); /* the exchange takes it */
        on_request(c, ev->session, ev->payload);
        return mcp_conn_settle(c);
    case WIRE_EVENT_HEARTBEAT:
        mcp_conn_control(c, WIRE_OP_HEARTBEAT, ev->session, ev->payload);
        return true;
    case WIRE_EVENT_CHUNK:
        return on_chunk(c, ev->session, ev->payload);
    case WIRE_EVENT_CREDIT:
        mcp_exchange_on_credit(c, ev->session, ev->credit_bytes);
        return mcp_conn_settle(c);
    case WIRE_EVENT_CANCEL:
        on_cancel(c, ev->session);
        return mcp_conn_settle(c);
    case WIRE_EVENT_HELLO:
        return mcp_hello(c, ev->session, ev->payload);
    case WIRE_EVENT_REFUSE:
        return on_refuse(c, ev);
    default:
        return on_end(c, ev);
    }
}

void mcp_input_data(struct mcp_conn *c, struct slice in)
{
    uint64_t now_ms = loop_now_ms(c->sub->loop);
    struct wire_event ev;
    ptrdiff_t used;

    counter_add(COUNTER_BYTES_FROM_CLIENTS, (int64_t)in.len);
    /* To the 0 behind the last event, which lets go of that one's payload. */
    while ((used = wire_conn_recv(&c->wire, in, now_ms, &ev)) > 0) {
        in = slice_skip(in, (size_t)used);
        counter_add(COUNTER_MCP_FRAMES_IN, ev.kind <= WIRE_EVENT_CORRUPT);
        if (!handle_event(c, &ev)) {
            return;
        }
    }
    if (account_held(c)) {
        mcp_conn_arm_limits(c);
    }
}

void mcp_input_frame_limit(struct mcp_conn *c)
{
    struct wire_event ev;

    if (!wire_conn_tick(&c->wire, loop_now_ms(c->sub->loop), &ev) || handle_event(c, &ev)) {
        mcp_conn_arm_limits(c);
    }
}

/* Pieces of a request did not go on. */
static void on_chunk_limit(void *owner)
{
    struct mcp_conn *c = owner;
    uint64_t now_ms = loop_now_ms(c->sub->loop);
    enum wire_chunk_verdict verdict;
    struct err e = {0};
    uint32_t session;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    while ((verdict = wire_chunks_stalled(&c->terms->chunks, now_ms, &session, &e)) !=
           WIRE_CHUNK_NOTHING) {
        if (verdict == WIRE_CHUNK_CLOSE) {
            (void)close_for(c, session, &e);
            return;
        }
        refuse_pieces(c, session, &e);
    }
    if (mcp_conn_settle(c)) {
        mcp_conn_arm_limits(c);
    }
}
