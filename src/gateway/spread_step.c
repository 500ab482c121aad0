/* SPDX-License-Identifier: Apache-2.0 */
/* The step that finds out on which nodes a request that manages models is done. */
#include "base/block.h"
#include "base/check.h"
#include "base/json_scan.h"
#include "gateway/spread.h"
#include "gateway/spread_plan.h"
#include "gateway/sub.h"
#include "http/parse/url.h"

enum { PLANNED_AT_HAND = 8 };

static bool manages(enum op op)
{
    return op == OP_PULL || op == OP_CREATE || op == OP_COPY || op == OP_DELETE || op == OP_PUSH;
}

/* Of a file that a model is to be created from. */
static bool is_upload(const struct exchange *x)
{
    return x->op == OP_NONE && slice_starts(url_target_path(x->path), SLICE("/api/blobs/"));
}

static bool names_files(struct slice body, struct slice key)
{
    struct json_member files, one;
    struct json_walk w;

    return json_find(body, key, &files) == JSON_OK &&
           json_walk_begin(&w, files.value, JSON_OBJECT) == JSON_OK &&
           json_walk_next(&w, &one) == JSON_OK; /* empty: none */
}

static bool has_files(const struct exchange *x)
{
    struct slice body = buf_slice(&x->body);

    return x->op == OP_CREATE && x->body_is_json &&
           (names_files(body, SLICE("files")) || names_files(body, SLICE("adapters")));
}

/* The model that another one is created from; empty: none. False: out of memory. */
static bool read_base(const struct exchange *x, struct buf *base)
{
    return x->op != OP_CREATE || !x->body_is_json || !request_has(&x->request, REQUEST_FROM) ||
           x->request.members[REQUEST_FROM].kind != JSON_STRING ||
           json_unescape(x->request.members[REQUEST_FROM].value, base);
}

static bool lists(const struct node *n, struct slice model)
{
    return model.len > 0 && catalogue_find(&n->catalogue, model) != NULL;
}

static struct spread_node planned_of(const struct node *n, struct slice model, struct slice base)
{
    struct spread_node p = {
        .name = n->spec->name,
        .suits = n->kind != NODE_KIND_OPENAI, /* one that was never up will have to say */
        .serves = node_takes_work(n),
        .has_model = lists(n, model),
        .has_base = lists(n, base),
        .models = n->catalogue.count,
    };

    for (size_t i = 0; i < n->catalogue.count; i++) {
        p.models_bytes += n->catalogue.models[i].size_bytes;
    }
    return p;
}

static int plan(struct exchange *x, struct spread_node *planned, size_t *chosen, struct err *e)
{
    struct nodes *set = x->sub->nodes;
    const struct spread_ask ask = {
        .op = x->op,
        .wish = exchange_wished_nodes(x),
        .replicas = x->sub->config->replicas,
        .has_files = has_files(x),
    };
    struct buf base = {0};
    int rv = MCP_OK;

    if (!read_base(x, &base)) {
        rv = err_set(e, MCP_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < nodes_count(set); i++) {
        planned[i] = planned_of(nodes_at(set, i), buf_slice(&x->model), buf_slice(&base));
    }
    if (rv == MCP_OK) {
        rv = spread_plan(&ask, planned, nodes_count(set), chosen, e);
    }
    buf_fini(&base);
    return rv;
}

/* It goes on as any other, to that node alone. */
static bool pin(struct exchange *x, const struct spread_node *planned)
{
    struct nodes *set = x->sub->nodes;

    for (size_t i = 0; i < nodes_count(set) && exchange_extra(x) != NULL; i++) {
        if (planned[i].chosen) {
            x->extra->pinned_node_id = nodes_at(set, i)->id;
            return exchange_wished_nodes(x).len == 0 ||
                   buf_append_str(&x->extra->node_names, planned[i].name);
        }
    }
    return false;
}

static enum step_result follow(struct exchange *x, const struct spread_node *planned, size_t chosen)
{
    bool ok;

    if (chosen == 0) {
        return STEP_NEXT;
    }
    if (chosen > 1 && !x->body_is_json) {
        return step_fail(x, MCP_EBAD_REQUEST,
                         "a body with Content-Encoding goes to one node: give its name");
    }
    ok = chosen == 1 ? pin(x, planned)
                     : exchange_extra(x) != NULL && spread_begin(x, planned, chosen);
    if (!ok) {
        return step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    }
    return chosen == 1 ? STEP_NEXT : STEP_WAIT;
}

static void on_asked(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->refreshing = false;
    x->refreshed = true;
    trace_note(x, TRACE_NODES_ASKED);
    steps_run(x);
}

enum step_result step_spread(struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    struct spread_node few[PLANNED_AT_HAND];
    size_t bytes = nodes_count(set) * sizeof(few[0]);
    struct spread_node *planned;
    enum step_result result;
    struct err e = {0};
    size_t chosen = 0;

    if (exchange_wished_nodes(x).len == 0 && (!manages(x->op) || nodes_count(set) == 1)) {
        return STEP_NEXT; /* nearly always */
    }
    if (exchange_pinned_node(x) != 0) {
        return STEP_NEXT;
    }
    if (!manages(x->op) && !is_upload(x)) {
        return step_fail(x, MCP_EBAD_REQUEST,
                         "only pull, create, copy, delete and push go to nodes by name or number");
    }
    if (!x->refreshed) { /* which of them has the model? */
        x->refreshing = true;
        nodes_refresh(set, &x->refresh, on_asked, x);
        return STEP_WAIT;
    }
    planned = bytes <= sizeof(few) ? few : block_get(bytes);
    if (planned == NULL) {
        return step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    }
    result = plan(x, planned, &chosen, &e) == MCP_OK ? follow(x, planned, chosen)
                                                     : step_fail(x, e.code, e.text);
    if (planned != few) {
        block_put(planned, bytes);
    }
    return result;
}
