/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler is told of nodes. */
#include <stdlib.h>
#include <string.h>

#include "codec/model_name.h"
#include "gateway/brain_internal.h"

static struct known_node *find_node(struct brain *b, uint64_t id)
{
    for (size_t i = 0; i < b->node_count; i++) {
        if (b->nodes[i].id == id) {
            return &b->nodes[i];
        }
    }
    return NULL;
}

static void known_node_fini(struct known_node *n)
{
    catalogue_fini(&n->catalogue);
    residency_fini(&n->residency);
}

static void fill_listed(const struct known_node *n, struct sched_model *out)
{
    for (size_t i = 0; i < n->catalogue.count; i++) {
        const struct catalogue_model *m = &n->catalogue.models[i];

        out[i] = (struct sched_model){.name = slice_of(m->canonical, m->canonical_len),
                                      .bytes = m->size_bytes};
    }
}

/* Of the memory that is scarce: of one that is on the GPU in part, only that part. */
static uint64_t bytes_of(const struct resident_model *r)
{
    return r->vram_bytes > 0 ? r->vram_bytes : r->size_bytes;
}

/* Those that the node does not list are left out: nobody asks for them. */
static size_t fill_resident(const struct known_node *n, struct sched_model *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n->residency.count; i++) {
        const struct resident_model *r = &n->residency.models[i];
        const struct catalogue_model *m =
            catalogue_find(&n->catalogue, slice_of(r->name, r->name_len));

        if (m != NULL) {
            out[count++] = (struct sched_model){.name = slice_of(m->canonical, m->canonical_len),
                                                .bytes = bytes_of(r),
                                                .context = r->context_length};
        }
    }
    return count;
}

/* Under the lock. Without memory the node gets nothing until the next news of it. */
static void tell_node(struct brain *b, uint64_t now_us, const struct known_node *n)
{
    size_t count = n->catalogue.count;
    struct sched_model *models = calloc(count + n->residency.count + 1, sizeof(*models));
    struct sched_node_state state = {.id = n->id,
                                     .up = n->up,
                                     .cordoned = n->cordoned,
                                     .speaks = n->speaks,
                                     .slots = n->slots,
                                     .memory_bytes = n->memory_bytes,
                                     .loads = n->residency.users != NULL};

    if (models != NULL) {
        state.models = models;
        state.model_count = count;
        state.resident = models + count;
        fill_listed(n, models);
        state.resident_count = fill_resident(n, models + count);
    }
    (void)sched_node(b->sched, now_us, &state);
    free(models);
}

/* NULL: it is not in the configuration. */
static const struct config_node *config_of(const struct config *c, const struct node *n)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (strcmp(c->nodes[i].name, n->spec->source) == 0) {
            return &c->nodes[i];
        }
    }
    return NULL;
}

static uint32_t slots_of(const struct config_node *n)
{
    if (n == NULL) {
        return SCHED_SLOTS_UNLIMITED;
    }
    return n->slots == CONFIG_SLOTS_AUTO ? SCHED_SLOTS_AUTO : (uint32_t)n->slots;
}

/* --- whether there is anything to decide --- */

static bool has_work(const struct config *c, struct nodes *nodes)
{
    if (nodes_count(nodes) > 1 || c->queue == CONFIG_QUEUE_ALWAYS) {
        return true;
    }
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (slots_of(config_of(c, nodes_at(nodes, i))) != SCHED_SLOTS_UNLIMITED) {
            return true;
        }
    }
    for (size_t i = 0; i < c->key_count; i++) {
        if (c->keys[i].rate_per_min != 0) {
            return true;
        }
    }
    return false;
}

/* Requests in any order could make it load its models in turns. */
static bool may_thrash(const struct known_node *n)
{
    size_t local = 0;

    for (size_t i = 0; i < n->catalogue.count; i++) {
        const struct catalogue_model *m = &n->catalogue.models[i];

        local += !model_name_is_cloud(slice_of(m->canonical, m->canonical_len));
    }
    return n->residency.users != NULL && (local > 1 || n->reloads);
}

/* Under the lock. */
static void decide_whether(struct brain *b)
{
    bool schedules = b->has_work;

    for (size_t i = 0; i < b->node_count; i++) {
        schedules = schedules || may_thrash(&b->nodes[i]);
    }
    atomic_store(&b->schedules, schedules);
}

/* The main reactor asks often enough to see each of the contexts once. */
static bool was_reloaded(const struct residency *before, const struct residency *now)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct resident_model *m = &now->models[i];
        const struct resident_model *was = residency_find(before, slice_of(m->name, m->name_len));

        if (was != NULL && was->context_length != m->context_length) {
            return true;
        }
    }
    return false;
}

/* --- what is told of them --- */

/* NULL: out of memory. */
static struct known_node *know_node(struct brain *b, uint64_t id)
{
    struct known_node *n = find_node(b, id);
    struct known_node *list;

    if (n != NULL) {
        return n;
    }
    list = realloc(b->nodes, (b->node_count + 1) * sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    b->nodes = list;
    n = &list[b->node_count++];
    *n = (struct known_node){.id = id};
    return n;
}

void brain_node_changed(struct brain *b, const struct node *node)
{
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));
    struct known_node *n = know_node(b, node->id);
    const struct config_node *c = config_of(b->config, node);

    if (n != NULL) {
        n->up = node->state == NODE_UP;
        n->cordoned = node->service != NODE_SERVING;
        n->speaks = node->kind == NODE_KIND_OPENAI ? BRAIN_SPEAKS_OPENAI : BRAIN_SPEAKS_OLLAMA;
        n->slots = slots_of(c);
        n->memory_bytes = c == NULL ? 0 : c->memory_bytes;
        n->reloads = n->reloads || was_reloaded(&n->residency, &node->residency);
        known_node_fini(n);
        catalogue_share(&n->catalogue, &node->catalogue);
        residency_share(&n->residency, &node->residency);
        tell_node(b, now_us, n);
        decide_whether(b);
    }
    brain_go(b, &after);
}

void brain_node_lost(struct brain_home *h, uint64_t node_id)
{
    struct brain *b = h->brain;
    struct brain_after after = {.here = h->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(h->loop));
    struct known_node *n = find_node(b, node_id);

    if (n != NULL && n->up) {
        n->up = false;
        tell_node(b, now_us, n);
    }
    brain_go(b, &after);
}

static void forget_nodes(struct brain *b, struct nodes *nodes)
{
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));
    size_t kept = 0;

    for (size_t i = 0; i < b->node_count; i++) {
        if (nodes_by_id(nodes, b->nodes[i].id) != NULL) {
            b->nodes[kept++] = b->nodes[i];
        } else {
            sched_node_gone(b->sched, now_us, b->nodes[i].id);
            known_node_fini(&b->nodes[i]);
        }
    }
    b->node_count = kept;
    brain_go(b, &after);
}

/* As the scheduler calls it; empty where the node does not list it. */
static struct slice listed_name(const struct node *n, struct slice model)
{
    const struct catalogue_model *m = catalogue_find(&n->catalogue, model);

    return m == NULL ? SLICE("") : slice_of(m->canonical, m->canonical_len);
}

bool brain_load(struct brain *b, const struct node *n, struct slice model, uint64_t context,
                bool now)
{
    const struct sched_model wanted = {.name = listed_name(n, model), .context = context};
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));
    bool ok = sched_load(b->sched, now_us, n->id, &wanted, now);

    brain_go(b, &after);
    return ok;
}

void brain_loaded(struct brain *b, const struct node *n, struct slice model, bool ok)
{
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));

    sched_loaded(b->sched, now_us, n->id, listed_name(n, model), ok);
    brain_go(b, &after);
}

void brain_nodes_changed(struct brain *b, struct nodes *nodes)
{
    struct brain_after after = {.here = b->loop};

    forget_nodes(b, nodes);
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        brain_node_changed(b, nodes_at(nodes, i));
    }
    (void)brain_enter(b, loop_now_us(b->loop));
    b->has_work = has_work(b->config, nodes);
    decide_whether(b);
    brain_go(b, &after);
}

void brain_nodes_fini(struct brain *b)
{
    for (size_t i = 0; i < b->node_count; i++) {
        known_node_fini(&b->nodes[i]);
    }
    free(b->nodes);
}
