/* SPDX-License-Identifier: Apache-2.0 */
#include "client/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/body.h"
#include "client/core_internal.h"

enum { BACKOFF_SHIFT_MAX = 20 };

/* --- life ---------------------------------------------------------------------------------------
 */

static void set_state(struct client_core *c, enum client_state state)
{
#define TO(state) (1u << CLIENT_##state)
    static const unsigned ALLOWED[] = {
        [CLIENT_START] = TO(START) | TO(CONNECT),
        [CLIENT_CONNECT] = TO(START) | TO(NEGOTIATE) | TO(READY) | TO(RETRY) | TO(FAILED),
        [CLIENT_NEGOTIATE] = TO(START) | TO(READY) | TO(RETRY) | TO(FAILED),
        [CLIENT_READY] = TO(START) | TO(RETRY) | TO(FAILED),
        [CLIENT_RETRY] = TO(START) | TO(CONNECT),
        [CLIENT_FAILED] = TO(START) | TO(CONNECT),
    };
#undef TO

    ASSERT((ALLOWED[c->state] & (1u << state)) != 0);
    c->state = state;
}

static int hold_pieces(void *arg, size_t bytes, struct err *e)
{
    struct client_core *c = arg;

    if (bytes > CLIENT_PIECES_BYTES_MAX - c->pieces_bytes) {
        return err_set(e, MCP_ETOO_LARGE, "unfinished answers are over the limit of %d bytes",
                       CLIENT_PIECES_BYTES_MAX);
    }
    c->pieces_bytes += bytes;
    return 0;
}

static void let_go_of_pieces(void *arg, size_t bytes)
{
    struct client_core *c = arg;

    c->pieces_bytes -= bytes;
}

/* What belongs to one connection, as it is before anything was agreed on. */
static void init_conn(struct client_core *c)
{
    const struct wire_config config = {WIRE_CLIENT, c->config.max_frame_bytes, 0};
    const struct wire_chunks_config chunks = {
        .max_payload_bytes = CLIENT_RESPONSE_BYTES_MAX,
        .hold = hold_pieces,
        .let_go = let_go_of_pieces,
        .arg = c,
        .no_memory = MCP_ENOMEM,
        .hash_seed = c->config.seed,
    };

    wire_conn_init(&c->conn, &config);
    wire_chunks_init(&c->chunks, &chunks);
    c->agreed = (struct wire_welcome){
        .features = WIRE_SINCE_BASE,
        .heartbeat_ms = WIRE_HEARTBEAT_MS,
        .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
        .max_sessions = WIRE_SESSIONS_MAX,
    };
    c->negotiated = false;
    c->going_away = false;
}

/* Nothing more is read or written; what a part borrows stays until the next call. */
static void leave_conn(struct client_core *c)
{
    struct client_exchange *x;

    while ((x = client_send_list_pop(&c->sending)) != NULL) {
    }
    wire_conn_close(&c->conn);
    wire_chunks_fini(&c->chunks);
    buf_release(&c->out);
}

static void fill_in_defaults(struct client_config *config)
{
    if (config->heartbeat_ms == 0) {
        config->heartbeat_ms = WIRE_HEARTBEAT_MS;
    }
    if (config->window_bytes == 0) {
        config->window_bytes = WIRE_WINDOW_BYTES;
    }
    if (config->negotiate_ms == 0) {
        config->negotiate_ms = CLIENT_NEGOTIATE_MS;
    }
    if (config->max_frame_bytes == 0) {
        config->max_frame_bytes = WIRE_MAX_FRAME_BYTES;
    }
}

void client_core_init(struct client_core *c, const struct client_config *config)
{
    /* A client keeps nothing of a session between exchanges. */
    const struct wire_session_config sessions = {
        .max_in_flight = WIRE_SESSIONS_MAX,
        .hash_seed = config->seed,
    };

    *c = (struct client_core){.config = *config, .rng = config->seed};
    fill_in_defaults(&c->config);
    init_conn(c);
    wire_session_table_init(&c->sessions, &sessions);
}

void client_exchange_end(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    wire_session_end(&c->sessions, x->session, now_ms);
    client_exchange_list_remove(&c->exchanges, x);
    if (client_send_list_has(x)) {
        client_send_list_remove(&c->sending, x);
    }
    buf_fini(&x->body);
    free(x);
}

void client_core_close(struct client_core *c)
{
    struct client_exchange *x;
    struct mcp_part *part;

    while ((x = client_exchange_list_first(&c->exchanges)) != NULL) {
        client_exchange_end(c, x, 0);
    }
    while ((part = client_part_list_pop(&c->kept)) != NULL) {
        client_part_fini(part);
        free(part);
    }
    c->failures = 0;
    leave_conn(c);
    set_state(c, CLIENT_START);
}

void client_core_fini(struct client_core *c)
{
    client_core_close(c);
    wire_conn_fini(&c->conn);
    wire_session_table_fini(&c->sessions);
    buf_fini(&c->out);
    buf_fini(&c->whole);
    buf_fini(&c->server_name);
}

bool client_core_is_up(const struct client_core *c)
{
    return c->state == CLIENT_NEGOTIATE || c->state == CLIENT_READY;
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

bool client_may_be_sent_again(const struct client_core *c, const struct client_exchange *x)
{
    return x->progress == CLIENT_WAITING && x->repeatable && !x->cancelled &&
           x->repeats < c->config.retries;
}

void client_core_connected(struct client_core *c, uint64_t now_ms)
{
    wire_conn_fini(&c->conn);
    init_conn(c);
    buf_clear(&c->out);
    c->connected_ms = c->sent_ms = now_ms;
    c->unanswered_ms = 0;
    if (c->config.features == 0) {
        client_core_ready(c, now_ms);
        return;
    }
    set_state(c, CLIENT_NEGOTIATE);
    wire_conn_greeted(&c->conn);
    if (!client_send_hello(c, now_ms)) {
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}

/* What was too long is found out when it is known with whom we speak. */
static bool begin_to_send(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    if (buf_len(&x->body) > client_send_most(c)) {
        client_core_fail(c, x, MCP_ETOO_LARGE);
        return true;
    }
    return client_send_request(c, x, now_ms);
}

void client_core_ready(struct client_core *c, uint64_t now_ms)
{
    struct client_exchange *x;
    bool ok = true;

    set_state(c, CLIENT_READY);
    c->sessions.config.max_in_flight =
        c->agreed.max_sessions < WIRE_SESSIONS_MAX ? c->agreed.max_sessions : WIRE_SESSIONS_MAX;
    for (x = client_exchange_list_first(&c->exchanges); x != NULL && ok;
         x = client_exchange_list_next(&c->exchanges, x)) {
        if (x->progress == CLIENT_WAITING) {
            ok = begin_to_send(c, x, now_ms);
        }
    }
    if (!ok) {
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
    if (c->going_away && c->return_ms > c->retry_ms) {
        c->retry_ms = c->return_ms;
    }
    set_state(c, CLIENT_RETRY);
}

void client_core_fail(struct client_core *c, struct client_exchange *x, int code)
{
    x->progress = CLIENT_ENDED;
    x->failure = code;
    c->failures++;
}

/* The exchanges that the loss ends, given that sending again is possible at all or not. True: some
 * go on. */
static bool fail_exchanges(struct client_core *c, int code, bool may_repeat)
{
    bool some_go_on = false;
    struct client_exchange *x;

    for (x = client_exchange_list_first(&c->exchanges); x != NULL;
         x = client_exchange_list_next(&c->exchanges, x)) {
        if (x->progress == CLIENT_ENDED) {
            continue;
        }
        if (may_repeat && !x->sent) {
            some_go_on = true;
        } else if (may_repeat && client_may_be_sent_again(c, x)) {
            x->sent = false;
            x->repeats++;
            some_go_on = true;
        } else {
            client_core_fail(c, x, x->cancelled ? MCP_ECANCELLED : code);
        }
    }
    return some_go_on;
}

void client_core_lost(struct client_core *c, int code, const char *text, uint64_t now_ms)
{
    bool ready = c->state == CLIENT_READY;
    bool may_repeat = mcp_error_retryable(code);

    err_set(&c->err, code, "%s", text);
    leave_conn(c);
    if (ready) {
        c->attempt = 0;
        c->attempts_left = c->config.retries > 0 ? CLIENT_RECONNECTS : 0;
    }
    may_repeat = may_repeat && c->attempts_left > 0;
    if (fail_exchanges(c, code, may_repeat) || (may_repeat && !ready)) {
        back_off(c, now_ms);
    } else {
        set_state(c, CLIENT_FAILED);
    }
}

/* After GOAWAY: what is unsent waits for a new connection, and nothing holds this one any more. */
static bool may_leave(const struct client_core *c)
{
    const struct client_exchange *x;
    bool unsent = false;

    if (c->state != CLIENT_READY || !c->going_away) {
        return false;
    }
    for (x = client_exchange_list_first(&c->exchanges); x != NULL;
         x = client_exchange_list_next(&c->exchanges, x)) {
        if (x->progress != CLIENT_ENDED && x->sent) {
            return false;
        }
        unsent |= x->progress != CLIENT_ENDED;
    }
    return unsent;
}

/* No failure: the next connection is made when the server said, and counts anew. */
static void leave(struct client_core *c, uint64_t now_ms)
{
    leave_conn(c);
    c->attempt = 0;
    c->attempts_left = c->config.retries > 0 ? CLIENT_RECONNECTS : 0;
    c->retry_ms = c->return_ms > now_ms ? c->return_ms : now_ms;
    set_state(c, CLIENT_RETRY);
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
    rv = client_body_make(&body, &x->body, json, c->config.auth_json, client_send_most(c), e);
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
    if (c->state == CLIENT_READY && !c->going_away && !client_send_request(c, x, now_ms)) {
        rv = err_set(e, MCP_ENOMEM, "out of memory");
        goto fail_session;
    }
    if (c->state == CLIENT_FAILED) {
        client_core_connect(c, true);
    }
    x->session->exchange = x;
    client_exchange_list_push(&c->exchanges, x);
    return 0;
fail_session:
    if (client_send_list_has(x)) {
        client_send_list_remove(&c->sending, x);
    }
    wire_session_end(&c->sessions, x->session, now_ms);
fail:
    ASSERT(rv < 0);
    buf_fini(&x->body);
    free(x);
    return rv;
}

struct client_exchange *client_exchange_find(const struct client_core *c, uint32_t session,
                                             uint64_t now_ms)
{
    struct wire_session *s = wire_session_find(&c->sessions, session, now_ms);
    struct client_exchange *x = s == NULL ? NULL : s->exchange;

    return x == NULL || x->progress == CLIENT_ENDED ? NULL : x;
}

int client_core_cancel(struct client_core *c, uint32_t session, uint64_t now_ms, struct err *e)
{
    struct wire_session *s = wire_session_find(&c->sessions, session, now_ms);
    struct client_exchange *x = s == NULL ? NULL : s->exchange;

    if (x == NULL) {
        return err_set(e, MCP_EARGUMENT, "nothing runs on session %u", session);
    }
    if (x->progress == CLIENT_ENDED || x->cancelled) {
        return 0;
    }
    if (!x->sent || client_send_list_has(x)) { /* no exchange yet: nothing would answer a CANCEL */
        if (!client_send_stop(c, x, now_ms)) {
            return err_set(e, MCP_ENOMEM, "out of memory");
        }
        client_core_fail(c, x, MCP_ECANCELLED);
        return 0;
    }
    if (!client_has(c, WIRE_SINCE_CANCEL)) {
        return err_set(e, MCP_EUNSUPPORTED_OP,
                       "cancel was not agreed on with this server, only closing can end it");
    }
    if (!client_send_frame(c, WIRE_OP_CANCEL, session, SLICE(""), now_ms)) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    x->cancelled = true;
    buf_release(&x->body);
    return 0;
}

size_t client_core_in_flight(const struct client_core *c)
{
    return c->exchanges.count;
}

uint64_t client_core_heartbeat(struct client_core *c, uint64_t now_ms)
{
    uint8_t number[CLIENT_BEAT_BYTES];

    for (size_t i = 0; i < CLIENT_BEAT_BYTES; i++) {
        number[i] = (uint8_t)((c->beats_sent + 1) >> (8 * (CLIENT_BEAT_BYTES - 1 - i)));
    }
    if (!client_send_frame(c, WIRE_OP_HEARTBEAT, 0, slice_of(number, CLIENT_BEAT_BYTES), now_ms)) {
        return 0;
    }
    if (c->unanswered_ms == 0) {
        c->unanswered_ms = now_ms;
    }
    return ++c->beats_sent;
}

void client_core_wrote(struct client_core *c, size_t n, uint64_t now_ms)
{
    buf_consume(&c->out, n);
    if (!client_send_fill(c, now_ms)) {
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}

/* --- time ---------------------------------------------------------------------------------------
 */

/* In the base profile a connection with an exchange in flight is not closed for silence. */
static bool silence_counts(const struct client_core *c)
{
    return c->unanswered_ms != 0 && (c->negotiated || c->exchanges.count == 0);
}

static uint64_t silence_end_ms(const struct client_core *c)
{
    return c->unanswered_ms + (uint64_t)WIRE_MISSED_HEARTBEATS * c->agreed.heartbeat_ms;
}

uint64_t client_core_deadline_ms(const struct client_core *c)
{
    uint64_t beat_ms = c->sent_ms + c->agreed.heartbeat_ms;

    switch (c->state) {
    case CLIENT_NEGOTIATE:
        return c->connected_ms + c->config.negotiate_ms;
    case CLIENT_READY:
        if (may_leave(c)) {
            return c->connected_ms; /* long since */
        }
        return silence_counts(c) && silence_end_ms(c) < beat_ms ? silence_end_ms(c) : beat_ms;
    case CLIENT_RETRY:
        return c->retry_ms;
    case CLIENT_START:
    case CLIENT_CONNECT:
    case CLIENT_FAILED:
        break;
    }
    return 0;
}

static void lose_for(struct client_core *c, int code, const char *what, uint64_t ms,
                     uint64_t now_ms)
{
    char text[80];

    (void)snprintf(text, sizeof(text), "%s in %" PRIu64 " ms", what, ms);
    client_core_lost(c, code, text, now_ms);
}

void client_core_tick(struct client_core *c, uint64_t now_ms)
{
    uint64_t deadline_ms = client_core_deadline_ms(c);

    if (deadline_ms == 0 || now_ms < deadline_ms) {
        return;
    }
    if (c->state == CLIENT_RETRY) {
        set_state(c, CLIENT_CONNECT);
    } else if (c->state == CLIENT_NEGOTIATE) {
        lose_for(c, MCP_ECLOSED, "no answer to HELLO", c->config.negotiate_ms, now_ms);
    } else if (may_leave(c)) {
        leave(c, now_ms);
    } else if (silence_counts(c) && now_ms >= silence_end_ms(c)) {
        lose_for(c, MCP_ETIMEOUT, "no sign of life from the server",
                 (uint64_t)WIRE_MISSED_HEARTBEATS * c->agreed.heartbeat_ms, now_ms);
    } else if (client_core_heartbeat(c, now_ms) == 0) {
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}
