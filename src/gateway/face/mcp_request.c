/* SPDX-License-Identifier: Apache-2.0 */
/* What a REQUEST says, and what it inherits from its session and connection. */
#include "gateway/exchange.h"
#include "gateway/face/mcp_conn.h"

/* null is what Ollama reads as absent. */
bool mcp_request_gives_options(const struct request *r)
{
    return request_has(r, REQUEST_OPTIONS) && r->members[REQUEST_OPTIONS].kind != JSON_NULL;
}

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
    x->priority = x->request.mcp.priority != PRIORITY_NONE ? x->request.mcp.priority
                                                           : (enum priority)from->priority;
    if (buf_len(&x->model) == 0 && from->model.ptr != NULL &&
        (!buf_append(&x->model, from->model) ||
         !json_append_string(&x->inherited_model, from->model))) {
        return false;
    }
    if (continues && !mcp_request_gives_options(&x->request) && from->options.ptr != NULL &&
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
    if (said->tenant.ptr != NULL || said->has_hops) {
        return err_set(e, MCP_EFORBIDDEN, "mcp.tenant and mcp.hops are for gateways");
    }
    return MCP_OK;
}

/* Its own key, else that of HELLO. */
static int read_key(const struct mcp_conn *c, struct exchange *x, struct err *e)
{
    struct slice auth = x->request.mcp.auth;

    x->has_key = auth.ptr != NULL;
    if (x->has_key && !json_unescape(auth, &x->key)) {
        return err_set(e, MCP_EINTERNAL, "out of memory");
    }
    if (!x->has_key && c->terms != NULL && buf_len(&c->terms->key) > 0) {
        x->has_key = true;
        if (!buf_append(&x->key, buf_slice(&c->terms->key))) {
            return err_set(e, MCP_EINTERNAL, "out of memory");
        }
    }
    return MCP_OK;
}

/* On which nodes it is to be done. */
static bool read_nodes(struct exchange *x)
{
    struct slice nodes = x->request.mcp.nodes;

    return nodes.ptr == NULL ||
           (exchange_extra(x) != NULL && json_unescape(nodes, &x->extra->wished_nodes));
}

static enum stream_end stream_end_of(enum op op)
{
    return op == OP_GENERATE || op == OP_CHAT ? STREAM_END_DONE : STREAM_END_FRAMING;
}

/* The client's own, as HTTP has it in X-Request-Id. */
static void take_id(struct exchange *x)
{
    struct slice tags = x->request.mcp.tags;
    struct json_member id;
    struct slice text;

    if (tags.ptr == NULL || json_find(tags, SLICE("request_id"), &id) != JSON_OK ||
        id.kind != JSON_STRING) {
        return;
    }
    text = slice_of(id.value.ptr + 1, id.value.len - 2); /* one with escapes is not fine */
    if (request_id_is_fine(text)) {
        slice_copy(text, x->id, sizeof(x->id));
    }
}

int mcp_request_read(const struct mcp_conn *c, const struct wire_session *session,
                     struct exchange *x, struct err *e)
{
    int rv = request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_MCP, e);

    if (rv != MCP_OK) {
        return rv;
    }
    x->body_is_json = true;
    take_id(x);
    if ((rv = read_key(c, x, e)) != MCP_OK || (rv = request_op(&x->request, &x->op, e)) != MCP_OK ||
        (rv = request_model(&x->request, x->op, &x->model, e)) != MCP_OK ||
        (rv = request_stream(&x->request, x->op, &x->streams, e)) != MCP_OK ||
        (rv = refuse_unsupported(&x->request.mcp, e)) != MCP_OK) {
        return rv;
    }
    x->has_deadline = x->request.mcp.has_deadline;
    x->deadline_ms = x->request.mcp.deadline_ms;
    if (!inherit(x, session) || !read_nodes(x)) {
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
