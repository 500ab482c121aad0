/* SPDX-License-Identifier: Apache-2.0 */
/* From a REQUEST frame to an exchange, and the exchange's parts back into frames; what CANCEL,
 * CREDIT and ACK mean for it. */
#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "codec/error_body.h"
#include "gateway/exchange.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/sub.h"

/* Without the feature there is no window. */
#define BALANCE_ENDLESS (INT64_MAX / 2)

/* A turn can use up the one, not the other. */
enum { LITTLE_CREDIT_BYTES = SOCK_TURN_BYTES, MUCH_CREDIT_BYTES = 2 * SOCK_TURN_BYTES };

static const struct exchange_sink mcp_sink;

static struct loop *loop_of(const struct mcp_exchange *m)
{
    return m->conn->sub->loop;
}

/* --- begin and end -------------------------------------------------------------------------------
 */

static void on_stall(void *owner)
{
    struct mcp_exchange *m = owner;
    uint64_t stall_ms = m->conn->sub->config->client_stall_ms;
    uint64_t still_ms = loop_now_ms(loop_of(m)) - m->lane.moved_ms;

    if (mcp_lane_list_has(&m->lane)) {
        timer_arm(loop_of(m), &m->stall, stall_ms); /* it waits for the socket, which has a limit */
    } else if (still_ms < stall_ms) {
        timer_arm(loop_of(m), &m->stall, stall_ms - still_ms);
    } else {
        struct mcp_conn *c = m->conn;

        counter_add(COUNTER_CLIENT_STALLS, 1);
        mcp_exchange_end(m, MCP_ECANCELLED, "the client grants no credit");
        (void)mcp_conn_settle(c);
    }
}

/* On a session that has begun. NULL: out of memory. */
static struct mcp_exchange *exchange_on(struct mcp_conn *c, struct wire_session *session)
{
    struct mcp_exchange *m = block_get_zeroed(sizeof(*m));

    if (m == NULL) {
        return NULL;
    }
    m->conn = c;
    m->session = session;
    m->lane.session = session->id;
    m->lane.balance =
        mcp_conn_has(c, WIRE_SINCE_CREDIT) ? (int64_t)c->terms->window_bytes : BALANCE_ENDLESS;
    m->lane.moved_ms = loop_now_ms(c->sub->loop);
    timer_init(&m->stall, on_stall, m);
    session->exchange = m;
    mcp_exchange_list_push(&c->running, m);
    return m;
}

void mcp_exchange_release(struct mcp_exchange *m)
{
    struct mcp_conn *c = m->conn;

    mcp_lane_fini(&c->out, &m->lane);
    timer_cancel(loop_of(m), &m->stall);
    mcp_exchange_list_remove(&c->running, m);
    wire_session_end(&c->sessions, m->session, loop_now_ms(c->sub->loop));
    block_put(m, sizeof(*m));
}

/* Nothing more will be put on its lane. */
static void leave(struct mcp_exchange *m)
{
    m->exchange = NULL;
    if (mcp_lane_is_empty(&m->lane)) {
        mcp_exchange_release(m);
        return;
    }
    m->state = MCP_LEAVING;
    mcp_exchange_update(m);
}

void mcp_exchange_emptied(struct mcp_exchange *m)
{
    if (m->state == MCP_LEAVING) {
        mcp_exchange_release(m);
    }
}

void mcp_exchange_stop(struct mcp_exchange *m)
{
    if (m->state == MCP_RUNNING) {
        exchange_cancel(&m->exchange);
        m->state = MCP_LEAVING;
    }
}

/* --- errors --------------------------------------------------------------------------------------
 */

/* The last part. What a node says may be longer than the client's frames. */
static void put_error(struct mcp_exchange *m, int code, struct slice body)
{
    struct mcp_out *out = &m->conn->out;
    struct buf shorter = {0};

    if (body.len > out->frame_max && !out->with_chunks &&
        error_body_mcp(&shorter, code, slice_str(mcp_error_text(code)), 0, ERROR_NO_SESSION)) {
        body = buf_slice(&shorter);
    }
    if (m->exchange != NULL) {
        m->exchange->bytes_out += body.len;
    }
    mcp_out_aside(out, &m->lane, WIRE_OP_RESPONSE, body);
    buf_fini(&shorter);
}

static void put_result(struct mcp_exchange *m, const struct exchange_result *r)
{
    struct buf body = {0};
    bool ok = r->node_body.len == 0
                  ? error_body_mcp(&body, r->code, r->text, r->retry_after_ms, ERROR_NO_SESSION)
                  : error_body_mcp_from_node(&body, r->code, r->node_body);

    if (ok) {
        put_error(m, r->code, buf_slice(&body));
    } else {
        mcp_out_fail(&m->conn->out);
    }
    buf_fini(&body);
}

void mcp_exchange_end(struct mcp_exchange *m, int code, const char *text)
{
    const struct exchange_result result = {.code = code, .text = slice_str(text)};

    (void)mcp_out_drop(&m->conn->out, &m->lane);
    put_result(m, &result);
    if (m->state == MCP_RUNNING) {
        exchange_cancel(&m->exchange);
    }
    leave(m);
}

/* --- the exchange tells --------------------------------------------------------------------------
 */

static void put_ack(struct mcp_exchange *m)
{
    const struct exchange *x = m->exchange;
    const struct exchange_turn *turn = &x->turn;
    bool waits = turn_is_awaited(turn);
    const struct wire_ack ack = {
        .running = !waits,
        .position = waits ? turn->position : WIRE_ACK_UNKNOWN,
        .depth = waits ? turn->depth : WIRE_ACK_UNKNOWN,
        .eta_ms = waits && turn->eta_us != SCHED_UNKNOWN ? turn->eta_us / 1000 : WIRE_ACK_UNKNOWN,
        .node = waits ? SLICE("") : slice_str(x->node_name),
        .model = exchange_asked_model(x).len > 0 ? buf_slice(&x->model) : SLICE(""),
        .attempt = x->attempts + 1,
    };
    struct buf body = {0};

    m->acked = true;
    if (wire_ack_append(&body, &ack)) {
        counter_add(COUNTER_MCP_ACKS, 1);
        mcp_out_aside(&m->conn->out, &m->lane, WIRE_OP_ACK, buf_slice(&body));
    } else {
        mcp_out_fail(&m->conn->out);
    }
    buf_fini(&body);
}

/* What the request itself says; what it does not say stays as it was inherited. */
static void set_inherited(struct mcp_exchange *m, const struct exchange *x)
{
    const struct request_mcp *said = &x->request.mcp;
    struct wire_inherited own = {
        .tags = said->tags,
        .priority = (int)said->priority,
    };

    if (buf_len(&x->inherited_model) == 0) {
        own.model =
            exchange_asked_model(x).len > 0 ? exchange_asked_model(x) : buf_slice(&x->model);
    }
    if (mcp_request_gives_options(&x->request)) {
        own.options = x->request.members[REQUEST_OPTIONS].value;
    }
    if (said->has_deadline) {
        own.deadline_ms = said->deadline_ms;
    }
    /* Refused by its limit, a session merely passes less on. */
    (void)wire_session_inherit(&m->conn->sessions, m->session, &own);
}

static void on_admitted(void *owner, struct exchange *x)
{
    struct mcp_exchange *m = owner;

    if (op_is_inference(x->op)) {
        m->session->node_id = x->node_id;
        if (x->attempts == 0) {
            set_inherited(m, x);
        }
    }
    if (mcp_conn_has(m->conn, WIRE_SINCE_ACK) && !m->answered) {
        put_ack(m);
    }
    mcp_exchange_update(m); /* a window may be empty from the start */
}

static void on_queued(void *owner, struct exchange *x)
{
    struct mcp_exchange *m = owner;

    (void)x;
    if (mcp_conn_has(m->conn, WIRE_SINCE_ACK)) {
        put_ack(m);
    }
}

/* What has been read when it has to stop is held, and such a client may have many more like this
 * one. Not back and forth with each part. */
static bool reads_little(const struct mcp_exchange *m)
{
    int64_t little = m->exchange->reads_little ? MUCH_CREDIT_BYTES : LITTLE_CREDIT_BYTES;

    return m->was_stopped || m->lane.balance - (int64_t)m->lane.charged_bytes <= little;
}

/* Reading from the node stops while the client does not take what there is. */
void mcp_exchange_update(struct mcp_exchange *m)
{
    bool spent = mcp_lane_is_spent(&m->lane);

    if (m->state == MCP_RUNNING) {
        m->was_stopped = m->was_stopped || m->conn->over_high;
        exchange_read_little(m->exchange, reads_little(m));
    }
    if (m->state == MCP_RUNNING && (spent || m->conn->over_high)) {
        exchange_pause(m->exchange);
    } else if (m->state == MCP_RUNNING) {
        exchange_resume(m->exchange);
    }
    if (!spent) {
        timer_cancel(loop_of(m), &m->stall);
    } else if (!timer_armed(&m->stall)) {
        counter_add(COUNTER_MCP_CREDIT_SPENT, 1);
        timer_arm(loop_of(m), &m->stall, m->conn->sub->config->client_stall_ms);
    }
}

static void on_part(void *owner, struct slice part, bool last)
{
    struct mcp_exchange *m = owner;
    uint64_t read_us = exchange_read_us(m->exchange);

    (void)last; /* `ended` follows */
    if (!m->acked && mcp_conn_has(m->conn, WIRE_SINCE_ACK)) {
        put_ack(m); /* answered here, without a node */
    }
    m->answered = true;
    mcp_out_part(&m->conn->out, &m->lane, part);
    if (mcp_conn_has(m->conn, WIRE_SINCE_CREDIT)) {
        mcp_exchange_update(m);
    }
    mcp_conn_note_read(m->conn, read_us);
}

static void on_ended(void *owner, const struct exchange_result *result)
{
    struct mcp_exchange *m = owner;
    struct mcp_conn *c = m->conn;

    if (result->code != MCP_OK) {
        (void)mcp_out_drop_held(&c->out, &m->lane);
        put_result(m, result);
    }
    leave(m);
    (void)mcp_conn_settle(c);
}

static const struct exchange_sink mcp_sink = {
    .admitted = on_admitted,
    .queued = on_queued,
    .part = on_part,
    .ended = on_ended,
};

/* --- CANCEL and CREDIT ---------------------------------------------------------------------------
 */

/* What runs on the session and can still be ended: its last part is not on its way. */
static struct mcp_exchange *find(struct mcp_conn *c, uint32_t id)
{
    struct wire_session *session = wire_session_find(&c->sessions, id, loop_now_ms(c->sub->loop));
    struct mcp_exchange *m = session == NULL ? NULL : session->exchange;

    if (m == NULL || m->state == MCP_ARRIVING ||
        (m->state == MCP_LEAVING && !mcp_lane_holds_last(&m->lane))) {
        return NULL;
    }
    return m;
}

void mcp_exchange_on_cancel(struct mcp_conn *c, uint32_t id)
{
    struct mcp_exchange *m = find(c, id);

    counter_add(m == NULL ? COUNTER_MCP_CANCELS_IGNORED : COUNTER_MCP_CANCELS, 1);
    if (m != NULL) {
        mcp_exchange_end(m, MCP_ECANCELLED, mcp_error_text(MCP_ECANCELLED));
    }
}

void mcp_exchange_on_credit(struct mcp_conn *c, uint32_t id, uint32_t bytes)
{
    struct mcp_exchange *m = find(c, id);

    if (m == NULL) {
        return;
    }
    if (m->lane.balance + (int64_t)bytes > WIRE_WINDOW_BYTES_MAX) {
        counter_add(COUNTER_MCP_ERRORS, 1);
        mcp_exchange_end(m, MCP_EBAD_REQUEST, "CREDIT beyond a balance of 2^31 - 1 bytes");
        return;
    }
    mcp_out_credit(&c->out, &m->lane, bytes);
    mcp_exchange_update(m);
}

/* --- a request comes ----------------------------------------------------------------------------
 */

/* The payload of the frame that has just come, without a copy where it is large, or `whole`. */
static int take_body(struct mcp_conn *c, struct exchange *x, struct buf *whole, struct err *e)
{
    if (whole != NULL) {
        buf_move(&x->body, whole);
    } else if (wire_conn_take_payload(&c->wire, &x->body) != MCP_OK) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    x->bytes_in = buf_len(&x->body);
    if (!exchange_account_body(x)) {
        return err_set(e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    }
    return MCP_OK;
}

static size_t part_max(const struct mcp_conn *c)
{
    size_t most = c->sub->config->max_part_bytes;

    return mcp_conn_has(c, WIRE_SINCE_CHUNK) || most < c->out.frame_max ? most : c->out.frame_max;
}

/* A good key lifts the connection's limits; for that it is kept, as keys may change. */
static void try_to_lift(struct mcp_conn *c, struct exchange *x)
{
    struct buf key = {0};

    if (buf_append(&key, buf_slice(&x->key)) && exchange_authorized(x)) {
        mcp_conn_authenticated(c, &key);
    }
    buf_fini(&key);
}

/* The whole request is here: `whole`, or the frame's payload. */
static void run(struct mcp_exchange *m, struct buf *whole)
{
    struct mcp_conn *c = m->conn;
    struct exchange *x = exchange_new(c->sub, FACE_MCP, &mcp_sink, m);
    uint32_t id = m->session->id;
    struct err e = {0};
    int rv;

    if (x == NULL) {
        mcp_exchange_release(m);
        mcp_conn_stray_error(c, id, MCP_EINTERNAL, SLICE("out of memory"));
        return;
    }
    m->exchange = x;
    m->state = MCP_RUNNING;
    slice_copy(slice_str(c->client), x->client, sizeof(x->client));
    x->native = true;
    x->session_hash = ((uintptr_t)c << 32) + id; /* of this connection, and no other now */
    x->max_part_bytes = part_max(c);
    x->reads_little = reads_little(m);
    if (c->over_high) {
        exchange_pause(x);
    }
    if ((rv = take_body(c, x, whole, &e)) == MCP_OK &&
        (rv = mcp_request_read(c, m->session, x, &e)) == MCP_OK) {
        if (!c->wire.authenticated) {
            try_to_lift(c, x);
        }
        exchange_start(x);
        return;
    }
    if (c->draining) { /* whatever else is wrong with it */
        (void)err_set(&e, rv = MCP_ESHUTTING_DOWN, "the gateway is shutting down");
    }
    exchange_refuse(x, rv, e.text);
}

/* Occupies the session. */
static int begin(struct mcp_conn *c, uint32_t id, struct mcp_exchange **m)
{
    uint64_t now_ms = loop_now_ms(c->sub->loop);
    struct wire_session *session;
    int rv = wire_session_begin(&c->sessions, id, now_ms, &session);

    if (rv != MCP_OK) {
        return rv;
    }
    *m = exchange_on(c, session);
    if (*m == NULL) {
        wire_session_end(&c->sessions, session, now_ms);
        return MCP_ENOMEM;
    }
    return MCP_OK;
}

void mcp_exchange_begin(struct mcp_conn *c, uint32_t id)
{
    struct mcp_exchange *m;
    int rv = begin(c, id, &m);

    if (rv == MCP_OK) {
        run(m, NULL);
        return;
    }
    if (c->draining) { /* that its session is busy will not matter any more */
        rv = MCP_ESHUTTING_DOWN;
    } else if (rv == MCP_ENOMEM) {
        rv = MCP_EINTERNAL;
    }
    mcp_conn_stray_error(c, id, rv, slice_str(mcp_error_text(rv)));
}

int mcp_exchange_arrive(struct mcp_conn *c, uint32_t id)
{
    struct mcp_exchange *m;

    return begin(c, id, &m);
}

static struct mcp_exchange *arriving(struct mcp_conn *c, uint32_t id)
{
    struct wire_session *session = wire_session_find(&c->sessions, id, loop_now_ms(c->sub->loop));
    struct mcp_exchange *m = session == NULL ? NULL : session->exchange;

    return m != NULL && m->state == MCP_ARRIVING ? m : NULL;
}

void mcp_exchange_arrived(struct mcp_conn *c, uint32_t id, struct buf *body)
{
    struct mcp_exchange *m = arriving(c, id);

    ASSERT(m != NULL); /* its first piece began it */
    run(m, body);
}

void mcp_exchange_not_arriving(struct mcp_conn *c, uint32_t id)
{
    struct mcp_exchange *m = arriving(c, id);

    if (m != NULL) {
        mcp_exchange_release(m);
    }
}
