/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/http_body.h"

#include "codec/multipart.h"
#include "codec/zstd_body.h"
#include "gateway/face/http_reply.h"
#include "gateway/sub.h"

enum { ZSTD_CONTENT_BYTES_MAX = 20 * 1024 * 1024 }; /* as in Ollama */

/* What the body says about model and streaming. A request without a model goes to a node, which
 * knows what to say. */
static int read_json(struct exchange *x, const struct route *route, struct slice body,
                     struct request *request, struct err *e)
{
    int rv;

    if (body.len == 0) {
        return err_set(e, MCP_EBAD_REQUEST, "missing request body");
    }
    rv = request_read(request, body, REQUEST_FROM_HTTP, e);
    if (rv == MCP_OK) {
        rv = request_model(request, route->op, &x->model, e);
    }
    if (rv == MCP_OK && route->op != OP_NONE) {
        rv = request_stream(request, route->op, &x->streams, e);
    }
    return rv;
}

/* Its own name for the model, or its options, cannot stay. */
static bool changes_on_its_way(const struct exchange *x)
{
    const struct config *c = x->sub->config;

    return config_route_find(c, buf_slice(&x->model)) != NULL ||
           (x->native_only && config_model_find(c, buf_slice(&x->model)) != NULL);
}

/* The body goes on as `content`, which is moved and was read into x->request. */
static int take_content(struct exchange *x, struct buf *content, struct err *e)
{
    size_t kept = 0;

    buf_move(&x->body, content);
    x->body_is_json = true;
    for (size_t i = 0; i < x->header_count; i++) {
        if (!slice_eq_case(x->headers[i].name, SLICE("content-encoding"))) {
            x->headers[kept++] = x->headers[i];
        }
    }
    x->header_count = kept;
    return exchange_account_body(x) ? MCP_OK : err_set(e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
}

/* It is forwarded as it came, and what was read of it is forgotten again; unless it must be
 * changed. */
static int read_zstd(struct exchange *x, const struct route *route, struct err *e)
{
    size_t max_bytes = x->sub->config->max_body_bytes;
    struct buf content = {0};
    int rv = zstd_body_read(buf_slice(&x->body),
                            max_bytes < ZSTD_CONTENT_BYTES_MAX ? max_bytes : ZSTD_CONTENT_BYTES_MAX,
                            &content, e);

    if (rv == MCP_OK) {
        rv = read_json(x, route, buf_slice(&content), &x->request, e);
    }
    if (rv == MCP_OK && changes_on_its_way(x)) {
        rv = take_content(x, &content, e);
    }
    buf_fini(&content);
    return rv;
}

/* Uploads of audio name their model in a form field. */
static bool read_form(struct exchange *x)
{
    struct slice type = SLICE("");
    struct slice model;

    for (size_t i = 0; i < x->header_count; i++) {
        if (slice_eq_case(x->headers[i].name, SLICE("content-type"))) {
            type = x->headers[i].value;
        }
    }
    if (!multipart_find(buf_slice(&x->body), multipart_boundary(type), SLICE("model"), &model)) {
        return true;
    }
    return buf_append(&x->model, model);
}

/* 0, or the error that refuses the request. */
int http_body_read(struct http_exchange *h, struct err *e)
{
    struct exchange *x = h->exchange;

    if (slice_eq(x->method, SLICE("OPTIONS"))) {
        return MCP_OK;
    }
    if (h->body_is_encoded) {
        return h->body_is_zstd && h->route->body == ROUTE_BODY_JSON ? read_zstd(x, h->route, e)
                                                                    : MCP_OK;
    }
    if (h->route->body == ROUTE_BODY_JSON) {
        int rv = read_json(x, h->route, buf_slice(&x->body), &x->request, e);

        x->body_is_json = rv == MCP_OK;
        return rv;
    }
    return read_form(x) ? MCP_OK : err_set(e, MCP_EINTERNAL, "out of memory");
}
