/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp_conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "codec/error_body.h"
#include "gateway/exchange.h"
#include "gateway/sub.h"

enum {
    SILENCE_MS = 90000,            /* an idle connection without a byte */
    CONTROL_BYTES_MAX = 64 * 1024, /* of unsent control frames before reading stops */
    USER_TIMEOUT_MS = 90000,
};

static void on_data(void *owner, struct slice in);
static void on_frame_limit(void *owner);
static void on_silence(void *owner);
static void on_stall(void *owner);
static void on_expiry(void *owner);
static const struct sock_ops sock_ops;

static struct loop *loop_of(const struct mcp_conn *c)
{
    return c->sub->loop;
}

/* A peer that vanished without a word is found by the kernel, also while an exchange runs and we
 * wait. */
static void watch_peer(int fd)
{
    int on = 1;
    unsigned timeout_ms = USER_TIMEOUT_MS;

    /* Not fatal, and without meaning on unix sockets. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static void init_protocol(struct mcp_conn *c)
{
    const struct config *config = c->sub->config;
    const struct wire_config wire = {
        .role = WIRE_SERVER,
        .max_frame_bytes = (uint32_t)config->max_frame_bytes,
        .max_frame_unauthenticated_bytes =
            config->key_count > 0 ? WIRE_UNAUTHENTICATED_FRAME_BYTES : 0,
    };
    struct wire_session_config sessions = {
        .max_in_flight = config->max_sessions,
        .max_idle = config->sessions_remembered,
        .idle_ms = config->session_idle_ms,
        .max_inherit_bytes = WIRE_INHERIT_BYTES_MAX,
    };

    /* Short reads do not happen for 8 bytes; a failing kernel gives a seed of 0, which is merely
     * guessable. */
    (void)!getrandom(&sessions.hash_seed, sizeof(sessions.hash_seed), 0);
    wire_conn_init(&c->wire, &wire);
    wire_session_table_init(&c->sessions, &sessions);
}

struct mcp_conn *mcp_conn_new(struct sub *sub, int fd, const struct addr *peer,
                              void (*closed)(void *owner, struct mcp_conn *c), void *owner)
{
    struct mcp_conn *c = calloc(1, sizeof(*c));

    watch_peer(fd);
    if (c != NULL) {
        c->sock = sock_adopt(sub->loop, fd, &sock_ops, c);
    }
    if (c == NULL || c->sock == NULL) {
        if (c == NULL) {
            sock_drop(sub->loop, fd);
        }
        free(c);
        return NULL;
    }
    c->magic = MCP_CONN_MAGIC;
    c->sub = sub;
    c->closed = closed;
    c->owner = owner;
    c->heard_ms = loop_now_ms(sub->loop);
    addr_format_host(peer, c->client);
    init_protocol(c);
    timer_init(&c->frame_limit, on_frame_limit, c);
    timer_init(&c->silence, on_silence, c);
    timer_init(&c->stall, on_stall, c);
    timer_init(&c->expiry, on_expiry, c);
    timer_arm(sub->loop, &c->silence, SILENCE_MS);
    return c;
}

static void conn_destroy(void *ptr)
{
    struct mcp_conn *c = ptr;

    wire_conn_fini(&c->wire);
    wire_session_table_fini(&c->sessions);
    free(c);
}

static void count_forgotten(struct mcp_conn *c)
{
    counter_add(COUNTER_SESSIONS_EXPIRED, (int64_t)(c->sessions.expired - c->expired_counted));
    counter_add(COUNTER_SESSIONS_EVICTED, (int64_t)(c->sessions.evicted - c->evicted_counted));
    c->expired_counted = c->sessions.expired;
    c->evicted_counted = c->sessions.evicted;
}

static void give_held(struct mcp_conn *c)
{
    body_memory_give(c->sub->bodies, c->held_bytes);
    c->held_bytes = 0;
}

static void end_conn(struct mcp_conn *c, bool gently)
{
    struct loop *loop = loop_of(c);
    struct mcp_exchange *m;

    while ((m = mcp_exchange_list_first(&c->running)) != NULL) {
        mcp_exchange_cancel(m);
    }
    count_forgotten(c);
    give_held(c);
    if (gently) {
        sock_close_gently(&c->sock);
    } else {
        sock_close(&c->sock, false);
    }
    timer_cancel(loop, &c->frame_limit);
    timer_cancel(loop, &c->silence);
    timer_cancel(loop, &c->stall);
    timer_cancel(loop, &c->expiry);
    c->closed(c->owner, c);
    c->magic = 0;
    loop_bury(loop, c, conn_destroy);
}

void mcp_conn_close(struct mcp_conn *c)
{
    OBJ_CHECK(c, MCP_CONN_MAGIC);
    end_conn(c, true);
}

void mcp_conn_drain(struct mcp_conn *c)
{
    OBJ_CHECK(c, MCP_CONN_MAGIC);
    c->draining = true;
    if (c->running.count == 0) {
        mcp_conn_close(c);
    }
}

void mcp_conn_exchange_ended(struct mcp_conn *c)
{
    uint64_t expiry_ms = wire_session_expiry_ms(&c->sessions);

    count_forgotten(c);
    if (c->draining && c->running.count == 0) {
        mcp_conn_close(c);
    } else if (expiry_ms != 0 && !timer_armed(&c->expiry)) {
        uint64_t now_ms = loop_now_ms(loop_of(c));

        timer_arm(loop_of(c), &c->expiry, expiry_ms > now_ms ? expiry_ms - now_ms : 0);
    }
}

/* Output */

static void watch_output(struct mcp_conn *c)
{
    if (!timer_armed(&c->stall)) {
        c->stall_delivered = sock_delivered(c->sock);
        timer_arm(loop_of(c), &c->stall, c->sub->config->client_stall_ms);
    }
    if (!c->over_high && sock_over_high(c->sock)) {
        struct mcp_exchange *m;

        c->over_high = true;
        for (m = mcp_exchange_list_first(&c->running); m != NULL;
             m = mcp_exchange_list_next(&c->running, m)) {
            exchange_pause(m->exchange);
        }
    }
}

static void write_frame(struct mcp_conn *c, enum wire_opcode opcode, uint32_t session,
                        struct slice payload)
{
    const struct mcp_header header = {.version = WIRE_VERSION,
                                      .opcode = (uint8_t)opcode,
                                      .session_id = session,
                                      .length = (uint32_t)payload.len};
    uint8_t bytes[WIRE_HEADER_BYTES];

    wire_header_encode(&header, bytes);
    counter_add(COUNTER_MCP_FRAMES_OUT, 1);
    counter_add(COUNTER_BYTES_TO_CLIENTS, (int64_t)(WIRE_HEADER_BYTES + payload.len));
    /* Out of memory breaks the socket, which says so itself. */
    (void)(sock_write(c->sock, slice_of(bytes, sizeof(bytes))) && sock_write(c->sock, payload));
    watch_output(c);
}

void mcp_conn_part(struct mcp_conn *c, uint32_t session, struct slice payload, uint64_t read_us)
{
    if (c->unsent_us == 0) {
        c->unsent_us = read_us;
        sock_notify_sent(c->sock);
    }
    write_frame(c, WIRE_OP_RESPONSE, session, payload);
}

/* Heartbeats and errors: they are not held back, so a client that sends on without reading is no
 * longer read. */
static void write_control(struct mcp_conn *c, enum wire_opcode opcode, uint32_t session,
                          struct slice payload)
{
    write_frame(c, opcode, session, payload);
    c->control_bytes += WIRE_HEADER_BYTES + payload.len;
    if (c->control_bytes <= CONTROL_BYTES_MAX || c->reading_paused) {
        return;
    }
    sock_flush(c->sock);
    c->control_bytes = 0;
    if (sock_unsent(c->sock) > CONTROL_BYTES_MAX) {
        c->reading_paused = true;
        sock_pause(c->sock);
        wire_conn_paused(&c->wire, loop_now_ms(loop_of(c)));
        sock_notify_sent(c->sock);
    }
}

void mcp_conn_error_body(struct mcp_conn *c, uint32_t session, struct slice body)
{
    write_control(c, WIRE_OP_RESPONSE, session, body);
}

static void write_error(struct mcp_conn *c, uint32_t session, uint32_t about, int code,
                        struct slice text)
{
    struct buf body = {0};

    if (error_body_mcp(&body, code, text, 0, about)) {
        write_control(c, WIRE_OP_RESPONSE, session, buf_slice(&body));
    }
    buf_fini(&body);
}

void mcp_conn_error(struct mcp_conn *c, uint32_t session, int code, struct slice text)
{
    write_error(c, session, ERROR_NO_SESSION, code, text);
}

void mcp_conn_stray_error(struct mcp_conn *c, uint32_t about, int code, struct slice text)
{
    uint32_t session = wire_error_session(&c->sessions, about);

    counter_add(COUNTER_MCP_ERRORS, 1);
    write_error(c, session, session == about ? ERROR_NO_SESSION : about, code, text);
}

/* Input */

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

/* A request counts from its first byte, and is refused where memory is out by then. Who has shown
 * no key yet takes nothing of what others share: such frames are small. */
static void account_held(struct mcp_conn *c)
{
    size_t held = c->wire.authenticated ? wire_conn_held_bytes(&c->wire) : 0;

    if (held < c->held_bytes) {
        give_held(c);
    }
    if (body_memory_take(c->sub->bodies, held - c->held_bytes)) {
        c->held_bytes = held;
    } else {
        give_held(c);
        mcp_conn_stray_error(c, wire_conn_drop_held(&c->wire), MCP_EQUEUE_FULL,
                             SLICE(BODY_MEMORY_FULL_TEXT));
    }
}

/* False: the connection is gone. */
static bool handle_event(struct mcp_conn *c, const struct wire_event *ev)
{
    switch (ev->kind) {
    case WIRE_EVENT_REQUEST:
        counter_add(COUNTER_MCP_FRAMES_IN, 1);
        give_held(c); /* the exchange takes it */
        mcp_exchange_begin(c, ev->session, ev->payload);
        return true;
    case WIRE_EVENT_HEARTBEAT:
        counter_add(COUNTER_MCP_FRAMES_IN, 1);
        write_control(c, WIRE_OP_HEARTBEAT, ev->session, ev->payload);
        return true;
    case WIRE_EVENT_REFUSE:
        counter_add(COUNTER_MCP_FRAMES_IN, 1);
        mcp_conn_stray_error(c, ev->session, ev->code, slice_str(ev->text));
        if (!ev->close) {
            return true;
        }
        LOG_INFO("mcp_close", "client=%s reason=%s text=\"%s\"", c->client,
                 mcp_error_name(ev->code), ev->text);
        break;
    case WIRE_EVENT_HTTP:
        answer_http(c);
        break;
    case WIRE_EVENT_TLS:
        (void)sock_write(c->sock,
                         slice_of(tls_alert, sizeof(tls_alert))); /* failed: it sees a close */
        break;
    case WIRE_EVENT_CLOSE:
        counter_add(COUNTER_MCP_ERRORS, 1);
        LOG_INFO("mcp_close", "client=%s reason=slow text=\"%s\"", c->client, ev->text);
        break;
    default:
        return true;
    }
    mcp_conn_close(c);
    return false;
}

static void arm_frame_limit(struct mcp_conn *c)
{
    uint64_t deadline_ms = wire_conn_deadline_ms(&c->wire);
    uint64_t now_ms = loop_now_ms(loop_of(c));

    if (deadline_ms == 0) {
        timer_cancel(loop_of(c), &c->frame_limit);
    } else {
        timer_arm(loop_of(c), &c->frame_limit, deadline_ms > now_ms ? deadline_ms - now_ms : 0);
    }
}

static void on_data(void *owner, struct slice in)
{
    struct mcp_conn *c = owner;
    uint64_t now_ms = loop_now_ms(loop_of(c));
    struct wire_event ev;
    ptrdiff_t used;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    c->heard_ms = now_ms;
    counter_add(COUNTER_BYTES_FROM_CLIENTS, (int64_t)in.len);
    /* To the 0 behind the last event, which lets go of that one's payload. */
    while ((used = wire_conn_recv(&c->wire, in, now_ms, &ev)) > 0) {
        in = slice_skip(in, (size_t)used);
        if (!handle_event(c, &ev)) {
            return;
        }
    }
    account_held(c);
    arm_frame_limit(c);
}

static void on_eof(void *owner)
{
    mcp_conn_close(owner);
}

static void on_sock_closed(void *owner, int error)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    LOG_DEBUG("mcp_broken", "client=%s errno=%d", c->client, error);
    end_conn(c, false);
}

static void on_drained(void *owner)
{
    struct mcp_conn *c = owner;
    struct mcp_exchange *m;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    c->over_high = false;
    for (m = mcp_exchange_list_first(&c->running); m != NULL;
         m = mcp_exchange_list_next(&c->running, m)) {
        exchange_resume(m->exchange);
    }
}

static void on_sent(void *owner)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (c->unsent_us != 0) {
        histogram_record(HISTOGRAM_RELAY_US, loop_clock_us(loop_of(c)) - c->unsent_us);
        c->unsent_us = 0;
    }
    if (c->reading_paused) {
        c->reading_paused = false;
        sock_resume(c->sock);
        wire_conn_resumed(&c->wire, loop_now_ms(loop_of(c)));
        arm_frame_limit(c);
    }
}

static const struct sock_ops sock_ops = {
    .data = on_data,
    .eof = on_eof,
    .hangup = on_eof,
    .drained = on_drained,
    .sent = on_sent,
    .closed = on_sock_closed,
};

/* Timers */

static void on_frame_limit(void *owner)
{
    struct mcp_conn *c = owner;
    struct wire_event ev;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (!wire_conn_tick(&c->wire, loop_now_ms(loop_of(c)), &ev) || handle_event(c, &ev)) {
        arm_frame_limit(c);
    }
}

static void on_silence(void *owner)
{
    struct mcp_conn *c = owner;
    uint64_t silent_ms = loop_now_ms(loop_of(c)) - c->heard_ms;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (c->running.count > 0) {
        timer_arm(loop_of(c), &c->silence, SILENCE_MS);
    } else if (silent_ms < SILENCE_MS) {
        timer_arm(loop_of(c), &c->silence, SILENCE_MS - silent_ms);
    } else {
        LOG_DEBUG("mcp_close", "client=%s reason=idle", c->client);
        mcp_conn_close(c);
    }
}

/* Output waits and nothing leaves: first the exchanges end, then, when that brought nothing either,
 * the connection. */
static void on_stall(void *owner)
{
    struct mcp_conn *c = owner;
    struct mcp_exchange *m;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (sock_unsent(c->sock) == 0) {
        return;
    }
    if (sock_delivered(c->sock) == c->stall_delivered) {
        counter_add(COUNTER_CLIENT_STALLS, 1);
        if (c->running.count == 0) {
            LOG_INFO("mcp_close", "client=%s reason=stalled", c->client);
            end_conn(c, false);
            return;
        }
        for (m = mcp_exchange_list_first(&c->running); m != NULL;
             m = mcp_exchange_list_next(&c->running, m)) {
            exchange_abort(m->exchange, MCP_ECANCELLED, "the client does not read");
        }
    }
    c->stall_delivered = sock_delivered(c->sock);
    timer_arm(loop_of(c), &c->stall, c->sub->config->client_stall_ms);
}

static void on_expiry(void *owner)
{
    struct mcp_conn *c = owner;
    uint64_t now_ms = loop_now_ms(loop_of(c));
    uint64_t next_ms;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    wire_session_expire(&c->sessions, now_ms);
    count_forgotten(c);
    next_ms = wire_session_expiry_ms(&c->sessions);
    if (next_ms != 0) {
        timer_arm(loop_of(c), &c->expiry, next_ms > now_ms ? next_ms - now_ms : 0);
    }
}
