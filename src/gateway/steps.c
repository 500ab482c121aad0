/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/steps.h"

#include <stdio.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "codec/model_name.h"
#include "gateway/batch.h"
#include "gateway/local.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"
#include "sched/choose.h"

enum { CANDIDATES_AT_HAND = 8 };

struct step {
    const char *name;
    enum step_result (*run)(struct exchange *x);
};

enum step_result step_fail(struct exchange *x, int code, const char *text)
{
    if (route_falls_back(x, code)) {
        return STEP_WAIT;
    }
    exchange_fail(x, code, text);
    return STEP_DONE;
}

static enum step_result step_admit(struct exchange *x)
{
    if (x->inner) {
        return STEP_NEXT; /* those that it is for were */
    }
    if (x->sub->draining) {
        return step_fail(x, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
    }
    if (!exchange_authorized(x)) {
        exchange_refuse_unauthorized(x);
        return STEP_WAIT;
    }
    trace_note(x, TRACE_ADMITTED);
    return STEP_NEXT;
}

/* A client that does not take its answers has no further ones made. */
static enum step_result step_room(struct exchange *x)
{
    x->waits_for_room = x->paused;
    if (x->paused) {
        trace_note(x, TRACE_WAITS_ROOM);
        return STEP_WAIT;
    }
    return STEP_NEXT;
}

static enum step_result step_local(struct exchange *x)
{
    return local_answers(x) ? STEP_DONE : STEP_NEXT;
}

static bool suits(const struct exchange *x, const struct node *n)
{
    if (n->kind == NODE_KIND_OLLAMA) {
        return true;
    }
    if (x->native || x->native_only) {
        return local_translates(x->op);
    }
    return x->relay_any_kind;
}

static bool has_model(const struct node *n, struct slice model)
{
    return model.len == 0 || catalogue_find(&n->catalogue, model) != NULL ||
           (n->kind == NODE_KIND_OLLAMA && model_name_is_cloud(model));
}

/* False: out of memory. */
static bool choose(struct exchange *x, enum choose_verdict *verdict, struct node **chosen)
{
    struct nodes *set = x->sub->nodes;
    size_t count = nodes_count(set);
    struct choose_node few[CANDIDATES_AT_HAND];
    struct choose_node *candidates = few;
    struct slice model = buf_slice(&x->model);
    bool needs_model = x->needs_model && model.len > 0;
    size_t i;

    if (count > CANDIDATES_AT_HAND) {
        candidates = block_get(count * sizeof(*candidates));
        if (candidates == NULL) {
            return false;
        }
    }
    for (i = 0; i < count; i++) {
        struct node *n = nodes_at(set, i);

        candidates[i] = (struct choose_node){
            .id = n->id,
            .up = n->state == NODE_UP,
            .suits = suits(x, n),
            .has_model = has_model(n, model),
        };
    }
    *verdict = choose_node(candidates, count, needs_model, x->prefer_node_id, &i);
    trace_candidates(x, candidates, count, needs_model, *verdict, i);
    *chosen = *verdict == CHOOSE_OK ? nodes_at(set, i) : NULL;
    if (candidates != few) {
        block_put(candidates, count * sizeof(*candidates));
    }
    return true;
}

static enum step_result fail_none_up(struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    char text[256];
    struct node *first = nodes_count(set) > 0 ? nodes_at(set, 0) : NULL;

    if (first != NULL && first->why_down[0] != '\0') {
        (void)snprintf(text, sizeof(text), "no node is up (%s: %.150s)", first->spec->name,
                       first->why_down);
        return step_fail(x, MCP_ENODE_UNAVAILABLE, text);
    }
    return step_fail(x, MCP_ENODE_UNAVAILABLE, "no node is up");
}

static enum step_result fail_unknown_model(struct exchange *x)
{
    struct slice model = slice_first(buf_slice(&x->model), 128);
    char text[256];

    /* Ollama's own words, which clients look for. */
    if (x->op == OP_EMBED || x->op == OP_EMBEDDINGS) {
        (void)snprintf(text, sizeof(text), "model \"%.*s\" not found, try pulling it first",
                       SLICE_ARG(model));
    } else {
        (void)snprintf(text, sizeof(text), "model '%.*s' not found", SLICE_ARG(model));
    }
    return step_fail(x, MCP_EUNKNOWN_MODEL, text);
}

static void on_refreshed(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->refreshing = false;
    x->refreshed = true;
    trace_note(x, TRACE_NODES_ASKED);
    steps_run(x);
}

static enum step_result wait_for_nodes(struct exchange *x)
{
    x->refreshing = true;
    trace_note(x, TRACE_WAITS_NODES);
    nodes_refresh(x->sub->nodes, &x->refresh, on_refreshed, x);
    return STEP_WAIT;
}

static enum step_result step_choose(struct exchange *x)
{
    enum choose_verdict verdict;
    struct node *n;

    if (!choose(x, &verdict, &n)) {
        return step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    }
    switch (verdict) {
    case CHOOSE_NONE_UP:
        if (x->refreshed || nodes_all_polled(x->sub->nodes)) {
            return fail_none_up(x);
        }
        return wait_for_nodes(x); /* the gateway has just started */
    case CHOOSE_NONE_SUITS:
        return step_fail(x, MCP_EUNSUPPORTED_OP,
                         "no node supports this operation: it needs an Ollama node");
    case CHOOSE_UNKNOWN_MODEL:
        if (x->refreshed) {
            return fail_unknown_model(x);
        }
        /* The model may be new: the catalogues are read again before saying no. */
        return wait_for_nodes(x);
    case CHOOSE_OK:
        break;
    }
    x->node_id = n->id;
    slice_copy(slice_str(n->spec->name), x->node_name, sizeof(x->node_name));
    return STEP_NEXT;
}

static const struct step steps[] = {
    {"admit", step_admit},     {"route", step_route}, {"room", step_room},
    {"local", step_local},     {"batch", step_batch}, {"choose", step_choose},
    {"forward", step_forward},
};

enum { STEP_CHOOSE = 5, STEP_COUNT = sizeof(steps) / sizeof(steps[0]) };

void steps_run(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    while (x->step < STEP_COUNT) {
        enum step_result result = steps[x->step].run(x);

        if (result != STEP_NEXT) {
            return;
        }
        x->step++;
    }
}

void steps_go_back(struct exchange *x)
{
    x->step = STEP_CHOOSE;
}
