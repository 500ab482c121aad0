/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/fleet.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "gateway/fleet_internal.h"
#include "node/openai_json.h"

static void on_kept(void *owner, const char *why_not)
{
    struct fleet *f = owner;
    struct fleet_asker *a;

    if (why_not != NULL) {
        LOG_WARN("state_not_kept", "why=\"%s\"", why_not);
    }
    while ((a = fleet_asker_list_pop(&f->waiting)) != NULL) {
        a->done(a->owner, why_not);
    }
}

/* Without memory for them the nodes that were there stay, and are looked up again. */
static bool on_looked(void *owner, bool is_other)
{
    struct fleet *f = owner;
    struct err e;
    bool ok = !is_other || fleet_apply(f, f->config, &e) == MCP_OK;

    nodes_expect(f->nodes, discovery_pending(f->discovery));
    f->looked(f->owner);
    return ok;
}

struct fleet *fleet_new(const struct fleet_options *o, const struct config *c, struct err *e)
{
    struct fleet *f = xcalloc(1, sizeof(*f));
    struct loop *loop = nodes_loop(o->nodes);
    char *directory = state_file_directory(c->state_dir);

    f->nodes = o->nodes;
    f->brain = o->brain;
    f->looked = o->looked;
    f->owner = o->owner;
    f->discovery = discovery_new(loop, o->ask, on_looked, f);
    f->state = state_file_new(loop, directory, "nodes.json", on_kept, f);
    free(directory);
    if (fleet_load(f, e) != MCP_OK) {
        fleet_free(&f);
    }
    return f;
}

void fleet_free(struct fleet **pf)
{
    struct fleet *f = *pf;

    if (f == NULL) {
        return;
    }
    *pf = NULL;
    while (fleet_asker_list_pop(&f->waiting) != NULL) {
    }
    discovery_free(&f->discovery);
    state_file_free(&f->state);
    for (size_t i = 0; i < f->count; i++) {
        fleet_node_free(f->list[i]);
    }
    for (size_t i = 0; i < f->added_count; i++) {
        fleet_node_drop(f->added[i]);
    }
    free(f->list);
    free(f->added);
    config_unref(&f->config);
    free(f);
}

int fleet_use(struct fleet *f, struct config *c, struct err *e)
{
    int rv = fleet_apply(f, c, e);

    if (rv == MCP_OK) {
        config_unref(&f->config);
        f->config = config_ref(c);
        discovery_configure(f->discovery, c->discovery_interval_ms, c->resolver);
    }
    return rv;
}

void fleet_node_changed(struct fleet *f, const struct node *n)
{
    struct fleet_node *known = fleet_find(f, slice_str(n->spec->name));

    if (known != NULL) {
        warm_look(&known->warm);
    }
}

void fleet_keep(struct fleet *f, struct fleet_asker *asker)
{
    fleet_asker_list_push(&f->waiting, asker);
    fleet_save(f);
}

void fleet_forget(struct fleet *f, struct fleet_asker *asker)
{
    fleet_asker_list_remove(&f->waiting, asker);
}

/* --- cordoned and back ------------------------------------------------------------------------ */

static enum fleet_result unknown(const struct fleet *f, struct slice name, struct err *e)
{
    const struct config_node *several = fleet_source(f, f->config, name);

    if (several != NULL) {
        (void)err_set(e, MCP_EARGUMENT,
                      "'%.128s' stands for nodes that DNS knows: name one of them, mcpgate nodes "
                      "shows how",
                      several->name);
        return FLEET_CONFLICT;
    }
    (void)err_set(e, MCP_EARGUMENT, "no node is called '%.*s'", SLICE_ARG(slice_first(name, 128)));
    return FLEET_UNKNOWN;
}

static enum fleet_result no_memory(struct err *e)
{
    (void)err_set(e, MCP_ENOMEM, "out of memory");
    return FLEET_NO_MEMORY;
}

/* What it has in memory now, for when it comes back. */
static bool remember(struct fleet_node *known, const struct node *n)
{
    const struct residency *r = &n->residency;

    for (size_t i = 0; i < r->count; i++) {
        if (!warm_remember(&known->warm, slice_of(r->models[i].name, r->models[i].name_len),
                           r->models[i].context_length)) {
            return false;
        }
    }
    return true;
}

enum fleet_result fleet_cordon(struct fleet *f, struct slice name, struct err *e)
{
    struct node *n = nodes_by_name(f->nodes, name);
    struct fleet_node *known = fleet_find(f, name);

    if (n == NULL || known == NULL) {
        return unknown(f, name, e);
    }
    if (known->cordoned) {
        return FLEET_OK;
    }
    /* One that is warming has not what it had yet: that stays remembered. */
    if (n->service == NODE_SERVING && !remember(known, n)) {
        return no_memory(e);
    }
    known->cordoned = true;
    counter_add(COUNTER_NODE_CORDONED, 1);
    LOG_INFO("node_cordoned", "node=%s running=%zu models=%zu", known->name,
             node_calls_everywhere(n), warm_remembered(&known->warm));
    fleet_serve(f, known);
    return FLEET_OK;
}

enum fleet_result fleet_uncordon(struct fleet *f, struct slice name, struct err *e)
{
    struct fleet_node *known = fleet_find(f, name);

    if (known == NULL) {
        return unknown(f, name, e);
    }
    if (!known->cordoned) {
        return FLEET_OK;
    }
    known->cordoned = false;
    counter_add(COUNTER_NODE_UNCORDONED, 1);
    LOG_INFO("node_uncordoned", "node=%s models=%zu", known->name, warm_remembered(&known->warm));
    warm_begin(&known->warm);
    fleet_serve(f, known);
    return FLEET_OK;
}

/* --- added and removed ------------------------------------------------------------------------ */

static bool add_to_list(struct fleet *f, struct config_node *n)
{
    struct config_node **more = realloc(f->added, (f->added_count + 1) * sizeof(*more));

    if (more == NULL) {
        return false;
    }
    f->added = more;
    f->added[f->added_count++] = n;
    return true;
}

enum fleet_result fleet_add(struct fleet *f, struct slice json, struct slice *name, struct err *e)
{
    yyjson_doc *doc = NULL;
    struct config_node *n = NULL;
    int rv = openai_json_read(&doc, json, OPENAI_NUMBERS_READ);

    if (rv == MCP_EBAD_REQUEST) {
        (void)err_set(e, MCP_EARGUMENT, "expected a JSON object with the member url");
    } else if (rv == MCP_OK) {
        n = fleet_node_read(yyjson_doc_get_root(doc), e);
    } else {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
    }
    yyjson_doc_free(doc);
    if (n == NULL) {
        return e->code == MCP_ENOMEM ? FLEET_NO_MEMORY : FLEET_INVALID;
    }
    if (nodes_by_name(f->nodes, slice_str(n->name)) != NULL ||
        fleet_source(f, f->config, slice_str(n->name)) != NULL) {
        (void)err_set(e, MCP_EARGUMENT, "there is a node called '%.128s' already", n->name);
        fleet_node_drop(n);
        return FLEET_CONFLICT;
    }
    if (!add_to_list(f, n)) {
        fleet_node_drop(n);
        return no_memory(e);
    }
    if (fleet_apply(f, f->config, e) != MCP_OK) {
        f->added_count--;
        fleet_node_drop(n);
        return e->code == MCP_ENOMEM ? FLEET_NO_MEMORY : FLEET_INVALID;
    }
    LOG_INFO("node_added", "node=%s", n->name);
    *name = slice_str(n->name);
    return FLEET_OK;
}

static void take_from_list(struct fleet *f, size_t at)
{
    f->added_count--;
    memmove(&f->added[at], &f->added[at + 1], (f->added_count - at) * sizeof(f->added[0]));
}

static void put_into_list(struct fleet *f, size_t at, struct config_node *n)
{
    memmove(&f->added[at + 1], &f->added[at], (f->added_count - at) * sizeof(f->added[0]));
    f->added[at] = n;
    f->added_count++;
}

enum fleet_result fleet_remove(struct fleet *f, struct slice name, struct err *e)
{
    struct fleet_node *known = fleet_find(f, name);
    const struct node *there = nodes_by_name(f->nodes, name);
    struct config_node *n;
    size_t at = 0;

    while (at < f->added_count && !slice_eq(slice_str(f->added[at]->name), name)) {
        at++;
    }
    if (at == f->added_count) {
        if (there == NULL && fleet_source(f, f->config, name) == NULL) {
            return unknown(f, name, e);
        }
        if (there != NULL && !slice_eq(slice_str(there->spec->source), name)) {
            (void)err_set(e, MCP_EARGUMENT,
                          "'%.64s' was found by %.128s: take it out of DNS, or cordon it",
                          there->spec->name, there->spec->source);
            return FLEET_CONFLICT;
        }
        (void)err_set(
            e, MCP_EARGUMENT,
            "'%.*s' is a node of the configuration: remove it there and reload, or cordon it",
            SLICE_ARG(slice_first(name, 128)));
        return FLEET_CONFLICT;
    }
    n = f->added[at];
    take_from_list(f, at);
    if (known != NULL) {
        known->cordoned = false; /* nothing is kept of it */
        warm_forget(&known->warm);
    }
    if (fleet_apply(f, f->config, e) != MCP_OK) {
        put_into_list(f, at, n);
        return FLEET_NO_MEMORY;
    }
    LOG_INFO("node_removed", "node=%s", n->name);
    fleet_node_drop(n);
    return FLEET_OK;
}
