/* SPDX-License-Identifier: Apache-2.0 */
/* From a REQUEST frame to an exchange, and the exchange's parts back into frames. */
#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "codec/error_body.h"
#include "gateway/exchange.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/sub.h"

static const struct exchange_sink mcp_sink;

/* The session is idle again and remembers the node; the connection may close now. */
static void release(struct mcp_exchange *m)
{
    struct mcp_conn *c = m->conn;

    mcp_exchange_list_remove(&c->running, m);
    wire_session_end(&c->sessions, m->session, loop_now_ms(c->sub->loop));
    block_put(m, sizeof(*m));
}

void mcp_exchange_cancel(struct mcp_exchange *m)
{
    exchange_cancel(&m->exchange);
    release(m);
}

/* null is what Ollama reads as absent. */
static bool gives_options(const struct request *r)
{
    return request_has(r, REQUEST_OPTIONS) && r->members[REQUEST_OPTIONS].kind != JSON_NULL;
}

/* What the request itself says; what it does not say stays as it was inherited. */
static void on_admitted(void *owner, struct exchange *x)
{
    struct mcp_exchange *m = owner;
    const struct request_mcp *said = &x->request.mcp;
    struct wire_inherited own = {
        .tags = said->tags,
        .priority = (int)said->priority,
    };

    if (!op_is_inference(x->op)) {
        return;
    }
    m->session->node_id = x->node_id;
    if (buf_len(&x->inherited_model) == 0) {
        own.model = buf_slice(&x->model);
    }
    if (gives_options(&x->request)) {
        own.options = x->request.members[REQUEST_OPTIONS].value;
    }
    if (said->has_deadline) {
        own.deadline_ms = said->deadline_ms;
    }
    /* Refused by its limit, a session merely passes less on. */
    (void)wire_session_inherit(&m->conn->sessions, m->session, &own);
}

static void on_part(void *owner, struct slice part, bool last)
{
    struct mcp_exchange *m = owner;

    (void)last; /* `ended` follows */
    mcp_conn_part(m->conn, m->session->id, part, exchange_read_us(m->exchange));
}

static void write_result(struct mcp_exchange *m, const struct exchange_result *r)
{
    struct buf body = {0};

    if (r->node_body.len == 0) {
        mcp_conn_error(m->conn, m->session->id, r->code, r->text);
    } else if (error_body_mcp_from_node(&body, r->code, r->node_body)) {
        mcp_conn_error_body(m->conn, m->session->id, buf_slice(&body));
    }
    buf_fini(&body);
}

static void on_ended(void *owner, const struct exchange_result *result)
{
    struct mcp_exchange *m = owner;
    struct mcp_conn *c = m->conn;

    if (op_is_inference(m->exchange->op) && m->exchange->node_id != 0) {
        m->session->node_id =
            m->exchange->node_id; /* the one that served, after another had failed */
    }
    if (result->code != MCP_OK) {
        write_result(m, result);
    }
    release(m);
    mcp_conn_exchange_ended(c);
}

static const struct exchange_sink mcp_sink = {
    .admitted = on_admitted,
    .part = on_part,
    .ended = on_ended,
};

/* Model, and with "continue" options and deadline, of the session's earlier exchanges. False: out
 * of memory. */
static bool inherit(struct exchange *x, const struct wire_session *session)
{
    const struct wire_inherited *from = &session->inherited;
    bool continues = x->request.mcp.continues;

    if (!op_is_inference(x->op)) {
        return true;
    }
    x->prefer_node_id = session->node_id;
    if (buf_len(&x->model) == 0 && from->model.ptr != NULL &&
        (!buf_append(&x->model, from->model) ||
         !json_append_string(&x->inherited_model, from->model))) {
        return false;
    }
    if (continues && !gives_options(&x->request) && from->options.ptr != NULL &&
        !buf_append(&x->inherited_options, from->options)) {
        return false;
    }
    if (continues && !x->has_deadline && from->deadline_ms > 0) {
        x->has_deadline = true;
        x->deadline_ms = from->deadline_ms;
    }
    return true;
}

static int refuse_unsupported(const struct request_mcp *said, struct err *e)
{
    if (said->idempotency_key.ptr != NULL) {
        return err_set(e, MCP_EUNSUPPORTED_OP, "mcp.idempotency_key is not supported yet");
    }
    if (said->tenant.ptr != NULL || said->has_hops) {
        return err_set(e, MCP_EFORBIDDEN, "mcp.tenant and mcp.hops are for gateways");
    }
    return MCP_OK;
}

static int read_key(struct exchange *x, struct err *e)
{
    struct slice auth = x->request.mcp.auth;

    x->has_key = auth.ptr != NULL;
    if (x->has_key && !json_unescape(auth, &x->key)) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    return MCP_OK;
}

static enum stream_end stream_end_of(enum op op)
{
    return op == OP_GENERATE || op == OP_CHAT ? STREAM_END_DONE : STREAM_END_FRAMING;
}

/* Everything the payload says. 0, or the error that refuses it. */
static int read_request(struct mcp_exchange *m, struct err *e)
{
    struct exchange *x = m->exchange;
    int rv = request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_MCP, e);

    if (rv != MCP_OK) {
        return rv;
    }
    x->body_is_json = true;
    if ((rv = read_key(x, e)) != MCP_OK || (rv = request_op(&x->request, &x->op, e)) != MCP_OK ||
        (rv = request_model(&x->request, x->op, &x->model, e)) != MCP_OK ||
        (rv = request_stream(&x->request, x->op, &x->streams, e)) != MCP_OK ||
        (rv = refuse_unsupported(&x->request.mcp, e)) != MCP_OK) {
        return rv;
    }
    x->has_deadline = x->request.mcp.has_deadline;
    x->deadline_ms = x->request.mcp.deadline_ms;
    if (!inherit(x, m->session)) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    x->needs_model = op_is_inference(x->op);
    x->once = op_info(x->op)->once;
    x->stream_end = stream_end_of(x->op);
    if (x->needs_model && buf_len(&x->model) == 0) {
        return err_set(e, MCP_EBAD_REQUEST, "model is required");
    }
    return MCP_OK;
}

/* The payload of the frame that has just come, without a copy where it is large. */
static int take_body(struct exchange *x, struct mcp_conn *c, struct err *e)
{
    if (wire_conn_take_payload(&c->wire, &x->body) != MCP_OK) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    if (!exchange_account_body(x)) {
        return err_set(e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    }
    return MCP_OK;
}

static struct mcp_exchange *new_exchange(struct mcp_conn *c, struct wire_session *session)
{
    struct mcp_exchange *m = block_get_zeroed(sizeof(*m));

    if (m == NULL) {
        return NULL;
    }
    m->exchange = exchange_new(c->sub, FACE_MCP, &mcp_sink, m);
    if (m->exchange == NULL) {
        block_put(m, sizeof(*m));
        return NULL;
    }
    m->conn = c;
    m->session = session;
    session->exchange = m;
    mcp_exchange_list_push(&c->running, m);
    return m;
}

void mcp_exchange_begin(struct mcp_conn *c, uint32_t id, struct slice payload)
{
    struct sub *sub = c->sub;
    struct wire_session *session;
    struct mcp_exchange *m;
    struct exchange *x;
    struct err e = {0};
    int rv = wire_session_begin(&c->sessions, id, loop_now_ms(sub->loop), &session);

    if (rv != MCP_OK) {
        mcp_conn_stray_error(c, id, rv == MCP_ENOMEM ? MCP_EINTERNAL : rv,
                             slice_str(mcp_error_text(rv)));
        return;
    }
    m = new_exchange(c, session);
    if (m == NULL) {
        wire_session_end(&c->sessions, session, loop_now_ms(sub->loop));
        mcp_conn_stray_error(c, id, MCP_EINTERNAL, SLICE("out of memory"));
        return;
    }
    x = m->exchange;
    slice_copy(slice_str(c->client), x->client, sizeof(x->client));
    x->native = true;
    x->max_part_bytes = WIRE_MAX_FRAME_BYTES; /* of a client that announces none */
    x->bytes_in = payload.len;
    if (c->over_high) {
        exchange_pause(x);
    }
    if ((rv = take_body(x, c, &e)) == MCP_OK && (rv = read_request(m, &e)) == MCP_OK) {
        if (exchange_authorized(x)) {
            wire_conn_authenticated(&c->wire);
        }
        exchange_start(x);
        return;
    }
    exchange_refuse(x, rv, e.text);
}
