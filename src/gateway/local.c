/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/local.h"

#include <stdio.h>

#include "gateway/cluster.h"
#include "gateway/exchange.h"
#include "gateway/health.h"
#include "gateway/health_deep.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"
#include "http/parse/url.h"

bool local_translates(enum op op)
{
    switch (op) {
    case OP_GENERATE:
    case OP_CHAT:
    case OP_EMBED:
    case OP_EMBEDDINGS:
    case OP_LIST:
    case OP_PS:
    case OP_SHOW:
    case OP_VERSION:
        return true;
    default:
        return false;
    }
}

void local_give(struct exchange *x, const struct buf *answer)
{
    struct buf part = {0};

    if (buf_len(answer) > x->max_part_bytes) {
        exchange_fail(x, MCP_ETOO_LARGE, "the answer is larger than the client takes");
        return;
    }
    /* A copy: the body it may stand in goes with the first part. */
    if (buf_failed(answer) || !buf_append(&part, buf_slice(answer))) {
        buf_fini(&part);
        exchange_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
        return;
    }
    trace_note(x, TRACE_LOCAL);
    exchange_note_part(x, buf_len(&part));
    x->sink->part(x->owner, buf_slice(&part), true);
    buf_fini(&part);
    if (!x->over) {
        exchange_succeed(x);
    }
}

/* --- lists of all nodes ----------------------------------------------------------------------- */

/* GET /v1/models is no operation of its own. */
static bool lists_v1(const struct exchange *x)
{
    return x->op == OP_NONE && x->relay_any_kind && slice_eq(x->method, SLICE("GET")) &&
           slice_eq(url_target_path(x->path), SLICE("/v1/models"));
}

/* One node speaks for itself where there are no routes, as does the error where none is up. */
static bool is_list(const struct exchange *x)
{
    bool with_routes = x->sub->config->route_count > 0 && x->op != OP_PS;

    return (x->op == OP_LIST || x->op == OP_PS || lists_v1(x)) &&
           (nodes_count(x->sub->nodes) > 1 || with_routes) && nodes_up(x->sub->nodes) > 0;
}

static void give_list(struct exchange *x)
{
    struct openai_clock at = {.now_us = loop_now_us(x->sub->loop),
                              .wall_us = loop_wall_us(x->sub->loop)};
    struct buf answer = {0};
    int rv = x->op == OP_LIST ? cluster_tags(x->sub->nodes, at, &answer)
             : x->op == OP_PS ? cluster_ps(x->sub->nodes, at, &answer)
                              : cluster_models(x->sub->nodes, &answer);

    if (rv == MCP_OK && x->op != OP_PS && !routes_append(x, &answer)) {
        rv = MCP_ENOMEM;
    }
    if (rv == MCP_OK) {
        local_give(x, &answer);
    } else {
        exchange_fail(x, rv, mcp_error_text(rv));
    }
    buf_fini(&answer);
}

static void on_refreshed(void *owner)
{
    struct exchange *x = owner;

    x->refreshing = false;
    give_list(x);
}

/* What was pulled or deleted through the gateway is seen at once. */
static void answer_list(struct exchange *x)
{
    if (x->op == OP_PS || !nodes_have_changed(x->sub->nodes)) {
        give_list(x);
        return;
    }
    x->refreshing = true;
    nodes_refresh(x->sub->nodes, &x->refresh, on_refreshed, x);
}

bool local_answers(struct exchange *x)
{
    struct buf answer = {0};

    if (is_list(x)) {
        answer_list(x);
        return true;
    }
    if (x->op != OP_HEALTH) {
        return false;
    }
    if (health_deep_wanted(x) && nodes_up(x->sub->nodes) > 0) {
        int rv = health_deep_begin(x);

        if (rv != MCP_OK) {
            exchange_fail(x, rv, mcp_error_text(rv));
        }
        return rv != MCP_OK;
    }
    (void)health_body(x->sub->nodes, &answer); /* a failure is sticky and local_give sees it */
    local_give(x, &answer);
    buf_fini(&answer);
    return true;
}

static void fail(struct exchange *x, int rv)
{
    char text[192];

    if (rv == MCP_EUNKNOWN_MODEL) {
        (void)snprintf(text, sizeof(text), "model '%.*s' not found",
                       SLICE_ARG(slice_first(buf_slice(&x->model), 128)));
        exchange_fail(x, rv, text);
    } else {
        exchange_fail(x, rv, mcp_error_text(rv));
    }
}

bool local_answers_for(struct exchange *x, struct node *n)
{
    struct openai_clock at = {.now_us = loop_now_us(x->sub->loop),
                              .wall_us = loop_wall_us(x->sub->loop)};
    struct slice models = buf_slice(&n->catalogue.body);
    struct buf answer = {0};
    int rv = MCP_OK;

    switch (x->op) {
    case OP_LIST:
        rv = openai_tags(models, at, &answer);
        break;
    case OP_PS:
        rv = openai_ps(models, at, &answer);
        break;
    case OP_SHOW:
        rv = openai_show(models, SLICE(""), buf_slice(&x->model), at, &answer);
        break;
    case OP_VERSION:
        rv = openai_version(&answer);
        break;
    default:
        if (!x->retrieves) {
            return false;
        }
        rv = openai_retrieve(models, buf_slice(&x->model), &answer);
        break;
    }
    if (rv == MCP_OK) {
        local_give(x, &answer);
    } else {
        fail(x, rv);
    }
    buf_fini(&answer);
    return true;
}
