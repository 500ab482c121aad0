/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, models and the runners between them. */
#include <stdlib.h>

#include "sched/sched_internal.h"

struct node *node_find(const struct sched *s, uint64_t id)
{
    uint64_t hash = hash_number(s->seed, id);
    struct map_link *l = map_find(&s->nodes, hash);

    for (; l != NULL; l = map_next(l)) {
        struct node *n = MAP_OF(l, struct node, in_nodes);

        if (n->id == id) {
            return n;
        }
    }
    return NULL;
}

bool node_takes(const struct node *n)
{
    return n->up && !n->cordoned && !n->gone;
}

struct model *model_find(const struct sched *s, struct slice name)
{
    struct map_link *l = map_find(&s->models, hash_bytes(s->seed, name));

    for (; l != NULL; l = map_next(l)) {
        struct model *m = MAP_OF(l, struct model, in_models);

        if (slice_eq(model_name(m), name)) {
            return m;
        }
    }
    return NULL;
}

static struct model *model_get(struct sched *s, struct slice name)
{
    struct model *m = model_find(s, name);

    if (m != NULL) {
        return m;
    }
    m = slab_get(&s->model_slab);
    if (m == NULL) {
        return NULL;
    }
    m->name = slice_dup(name);
    m->name_len = name.len;
    if (m->name == NULL) {
        slab_put(&s->model_slab, m);
        return NULL;
    }
    map_add(&s->models, &m->in_models, hash_bytes(s->seed, name));
    return m;
}

void model_release(struct sched *s, struct model *m)
{
    if (m->runners.count > 0 || m->busy > 0) {
        return;
    }
    accounts_forget(s, m);
    map_remove(&s->models, &m->in_models);
    free(m->name);
    slab_put(&s->model_slab, m);
}

static uint64_t runner_hash(const struct node *n, const struct model *m)
{
    return hash_number(n->in_nodes.hash, m->in_models.hash);
}

struct runner *runner_find(const struct sched *s, const struct node *n, const struct model *m)
{
    struct map_link *l = map_find(&s->runners, runner_hash(n, m));

    for (; l != NULL; l = map_next(l)) {
        struct runner *r = MAP_OF(l, struct runner, in_runners);

        if (r->node == n && r->model == m) {
            return r;
        }
    }
    return NULL;
}

static struct runner *runner_get(struct sched *s, struct node *n, struct slice name)
{
    struct model *m = model_get(s, name);
    struct runner *r = m == NULL ? NULL : runner_find(s, n, m);

    if (m == NULL || r != NULL) {
        return r;
    }
    r = slab_get(&s->runner_slab);
    if (r == NULL) {
        model_release(s, m);
        return NULL;
    }
    r->node = n;
    r->node_id = n->id;
    r->model = m;
    prefix_add_runner(s, r);
    map_add(&s->runners, &r->in_runners, runner_hash(n, m));
    node_runners_push(&n->runners, r);
    model_runners_push(&m->runners, r);
    return r;
}

static void node_release(struct sched *s, struct node *n)
{
    if (n->gone && n->runners.count == 0) {
        if (reopen_list_has(n)) {
            reopen_list_remove(&s->reopen, n);
        }
        map_remove(&s->nodes, &n->in_nodes);
        node_list_remove(&s->all_nodes, n);
        slab_put(&s->node_slab, n);
    }
}

void runner_release(struct sched *s, struct runner *r)
{
    struct model *m = r->model;
    struct node *n = r->node;

    if (r->listed || r->resident || r->loading || r->running > 0) {
        return;
    }
    runner_unsort(s, r);
    prefix_remove_runner(s, r);
    map_remove(&s->runners, &r->in_runners);
    node_runners_remove(&n->runners, r);
    model_runners_remove(&m->runners, r);
    slab_put(&s->runner_slab, r);
    model_release(s, m);
    node_release(s, n);
}

/* --- what nodes serve together --- */

static void serving_add(struct serving *all, const struct served *one, int sign)
{
    if (!one->serves) {
        return;
    }
    all->nodes += (size_t)sign;
    all->loaders += one->loads ? (size_t)sign : 0;
    for (int bit = 0; bit < SPEAKS_BITS; bit++) {
        all->speak[bit] += (one->speaks >> bit & 1) != 0 ? (uint32_t)sign : 0;
    }
}

static void serving_replace(struct serving *all, struct served *was, const struct served *is)
{
    serving_add(all, was, -1);
    serving_add(all, is, 1);
    *was = *is;
}

static bool serving_speaks(const struct serving *all, unsigned speaks)
{
    for (int bit = 0; speaks != 0 && bit < SPEAKS_BITS; bit++) {
        if ((speaks >> bit & 1) != 0 && all->speak[bit] > 0) {
            return true;
        }
    }
    return speaks == 0 && all->nodes > 0;
}

/* It takes requests now or does not, and lists other models than before. */
static void count_served(struct sched *s, struct node *n)
{
    struct served now = {.serves = node_takes(n), .loads = n->loads, .speaks = n->speaks};
    struct runner *r = node_runners_first(&n->runners);

    serving_replace(&s->serving, &n->served_as, &now);
    for (; r != NULL; r = node_runners_next(&n->runners, r)) {
        now.serves = node_takes(n) && r->listed;
        serving_replace(&r->model->serving, &r->served_as, &now);
    }
}

static bool suits(const struct node *n, unsigned speaks)
{
    return speaks == 0 || (n->speaks & speaks) != 0;
}

bool model_usable(const struct model *m, unsigned speaks, uint64_t avoid_node)
{
    struct runner *r = model_runners_first(&m->runners);

    if (avoid_node == 0 || !serving_speaks(&m->serving, speaks)) {
        return serving_speaks(&m->serving, speaks);
    }
    while (r != NULL && (r->node->id == avoid_node || !node_takes(r->node) || !r->listed ||
                         !suits(r->node, speaks))) {
        r = model_runners_next(&m->runners, r);
    }
    return r != NULL;
}

enum sched_verdict nodes_verdict(const struct sched *s, const struct sched_job *job)
{
    if (serving_speaks(&s->serving, job->speaks)) {
        return SCHED_UNKNOWN_MODEL;
    }
    return s->serving.nodes > 0 ? SCHED_NONE_SUITS : SCHED_NONE_UP;
}

/* --- what a node says --- */

static uint64_t hash_models(uint64_t hash, const struct sched_model *models, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hash = hash_bytes(hash, models[i].name);
        hash = hash_number(hash_number(hash, models[i].bytes), models[i].context);
    }
    return hash_number(hash, count);
}

static uint64_t hash_state(const struct sched_node_state *n)
{
    uint64_t flags = (uint64_t)n->up | (uint64_t)n->cordoned << 1 | (uint64_t)n->loads << 2;
    uint64_t hash = hash_number(hash_number(hash_number(0, flags), n->speaks), n->slots);

    hash = hash_number(hash, n->memory_bytes);

    hash = hash_models(hash, n->models, n->model_count);
    return hash_models(hash, n->resident, n->resident_count);
}

static bool read_listed(struct sched *s, struct node *n, const struct sched_node_state *state)
{
    struct runner *r = runner_get(s, n, slice_of("", 0)); /* for what may go anywhere */

    if (r == NULL) {
        return false;
    }
    r->listed = true;
    for (size_t i = 0; i < state->model_count; i++) {
        r = runner_get(s, n, state->models[i].name);
        if (r == NULL) {
            return false;
        }
        r->listed = true;
        r->bytes = r->bytes == 0 ? state->models[i].bytes : r->bytes;
    }
    return true;
}

static bool read_resident(struct sched *s, struct node *n, const struct sched_node_state *state,
                          uint64_t now_us)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < state->resident_count; i++) {
        struct runner *r = runner_get(s, n, state->resident[i].name);

        if (r == NULL) {
            return false;
        }
        r->seen = true;
        r->listed = true; /* it serves it, whatever its list says */
        r->bytes = state->resident[i].bytes == 0 ? r->bytes : state->resident[i].bytes;
        bytes += r->bytes;
        load_reported(s, r, true, state->resident[i].context, now_us);
    }
    n->most_bytes = bytes > n->most_bytes ? bytes : n->most_bytes;
    return true;
}

static bool read_models(struct sched *s, struct node *n, const struct sched_node_state *state,
                        uint64_t now_us)
{
    struct runner *r;

    for (r = node_runners_first(&n->runners); r != NULL; r = node_runners_next(&n->runners, r)) {
        r->listed = r->seen = false;
    }
    return read_listed(s, n, state) && read_resident(s, n, state, now_us);
}

/* Waiting requests of models that this node no longer serves have some time until it returns. */
static void mark_orphans(struct sched *s, struct model *m, uint64_t now_us)
{
    struct line *l = line_list_first(&m->lines);

    for (; l != NULL; l = line_list_next(&m->lines, l)) {
        bool served = model_usable(m, l->speaks, l->avoid_node);

        if (served) {
            line_orphan(s, l, SCHED_NEVER);
        } else if (l->orphan_us == SCHED_NEVER) {
            line_orphan(s, l, now_us + s->limits.node_wait_us);
        }
    }
}

static void settle_runners(struct sched *s, struct node *n, uint64_t now_us)
{
    struct runner *r = node_runners_first(&n->runners), *next;

    count_served(s, n);
    n->unsure = false;
    for (; r != NULL; r = next) {
        next = node_runners_next(&n->runners, r);
        if (!r->seen) {
            load_reported(s, r, false, 0, now_us);
        }
        runner_settle(s, r);
        place_fill(s, r, now_us);
        mark_orphans(s, r->model, now_us);
        n->unsure = n->unsure || r->loading || r->resident != r->seen;
        runner_release(s, r);
    }
}

static struct node *node_get(struct sched *s, uint64_t id)
{
    struct node *n = node_find(s, id);

    if (n == NULL) {
        n = slab_get(&s->node_slab);
        if (n != NULL) {
            n->id = id;
            map_add(&s->nodes, &n->in_nodes, hash_number(s->seed, id));
            node_list_push(&s->all_nodes, n);
        }
    }
    return n;
}

bool sched_node(struct sched *s, uint64_t now_us, const struct sched_node_state *state)
{
    uint64_t hash = hash_state(state);
    struct node *n = node_get(s, state->id);

    ASSERT(state->id != 0);
    if (n == NULL) {
        return false;
    }
    if (n->state_hash == hash && !n->gone && !n->unsure && n->runners.count > 0) {
        return true;
    }
    n->state_hash = hash;
    n->gone = false;
    n->up = state->up;
    n->cordoned = state->cordoned;
    n->speaks = state->speaks;
    n->slots = state->slots;
    n->memory_bytes = state->memory_bytes;
    n->loads = state->loads;
    if (!node_takes(n)) {
        load_node_lost(s, n);
    }
    if (!read_models(s, n, state, now_us)) {
        sched_node_gone(s, now_us, state->id);
        return false;
    }
    load_look_again(s, n, now_us);
    settle_runners(s, n, now_us);
    load_due(s, now_us);
    return true;
}

void sched_node_gone(struct sched *s, uint64_t now_us, uint64_t id)
{
    struct node *n = node_find(s, id);
    struct runner *r;

    if (n == NULL) {
        return;
    }
    n->gone = true;
    n->up = false;
    load_node_lost(s, n);
    for (r = node_runners_first(&n->runners); r != NULL; r = node_runners_next(&n->runners, r)) {
        r->listed = r->seen = r->resident = false;
    }
    if (n->runners.count == 0) {
        count_served(s, n);
        node_release(s, n);
    } else {
        settle_runners(s, n, now_us); /* it goes with its last runner */
    }
    load_due(s, now_us);
}

void nodes_fini(struct sched *s)
{
    for (size_t i = 0; s->models.chains != NULL && i <= s->models.mask; i++) {
        for (struct map_link *l = s->models.chains[i]; l != NULL; l = l->next) {
            free(MAP_OF(l, struct model, in_models)->name);
        }
    }
}
