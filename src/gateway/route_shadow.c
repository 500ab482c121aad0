/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/route_shadow.h"

#include "base/counter.h"
#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/inner.h"
#include "gateway/sub.h"

enum { SHADOWS_MAX = 32 };

static void on_head(void *owner, const struct http_head *head)
{
    (void)owner;
    (void)head;
}

static void on_bytes(void *owner, struct slice bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_part(void *owner, struct slice part, bool last)
{
    (void)owner;
    (void)part;
    (void)last;
}

static void on_ended(void *owner, const struct exchange_result *result)
{
    struct sub *sub = owner;

    (void)result; /* the arm was told */
    sub->shadows--;
}

static const struct exchange_sink shadow_sink = {
    .head = on_head, .bytes = on_bytes, .part = on_part, .ended = on_ended};

/* The client's headers may be about itself. */
static bool copy(struct exchange *x, const struct exchange *of, struct slice model)
{
    static const struct http_header headers[] = {
        {SLICE("Content-Type"), SLICE("application/json")}};
    const struct inner_head head = {.method = SLICE("POST"),
                                    .path = of->path,
                                    .headers = headers,
                                    .header_count = sizeof(headers) / sizeof(headers[0])};

    x->op = of->op;
    x->native = of->native;
    x->native_only = of->native_only;
    x->relay_any_kind = of->relay_any_kind;
    x->streams = of->streams;
    x->stream_end = of->stream_end;
    x->needs_model = of->needs_model;
    x->max_part_bytes = of->max_part_bytes;
    x->has_deadline = of->has_deadline;
    x->deadline_ms = of->deadline_ms;
    slice_copy(slice_str(of->key_name), x->key_name, sizeof(x->key_name));
    slice_copy(slice_str(of->client), x->client, sizeof(x->client));
    return exchange_extra(x) != NULL && json_append_string(&x->extra->routed_model, model) &&
           buf_append(&x->inherited_options, buf_slice(&of->inherited_options)) &&
           buf_append(&x->body, buf_slice(&of->body)) && inner_fill(x, &head, model);
}

void route_shadow_start(const struct exchange *of, uint64_t route_id, size_t arm,
                        struct slice model)
{
    struct exchange *x = NULL;

    if (of->sub->shadows < SHADOWS_MAX && !of->sub->draining) {
        x = inner_new(of->sub, &shadow_sink, of->sub);
    }
    if (x == NULL) {
        counter_add(COUNTER_SHADOWS_LEFT_OUT, 1);
        return;
    }
    of->sub->shadows++;
    if (!copy(x, of, model)) {
        counter_add(COUNTER_SHADOWS_LEFT_OUT, 1);
        exchange_refuse(x, MCP_EINTERNAL, "no room for a copy");
        return;
    }
    counter_add(COUNTER_SHADOWS, 1);
    x->extra->route_id = route_id;
    x->extra->route_arm = (uint8_t)arm;
    exchange_start(x);
}

void route_shadows_drop(struct sub *sub)
{
    struct exchange *x;

    for (x = exchange_list_first(&sub->running); x != NULL;
         x = exchange_list_next(&sub->running, x)) {
        if (x->sink == &shadow_sink) {
            exchange_abort(x, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
        }
    }
}
