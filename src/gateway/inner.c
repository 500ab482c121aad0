/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/inner.h"

#include "base/block.h"
#include "base/counter.h"
#include "gateway/exchange.h"

struct exchange *inner_new(struct sub *sub, const struct exchange_sink *sink, void *owner)
{
    struct exchange *x = exchange_new(sub, FACE_MCP, sink, owner);

    if (x != NULL) {
        x->inner = true;
        counter_add(COUNTER_EXCHANGES_RUNNING, -1); /* of clients */
    }
    return x;
}

/* The exchange has memory of its own for it: those it stands for come and go. */
static bool fill_head(struct exchange *x, const struct inner_head *head)
{
    size_t bytes = head->method.len + head->path.len + 1;
    char *at;

    for (size_t i = 0; i < head->header_count; i++) {
        bytes += head->headers[i].name.len + head->headers[i].value.len;
    }
    at = buf_reserve(&x->http, bytes);
    x->headers_bytes = (head->header_count + 1) * sizeof(*x->headers);
    x->headers = block_get(x->headers_bytes);
    if (at == NULL || x->headers == NULL) {
        return false;
    }
    x->method = slice_keep(head->method, &at);
    x->path = slice_keep(head->path, &at);
    for (size_t i = 0; i < head->header_count; i++) {
        x->headers[i] = (struct http_header){slice_keep(head->headers[i].name, &at),
                                             slice_keep(head->headers[i].value, &at)};
    }
    x->headers[head->header_count] = (struct http_header){SLICE("X-Request-Id"), slice_str(x->id)};
    x->header_count = head->header_count + 1;
    return true;
}

bool inner_fill(struct exchange *x, const struct inner_head *head, struct slice model)
{
    x->bytes_in = buf_len(&x->body);
    if (buf_failed(&x->body) || (!x->native && !fill_head(x, head)) ||
        !buf_append(&x->model, model) || !exchange_account_body(x)) {
        return false;
    }
    x->body_is_json =
        request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_HTTP, NULL) == MCP_OK;
    return x->body_is_json;
}
