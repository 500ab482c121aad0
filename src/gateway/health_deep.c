/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/health_deep.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/health.h"
#include "gateway/sub.h"

/* Stands between the exchange and its face until the end. */
struct health_deep {
    struct exchange *exchange;
    const struct exchange_sink *sink;
    void *owner;
    bool generated;
};

bool health_deep_wanted(const struct exchange *x)
{
    struct json_member m;

    return x->body_is_json && json_find(buf_slice(&x->body), SLICE("deep"), &m) == JSON_OK &&
           slice_eq(m.value, SLICE("true"));
}

static void on_part(void *owner, struct slice part, bool last)
{
    struct health_deep *d = owner;

    (void)part;
    (void)last;
    d->generated = true;
}

/* What the node said is not the answer; whether it said it is. */
static void on_ended(void *owner, const struct exchange_result *result)
{
    struct health_deep *d = owner;
    struct exchange *x = d->exchange;
    uint64_t took_us = loop_clock_us(x->sub->loop) - x->received_us;
    struct exchange_result answered = {.code = MCP_OK, .text = SLICE("")};
    struct buf body = {0};
    bool ok = result->code == MCP_OK && d->generated;

    x->op = OP_HEALTH;                       /* again: its session is to learn nothing from it */
    (void)health_body(x->sub->nodes, &body); /* a failure is sticky */
    if (!buf_failed(&body)) {
        /* The body ends with its brace: the outcome goes before it. */
        body.tail--;
        buf_printf(&body,
                   ",\"generate\":{\"ok\":%s,\"ms\":%" PRIu64 ",\"node\":", ok ? "true" : "false",
                   took_us / 1000);
        json_append_string(&body, slice_str(x->node_name));
        buf_append_str(&body, ",\"error\":");
        json_append_string(&body, result->text);
        buf_append_str(&body, "}}");
    }
    if (buf_failed(&body)) {
        answered = (struct exchange_result){.code = MCP_EINTERNAL, .text = SLICE("out of memory")};
    } else {
        d->sink->part(d->owner, buf_slice(&body), true);
    }
    d->sink->ended(d->owner, &answered);
    buf_fini(&body);
}

static const struct exchange_sink deep_sink = {.part = on_part, .ended = on_ended};

/* The first model that can generate, of the nodes that are up. */
static const struct catalogue_model *any_model(const struct sub *sub)
{
    for (size_t i = 0; i < nodes_count(sub->nodes); i++) {
        const struct node *n = nodes_at(sub->nodes, i);

        for (size_t k = 0; node_takes_work(n) && k < n->catalogue.count; k++) {
            if (n->catalogue.models[k].completes) {
                return &n->catalogue.models[k];
            }
        }
    }
    return NULL;
}

static int write_request(struct exchange *x, struct buf *body)
{
    struct slice model = buf_slice(&x->model);

    if (model.len == 0) {
        const struct catalogue_model *any = any_model(x->sub);

        if (any == NULL) {
            return MCP_ENODE_UNAVAILABLE;
        }
        model = slice_of(any->name, any->name_len);
        if (!buf_append(&x->model, model)) {
            return MCP_ENOMEM;
        }
    }
    buf_append_str(body, "{\"model\":");
    json_append_string(body, model);
    buf_append_str(body, ",\"prompt\":\"Hello\",\"raw\":true,\"stream\":false,"
                         "\"options\":{\"num_predict\":1}}");
    return buf_failed(body) ? MCP_ENOMEM : MCP_OK;
}

int health_deep_begin(struct exchange *x)
{
    struct health_deep *d = calloc(1, sizeof(*d));
    struct buf body = {0};
    int rv = d == NULL ? MCP_ENOMEM : write_request(x, &body);

    if (rv != MCP_OK) {
        buf_fini(&body);
        free(d);
        return rv;
    }
    buf_move(&x->body, &body);
    rv = exchange_account_body(x)
             ? request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_HTTP, NULL)
             : MCP_EQUEUE_FULL;
    if (rv != MCP_OK) {
        free(d); /* a model name that is not UTF-8, say */
        return rv;
    }
    *d = (struct health_deep){.exchange = x, .sink = x->sink, .owner = x->owner};
    x->deep = d;
    x->sink = &deep_sink;
    x->owner = d;
    x->op = OP_GENERATE;
    x->streams = false;
    x->needs_model = true;
    x->stream_end = STREAM_END_DONE;
    return MCP_OK;
}
