/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/spread_plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/json_scan.h"
#include "mcp/error.h"

struct plan {
    const struct spread_ask *ask;
    struct spread_node *nodes;
    size_t count;
    size_t chosen;
};

static void choose(struct plan *p, struct spread_node *n)
{
    p->chosen += !n->chosen;
    n->chosen = true;
}

static bool places(const struct plan *p)
{
    return (p->ask->op == OP_PULL || p->ask->op == OP_CREATE) && !p->ask->has_files;
}

static const char *verb(const struct plan *p)
{
    if (p->ask->has_files) {
        return "a create from files";
    }
    return p->ask->op == OP_NONE ? "an upload" : op_info(p->ask->op)->name;
}

/* What it needs is on one node alone. */
static bool goes_to_one(const struct plan *p)
{
    return p->ask->has_files || p->ask->op == OP_NONE || p->ask->op == OP_PUSH;
}

/* --- by name ---------------------------------------------------------------------------------- */

static struct slice next_name(struct slice *names)
{
    const char *comma = memchr(names->ptr, ',', names->len);
    struct slice name = comma == NULL ? *names : slice_first(*names, (size_t)(comma - names->ptr));

    *names = slice_skip(*names, comma == NULL ? names->len : name.len + 1);
    return slice_trim(name);
}

static struct spread_node *find(const struct plan *p, struct slice name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (slice_eq(slice_str(p->nodes[i].name), name)) {
            return &p->nodes[i];
        }
    }
    return NULL;
}

static int choose_named(struct plan *p, struct slice names, struct err *e)
{
    while (names.len > 0) {
        struct slice name = next_name(&names);
        struct spread_node *n = find(p, name);

        if (n == NULL) {
            return err_set(e, MCP_EBAD_REQUEST,
                           "no node is called \"%.*s\" (expected all, a number, or names of nodes "
                           "with commas between them)",
                           SLICE_ARG(slice_first(name, 64)));
        }
        if (!n->suits) {
            return err_set(e, MCP_EBAD_REQUEST, "node %s does not manage models: it is no Ollama",
                           n->name);
        }
        choose(p, n);
    }
    return MCP_OK;
}

/* --- by number -------------------------------------------------------------------------------- */

/* Whether `a` is the better place for one more model. */
static bool is_better(const struct spread_node *a, const struct spread_node *b)
{
    if (a->has_base != b->has_base) {
        return a->has_base;
    }
    if (a->models_bytes != b->models_bytes) {
        return a->models_bytes < b->models_bytes;
    }
    return a->models < b->models;
}

static struct spread_node *best_place(const struct plan *p)
{
    struct spread_node *best = NULL;

    for (size_t i = 0; i < p->count; i++) {
        struct spread_node *n = &p->nodes[i];

        if (!n->chosen && n->suits && n->serves && (best == NULL || is_better(n, best))) {
            best = n;
        }
    }
    return best;
}

static void choose_holders(struct plan *p, bool serving, size_t most)
{
    for (size_t i = 0; i < p->count && p->chosen < most; i++) {
        struct spread_node *n = &p->nodes[i];

        if (n->suits && n->has_model && (n->serves || !serving)) {
            choose(p, n);
        }
    }
}

/* Those that have it, and more as long as there are any. */
static void choose_places(struct plan *p, uint64_t wanted)
{
    struct spread_node *n;

    choose_holders(p, true, SIZE_MAX);
    while (p->chosen < wanted && (n = best_place(p)) != NULL) {
        choose(p, n);
    }
}

static int choose_number(struct plan *p, uint64_t wanted, struct err *e)
{
    if (places(p)) {
        choose_places(p, wanted);
    } else if (p->ask->op == OP_COPY) {
        choose_holders(p, true, wanted > SIZE_MAX ? SIZE_MAX : (size_t)wanted);
        if (p->chosen == 0) {
            return MCP_OK; /* nobody has it: any node can say so */
        }
    } else {
        return err_set(e, MCP_EBAD_REQUEST, "%s takes no number of nodes, but their names",
                       verb(p));
    }
    if (p->chosen < wanted) {
        return err_set(e, MCP_ENODE_UNAVAILABLE, "%" PRIu64 " nodes were asked for, %zu %s", wanted,
                       p->chosen,
                       places(p) ? "are up and manage models" : "are up and have the model");
    }
    return MCP_OK;
}

/* --- all, or as it is meant ------------------------------------------------------------------- */

static void choose_every(struct plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->nodes[i].suits) {
            choose(p, &p->nodes[i]);
        }
    }
}

static int choose_all(struct plan *p, struct err *e)
{
    if (places(p)) {
        choose_every(p);
    } else if (p->ask->op == OP_COPY || p->ask->op == OP_DELETE) {
        choose_holders(p, false, SIZE_MAX);
    } else {
        return err_set(e, MCP_EBAD_REQUEST, "%s goes to one node: give its name", verb(p));
    }
    return MCP_OK;
}

/* Where the files are that were not meant for any node. */
static void choose_first(struct plan *p)
{
    for (size_t i = 0; i < p->count && p->chosen == 0; i++) {
        if (p->nodes[i].suits && p->nodes[i].serves) {
            choose(p, &p->nodes[i]);
        }
    }
}

static void choose_meant(struct plan *p)
{
    if (p->ask->has_files) {
        choose_first(p);
    } else if (places(p) && p->ask->replicas == 0) {
        choose_every(p);
    } else if (places(p)) {
        choose_places(p, p->ask->replicas);
    } else if (p->ask->op == OP_COPY) {
        choose_holders(p, true, SIZE_MAX);
    } else if (p->ask->op == OP_DELETE) {
        choose_holders(p, false, SIZE_MAX);
    }
}

int spread_plan(const struct spread_ask *ask, struct spread_node *nodes, size_t count,
                size_t *chosen, struct err *e)
{
    struct plan p = {.ask = ask, .nodes = nodes, .count = count};
    struct slice wish = slice_trim(ask->wish);
    uint64_t wanted;
    int rv = MCP_OK;

    if (ask->wish.len == 0) {
        choose_meant(&p);
    } else if (wish.len == 0 || (json_uint(wish, &wanted) && wanted == 0)) {
        rv = err_set(e, MCP_EBAD_REQUEST,
                     "expected all, a number from 1, or names of nodes with commas between them");
    } else if (slice_eq(wish, SLICE("all"))) {
        rv = choose_all(&p, e);
    } else if (json_uint(wish, &wanted)) {
        rv = choose_number(&p, wanted, e);
    } else {
        rv = choose_named(&p, wish, e);
    }
    if (rv == MCP_OK && goes_to_one(&p) && p.chosen > 1) {
        rv = err_set(e, MCP_EBAD_REQUEST, "%s goes to one node, not to %zu", verb(&p), p.chosen);
    }
    *chosen = p.chosen;
    return rv;
}
