/* SPDX-License-Identifier: Apache-2.0 */
#include "client/body.h"

#include "codec/request.h"

/* Writes `json` with `"auth":KEY` inside `mcp`, made where it is missing. */
static void append_with_auth(struct buf *out, const struct request *r, struct slice auth_json)
{
    struct slice mcp = request_value(r, REQUEST_MCP);
    struct json_walk walk;
    struct json_member first;
    size_t at = r->open;
    bool alone = r->member_count == 0;

    if (mcp.ptr != NULL) {
        at = (size_t)(mcp.ptr - r->body.ptr) + 1;
        alone = json_walk_begin(&walk, mcp, JSON_OBJECT) != JSON_OK ||
                json_walk_next(&walk, &first) != JSON_OK;
    }
    buf_append(out, slice_first(r->body, at));
    buf_append(out, mcp.ptr != NULL ? SLICE("\"auth\":") : SLICE("\"mcp\":{\"auth\":"));
    buf_append(out, auth_json);
    buf_append_str(out, mcp.ptr != NULL ? "" : "}");
    buf_append_str(out, alone ? "" : ",");
    buf_append(out, slice_skip(r->body, at));
}

int client_body_make(struct client_body *body, struct buf *out, struct slice json,
                     struct slice auth_json, size_t most_bytes, struct err *e)
{
    struct request r;
    enum op op;
    int rv = request_read(&r, json, REQUEST_FROM_MCP, e);

    if (rv == 0) {
        rv = request_op(&r, &op, e);
    }
    if (rv == 0) {
        rv = request_stream(&r, op, &body->streams, e);
    }
    if (rv != 0) {
        return rv;
    }
    /* What the session would have added is gone with its connection. */
    body->repeatable = !op_info(op)->once && (!op_is_inference(op) ||
                                              (request_has(&r, REQUEST_MODEL) && !r.mcp.continues));
    if (auth_json.len > 0 && r.mcp.auth.ptr == NULL) {
        append_with_auth(out, &r, auth_json);
    } else {
        buf_append(out, json);
    }
    if (buf_failed(out)) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    if (buf_len(out) > most_bytes) {
        return err_set(e, MCP_ETOO_LARGE, "a request of %zu bytes, at most %zu", buf_len(out),
                       most_bytes);
    }
    return 0;
}
