/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/steps.h"

#include <stdio.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "codec/model_name.h"
#include "gateway/batch.h"
#include "gateway/flight.h"
#include "gateway/local.h"
#include "gateway/route_step.h"
#include "gateway/spread.h"
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

static struct choose_node candidate(const struct exchange *x, const struct node *n)
{
    return (struct choose_node){
        .id = n->id,
        .up = node_takes_work(n),
        .suits = suits(x, n),
        .has_model = has_model(n, buf_slice(&x->model)),
    };
}

/* False: out of memory. */
static bool choose(struct exchange *x, enum choose_verdict *verdict, struct node **chosen)
{
    struct nodes *set = x->sub->nodes;
    size_t count = nodes_count(set);
    struct choose_node few[CANDIDATES_AT_HAND];
    struct choose_node *candidates = few;
    bool needs_model = x->needs_model && buf_len(&x->model) > 0;
    size_t i;

    if (count > CANDIDATES_AT_HAND) {
        candidates = block_get(count * sizeof(*candidates));
        if (candidates == NULL) {
            return false;
        }
    }
    for (i = 0; i < count; i++) {
        candidates[i] = candidate(x, nodes_at(set, i));
    }
    *verdict = choose_node(candidates, count, needs_model, x->prefer_node_id, &i);
    *chosen = *verdict == CHOOSE_OK ? nodes_at(set, i) : NULL;
    if (candidates != few) {
        block_put(candidates, count * sizeof(*candidates));
    }
    return true;
}

/* Why the others will not do, as far as there is room. */
static void trace_all_but(struct exchange *x, const struct node *chosen)
{
    struct nodes *set = x->sub->nodes;
    struct choose_node others[CANDIDATES_AT_HAND];
    size_t count = 0;

    for (size_t i = 0; x->trace != NULL && i < nodes_count(set) && count < CANDIDATES_AT_HAND;
         i++) {
        if (nodes_at(set, i) != chosen) {
            others[count++] = candidate(x, nodes_at(set, i));
        }
    }
    trace_others(x, others, count, x->needs_model && buf_len(&x->model) > 0);
}

static enum step_result fail_none_up(struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    char text[256];
    struct node *first = nodes_count(set) > 0 ? nodes_at(set, 0) : NULL;

    if (nodes_up(set) > 0) {
        return step_fail(x, MCP_ENODE_UNAVAILABLE, "every node that is up is cordoned");
    }
    if (first != NULL && first->why_down[0] != '\0') {
        (void)snprintf(text, sizeof(text), "no node is up (%s: %.150s)", first->spec->name,
                       first->why_down);
        return step_fail(x, MCP_ENODE_UNAVAILABLE, text);
    }
    return step_fail(x, MCP_ENODE_UNAVAILABLE, "no node is up");
}

/* One that is down or out of use, and listed the model when it was asked last; NULL: none. */
static const struct node *absent_node(const struct exchange *x)
{
    struct nodes *set = x->sub->nodes;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct node *n = nodes_at(set, i);

        if (!node_takes_work(n) && n->state != NODE_REFUSED && suits(x, n) &&
            catalogue_find(&n->catalogue, buf_slice(&x->model)) != NULL) {
            return n;
        }
    }
    return NULL;
}

static enum step_result fail_unknown_model(struct exchange *x)
{
    struct slice model = slice_first(buf_slice(&x->model), 128);
    const struct node *absent = absent_node(x);
    char text[256];

    if (absent != NULL) {
        (void)snprintf(text, sizeof(text), "model '%.*s': its node %.64s is %s", SLICE_ARG(model),
                       absent->spec->name,
                       absent->state == NODE_UP ? node_service_name(absent->service)
                                                : node_state_name(absent->state));
        return step_fail(x, MCP_ENODE_UNAVAILABLE, text);
    }
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

enum step_result step_wait_for_nodes(struct exchange *x)
{
    x->refreshing = true;
    counter_add(COUNTER_NODES_ASKED, 1);
    trace_note(x, TRACE_WAITS_NODES);
    nodes_refresh(x->sub->nodes, &x->refresh, on_refreshed, x);
    return STEP_WAIT;
}

enum step_result step_no_node(struct exchange *x, enum choose_verdict verdict)
{
    trace_all_but(x, NULL);
    switch (verdict) {
    case CHOOSE_NONE_UP:
        if (x->refreshed || nodes_all_polled(x->sub->nodes)) {
            return fail_none_up(x);
        }
        return step_wait_for_nodes(x); /* the gateway has just started */
    case CHOOSE_NONE_SUITS:
        return step_fail(x, MCP_EUNSUPPORTED_OP,
                         "no node supports this operation: it needs an Ollama node");
    case CHOOSE_UNKNOWN_MODEL:
        if (x->refreshed) {
            return fail_unknown_model(x);
        }
        /* The model may be new: the catalogues are read again before saying no. */
        return step_wait_for_nodes(x);
    case CHOOSE_OK:
        break;
    }
    return STEP_NEXT;
}

static void take_node(struct exchange *x, const struct node *n)
{
    x->node_id = n->id;
    slice_copy(slice_str(n->spec->name), x->node_name, sizeof(x->node_name));
}

void step_granted(struct exchange *x, const struct node *n, enum trace_kind why)
{
    take_node(x, n);
    trace_note(x, why);
    trace_all_but(x, n);
}

static enum step_result choose_pinned(struct exchange *x, uint64_t node_id)
{
    const struct node *n = nodes_by_id(x->sub->nodes, node_id);
    char text[256];

    if (n == NULL) {
        return step_fail(x, MCP_ENODE_UNAVAILABLE, "the node is gone");
    }
    take_node(x, n);
    if (node_takes_work(n)) {
        trace_note(x, TRACE_NODE_CHOSEN);
        return STEP_NEXT;
    }
    if (n->state == NODE_UP) {
        (void)snprintf(text, sizeof(text), "node %s: it is %s", n->spec->name,
                       node_service_name(n->service));
    } else {
        (void)snprintf(text, sizeof(text), "node %s: it is not up%s%.150s", n->spec->name,
                       n->why_down[0] == '\0' ? "" : ": ", n->why_down);
    }
    return step_fail(x, MCP_ENODE_UNAVAILABLE, text);
}

static enum step_result step_choose(struct exchange *x)
{
    enum choose_verdict verdict;
    struct node *n;

    if (x->turn.state == TURN_GRANTED) {
        return STEP_NEXT; /* the scheduler has chosen */
    }
    if (exchange_pinned_node(x) != 0) {
        return choose_pinned(x, exchange_pinned_node(x));
    }
    if (!choose(x, &verdict, &n)) {
        return step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    }
    if (verdict != CHOOSE_OK) {
        return step_no_node(x, verdict);
    }
    step_granted(x, n,
                 x->prefer_node_id != 0 && n->id == x->prefer_node_id ? TRACE_NODE_KEPT
                                                                      : TRACE_NODE_CHOSEN);
    return STEP_NEXT;
}

static const struct step steps[] = {
    {"admit", step_admit},     {"flight", step_flight}, {"route", step_route},
    {"room", step_room},       {"spread", step_spread}, {"local", step_local},
    {"batch", step_batch},     {"queue", step_queue},   {"choose", step_choose},
    {"forward", step_forward},
};

enum { STEP_QUEUE = 7, STEP_COUNT = sizeof(steps) / sizeof(steps[0]) };

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
    x->step = STEP_QUEUE;
}
