/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp_conn.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "codec/error_body.h"
#include "gateway/exchange.h"
#include "gateway/sub.h"
#include "obs/logfmt.h"

enum {
    CONTROL_BYTES_MAX = 64 * 1024, /* of unsent control frames before reading stops */
    HIGH_BYTES = 1024 * 1024,      /* of unsent output before the nodes are no longer read, */
    LOW_BYTES = 256 * 1024,        /* and when they are again */
    USER_TIMEOUT_MS = 90000,
};

static void on_silence(void *owner);
static void on_stall(void *owner);
static void on_expiry(void *owner);
static void on_frame_limit(void *owner);
static void on_lane_emptied(void *owner, struct mcp_lane *lane);
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

static void init_sessions(struct mcp_conn *c)
{
    const struct config *config = c->sub->config;
    struct wire_session_config sessions = {
        .max_in_flight = config->max_sessions,
        .max_idle = config->sessions_remembered,
        .idle_ms = config->session_idle_ms,
        .max_inherit_bytes = WIRE_INHERIT_BYTES_MAX,
    };

    /* Short reads do not happen for 8 bytes; a failing kernel gives a seed of 0, which is merely
     * guessable. */
    (void)!getrandom(&sessions.hash_seed, sizeof(sessions.hash_seed), 0);
    wire_session_table_init(&c->sessions, &sessions);
}

static void init_timers(struct mcp_conn *c)
{
    timer_init(&c->frame_limit, on_frame_limit, c);
    timer_init(&c->silence, on_silence, c);
    timer_init(&c->stall, on_stall, c);
    timer_init(&c->expiry, on_expiry, c);
}

struct mcp_conn *mcp_conn_new(struct sub *sub, struct sock *sock, uint64_t number,
                              const struct addr *peer,
                              void (*closed)(void *owner, struct mcp_conn *c), void *owner)
{
    struct mcp_conn *c = calloc(1, sizeof(*c));
    char client[ADDR_TEXT_MAX];

    addr_format_host(peer, client);
    if (c == NULL || (c->client = strdup(client)) == NULL) {
        sock_close(&sock, false);
        free(c);
        return NULL;
    }
    watch_peer(sock_fd(sock));
    c->sock = sock;
    sock_own(sock, &sock_ops, c);
    c->magic = MCP_CONN_MAGIC;
    c->sub = sub;
    c->number = number;
    c->closed = closed;
    c->owner = owner;
    c->features = WIRE_SINCE_BASE;
    c->heard_ms = loop_now_ms(sub->loop);
    c->silence_ms = sub->config->heartbeat_ms * WIRE_MISSED_HEARTBEATS;
    init_sessions(c);
    init_timers(c);
    mcp_input_init(c);
    mcp_out_init(&c->out, c->sock, on_lane_emptied, c);
    mcp_conn_arm_silence(c);
    return c;
}

static void conn_destroy(void *ptr)
{
    struct mcp_conn *c = ptr;

    wire_conn_fini(&c->wire);
    free(c->client);
    buf_fini(&c->lifted_by);
    mcp_out_fini(&c->out);
    wire_session_table_fini(&c->sessions);
    free(c);
}

static void count_forgotten(struct mcp_conn *c)
{
    if (c->sessions.expired == c->expired_counted && c->sessions.evicted == c->evicted_counted) {
        return;
    }
    counter_add(COUNTER_SESSIONS_EXPIRED, (int64_t)(c->sessions.expired - c->expired_counted));
    counter_add(COUNTER_SESSIONS_EVICTED, (int64_t)(c->sessions.evicted - c->evicted_counted));
    c->expired_counted = c->sessions.expired;
    c->evicted_counted = c->sessions.evicted;
}

/* Ends it without a word; the face hears of it. */
static void end_conn(struct mcp_conn *c, bool gently)
{
    struct loop *loop = loop_of(c);
    struct mcp_exchange *m;

    for (m = mcp_exchange_list_first(&c->running); m != NULL;
         m = mcp_exchange_list_next(&c->running, m)) {
        mcp_exchange_stop(m);
    }
    if (gently) {
        mcp_out_finish(&c->out);
    }
    while ((m = mcp_exchange_list_first(&c->running)) != NULL) {
        mcp_exchange_release(m);
    }
    count_forgotten(c);
    mcp_input_fini(c);
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

/* --- output -------------------------------------------------------------------------------------
 */

static void on_lane_emptied(void *owner, struct mcp_lane *lane)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    mcp_exchange_emptied(
        (struct mcp_exchange *)(void *)((char *)lane - offsetof(struct mcp_exchange, lane)));
}

static void update_all(struct mcp_conn *c)
{
    for (struct mcp_exchange *m = mcp_exchange_list_first(&c->running); m != NULL;
         m = mcp_exchange_list_next(&c->running, m)) {
        mcp_exchange_update(m);
    }
}

/* What we do not read cannot be late: the clocks of frames, pieces and silence stand. */
static void pause_reading(struct mcp_conn *c)
{
    uint64_t now_ms = loop_now_ms(loop_of(c));

    c->reading_paused = true;
    counter_add(COUNTER_MCP_READING_PAUSES, 1);
    sock_pause(c->sock);
    wire_conn_paused(&c->wire, now_ms);
    if (c->terms != NULL) {
        wire_chunks_paused(&c->terms->chunks, now_ms);
    }
    mcp_conn_arm_limits(c);
}

static void resume_reading(struct mcp_conn *c)
{
    uint64_t now_ms = loop_now_ms(loop_of(c));

    c->reading_paused = false;
    c->heard_ms = now_ms;
    sock_resume(c->sock);
    wire_conn_resumed(&c->wire, now_ms);
    if (c->terms != NULL) {
        wire_chunks_resumed(&c->terms->chunks, now_ms);
    }
    mcp_conn_arm_limits(c);
}

/* Whether nodes and the client are read, by what waits for the client. */
static void balance_reading(struct mcp_conn *c)
{
    size_t unsent = mcp_out_unsent(&c->out);
    size_t control = mcp_out_control_bytes(&c->out);

    if (!c->over_high && unsent >= HIGH_BYTES) {
        c->over_high = true;
        update_all(c);
    } else if (c->over_high && unsent <= LOW_BYTES) {
        c->over_high = false;
        update_all(c);
    }
    if (!c->reading_paused && control > CONTROL_BYTES_MAX) {
        pause_reading(c);
    } else if (c->reading_paused && control <= CONTROL_BYTES_MAX / 2) {
        resume_reading(c);
    }
    if (c->over_high || c->reading_paused) {
        sock_notify_sent(c->sock);
    }
}

/* After output of any kind. */
static void wrote(struct mcp_conn *c)
{
    if (!timer_armed(&c->stall)) {
        c->stall_delivered = sock_delivered(c->sock);
        timer_arm(loop_of(c), &c->stall, c->sub->config->client_stall_ms);
    }
    if (c->out.failed) {
        timer_arm(loop_of(c), &c->stall, 0);
    }
    balance_reading(c);
}

bool mcp_conn_settle(struct mcp_conn *c)
{
    uint64_t expiry_ms = wire_session_expiry_ms(&c->sessions);

    count_forgotten(c);
    wrote(c);
    if (c->draining && c->running.count == 0) {
        mcp_conn_close(c);
        return false;
    }
    if (expiry_ms != 0 && !timer_armed(&c->expiry)) {
        uint64_t now_ms = loop_now_ms(loop_of(c));

        timer_arm(loop_of(c), &c->expiry, expiry_ms > now_ms ? expiry_ms - now_ms : 0);
    }
    return true;
}

void mcp_conn_note_read(struct mcp_conn *c, uint64_t read_us)
{
    if (c->unsent_us == 0) {
        c->unsent_us = read_us;
        sock_notify_sent(c->sock);
    }
    wrote(c);
}

void mcp_conn_control(struct mcp_conn *c, enum wire_opcode opcode, uint32_t session,
                      struct slice payload)
{
    mcp_out_control(&c->out, opcode, session, payload);
    wrote(c);
}

void mcp_conn_stray_error(struct mcp_conn *c, uint32_t about, int code, struct slice text)
{
    uint32_t session = wire_error_session(&c->sessions, about);
    struct buf body = {0};

    counter_add(COUNTER_MCP_ERRORS, 1);
    if (error_body_mcp(&body, code, text, 0, session == about ? ERROR_NO_SESSION : about)) {
        mcp_conn_control(c, WIRE_OP_RESPONSE, session, buf_slice(&body));
    } else {
        mcp_out_fail(&c->out);
    }
    buf_fini(&body);
}

/* --- what the socket tells ----------------------------------------------------------------------
 */

static void on_data(void *owner, struct slice in)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    c->heard_ms = loop_now_ms(loop_of(c));
    mcp_input_data(c, in);
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

static void on_sent(void *owner)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (c->unsent_us != 0) {
        histogram_record(HISTOGRAM_RELAY_US, loop_clock_us(loop_of(c)) - c->unsent_us);
        c->unsent_us = 0;
    }
    mcp_out_sent(&c->out);
    (void)mcp_conn_settle(c);
}

static const struct sock_ops sock_ops = {
    .data = on_data,
    .eof = on_eof,
    .hangup = on_eof,
    .sent = on_sent,
    .closed = on_sock_closed,
};

/* --- timers -------------------------------------------------------------------------------------
 */

static void arm_limit(struct mcp_conn *c, struct timer *t, uint64_t deadline_ms)
{
    uint64_t now_ms = loop_now_ms(loop_of(c));

    if (deadline_ms == 0) {
        timer_cancel(loop_of(c), t);
    } else {
        timer_arm(loop_of(c), t, deadline_ms > now_ms ? deadline_ms - now_ms : 0);
    }
}

void mcp_conn_arm_limits(struct mcp_conn *c)
{
    arm_limit(c, &c->frame_limit, wire_conn_deadline_ms(&c->wire));
    if (c->terms != NULL) {
        arm_limit(c, &c->terms->chunk_limit, wire_chunks_deadline_ms(&c->terms->chunks));
    }
}

static void on_frame_limit(void *owner)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    mcp_input_frame_limit(c);
}

void mcp_conn_arm_silence(struct mcp_conn *c)
{
    timer_arm(loop_of(c), &c->silence, c->silence_ms);
}

/* Who negotiated sends heartbeats while its exchanges run; in the base profile the kernel watches
 * such a connection. We hear nothing while we do not listen. */
static void on_silence(void *owner)
{
    struct mcp_conn *c = owner;
    uint64_t silent_ms = loop_now_ms(loop_of(c)) - c->heard_ms;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if ((c->running.count > 0 && c->terms == NULL) || c->reading_paused) {
        mcp_conn_arm_silence(c);
    } else if (silent_ms < c->silence_ms) {
        timer_arm(loop_of(c), &c->silence, c->silence_ms - silent_ms);
    } else {
        LOG_DEBUG("mcp_close", "client=%s connection=%" PRIu64 " reason=idle", c->client,
                  c->number);
        counter_add(COUNTER_MCP_SILENT, 1);
        mcp_conn_go_away(c, WIRE_GOAWAY_IDLE);
    }
}

/* How many there were. */
static size_t abort_exchanges(struct mcp_conn *c)
{
    size_t count = 0;

    for (struct mcp_exchange *m = mcp_exchange_list_first(&c->running); m != NULL;
         m = mcp_exchange_list_next(&c->running, m)) {
        if (m->state == MCP_RUNNING) {
            exchange_abort(m->exchange, MCP_ECANCELLED, "the client does not read");
            count++;
        }
    }
    return count;
}

void mcp_conn_log_close(const struct mcp_conn *c, const char *reason, const char *text)
{
    struct buf pairs = {0};

    (void)logfmt_pair(&pairs, "text", slice_str(text)); /* else it is left out */
    LOG_INFO("mcp_close", "client=%s connection=%" PRIu64 " reason=%s%.*s", c->client, c->number,
             reason, SLICE_ARG(buf_slice(&pairs)));
    buf_fini(&pairs);
}

/* A frame is missing in what it would get. */
static void close_without_memory(struct mcp_conn *c)
{
    mcp_conn_log_close(c, "internal", "out of memory");
    end_conn(c, false);
}

/* Output waits and nothing leaves: first the exchanges end, then, when that brought nothing either,
 * the connection. */
static void on_stall(void *owner)
{
    struct mcp_conn *c = owner;

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (c->out.failed) {
        close_without_memory(c);
        return;
    }
    if (sock_unsent(c->sock) == 0) {
        return;
    }
    if (sock_delivered(c->sock) == c->stall_delivered) {
        counter_add(COUNTER_CLIENT_STALLS, 1);
        if (abort_exchanges(c) == 0) {
            mcp_conn_log_close(c, "stalled", "");
            end_conn(c, false);
            return;
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
