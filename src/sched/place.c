/* SPDX-License-Identifier: Apache-2.0 */
/* Which node: of the runners that take a request and have a slot free, the session's last, else the
 * one with the least work. Those with a free slot are kept in heaps, so that no choice walks all
 * nodes. */
#include "sched/sched_internal.h"

static const double LOADING = 1e12;    /* behind all that are resident */
static const double LOAD_WEIGHT = 0.1; /* tokens computed anew for each of work that is avoided */
static const double RECENT_US = 60e6;

/* --- groups of runners that take the same requests --- */

static bool group_is(const struct group *g, const struct group *key)
{
    return g->speaks == key->speaks && g->any_options == key->any_options &&
           g->options_known == key->options_known && g->options == key->options &&
           g->context == key->context;
}

/* With room for one more runner. NULL: out of memory. */
static struct group *group_get(struct sched *s, struct model *m, const struct group *key)
{
    struct group *g = group_list_first(&m->groups);

    while (g != NULL && !group_is(g, key)) {
        g = group_list_next(&m->groups, g);
    }
    if (g != NULL) {
        return rank_heap_reserve(&g->open, &s->rank_pool, g->runners + 1) ? g : NULL;
    }
    g = slab_get(&s->group_slab);
    if (g == NULL) {
        return NULL;
    }
    *g = *key;
    if (!rank_heap_reserve(&g->open, &s->rank_pool, 1)) {
        slab_put(&s->group_slab, g);
        return NULL;
    }
    group_list_push(&m->groups, g);
    return g;
}

static bool has_slot(const struct runner *r)
{
    uint32_t slots = slots_of(r);

    return slots == SCHED_SLOTS_UNLIMITED || r->running < slots;
}

void runner_unsort(struct sched *s, struct runner *r)
{
    struct group *g = r->group;

    if (g == NULL) {
        return;
    }
    if (r->place > 0) {
        rank_heap_remove(&g->open, &r->place);
    }
    r->group = NULL;
    g->runners--;
    if (g->runners == 0) {
        group_list_remove(&r->model->groups, g);
        rank_heap_release(&g->open, &s->rank_pool);
        slab_put(&s->group_slab, g);
    }
}

void groups_fini(struct sched *s)
{
    for (size_t i = 0; s->models.chains != NULL && i <= s->models.mask; i++) {
        for (struct map_link *l = s->models.chains[i]; l != NULL; l = l->next) {
            struct model *m = MAP_OF(l, struct model, in_models);

            while (m->groups.count > 0) {
                rank_heap_release(&group_list_pop(&m->groups)->open, &s->rank_pool);
            }
        }
    }
}

void runner_rekey(struct runner *r)
{
    double load;

    if (r->group == NULL) {
        return;
    }
    if (!has_slot(r)) {
        if (r->place > 0) {
            rank_heap_remove(&r->group->open, &r->place);
        }
        return;
    }
    load = estimate_load(r) + (r->loading ? LOADING : 0);
    rank_heap_put(&r->group->open, (struct rank){.first = rank_of_double(load),
                                                 .second = rank_of_double(r->recent),
                                                 .third = r->node_id,
                                                 .place = &r->place});
}

/* What it takes now; false: nothing. */
static bool group_key(const struct runner *r, struct group *key)
{
    *key = (struct group){.speaks = r->node->speaks};
    if (!node_takes(r->node) || r->closed || (!r->listed && !r->resident)) {
        return false;
    }
    if (!r->node->loads || r->model->name_len == 0) {
        key->any_options = true;
        return true;
    }
    key->options_known = r->options_known;
    key->options = r->options_known ? r->options : 0;
    key->context = !r->options_known ? r->context : r->options == 0 ? r->reported_context : 0;
    return r->resident || r->loading;
}

void runner_settle(struct sched *s, struct runner *r)
{
    struct group key, *g;

    if (!group_key(r, &key)) {
        runner_unsort(s, r);
        return;
    }
    if (r->group == NULL || !group_is(r->group, &key)) {
        runner_unsort(s, r);
        g = group_get(s, r->model, &key);
        if (g == NULL) {
            r->node->state_hash = 0;
            return;
        }
        r->group = g;
        g->runners++;
    }
    runner_rekey(r);
}

/* --- the choice --- */

static bool wanted(const struct sched_job *job, const struct group *g)
{
    const struct line as_line = {
        .options = job->options, .context = job->context, .speaks = job->speaks};

    return line_takes(&as_line, g);
}

bool place_wanted(const struct sched_job *job, const struct runner *r)
{
    return r->group != NULL && r->node->id != job->avoid_node && wanted(job, r->group);
}

/* The one that has most of the prompt, be it full or not. `tokens`: what need not be computed. */
static struct runner *nearest(const struct sched *s, const struct model *m,
                              const struct sched_job *job, double *tokens, enum sched_why *why)
{
    double prompt = job->prompt_tokens > 0 ? job->prompt_tokens : m->prompt_tokens + 1;
    struct node *last = job->prefer_node == 0 ? NULL : node_find(s, job->prefer_node);
    size_t depth;
    struct runner *r = prefix_find(s, m, job, &depth);

    if (r != NULL) {
        *why = SCHED_WHY_PREFIX;
        *tokens = prompt * (double)depth / (double)job->prefix_count;
        return r;
    }
    r = last == NULL ? NULL : runner_find(s, last, m);
    *why = SCHED_WHY_SESSION;
    *tokens = prompt;
    return r != NULL && place_wanted(job, r) ? r : NULL;
}

/* `avoid`: not this one; NULL: any will do. */
static struct runner *least_loaded(const struct model *m, const struct sched_job *job,
                                   const struct runner *avoid)
{
    const uint32_t *place = avoid == NULL ? NULL : &avoid->place;
    struct group *g = group_list_first(&m->groups);
    const struct rank *best = NULL;

    for (; g != NULL; g = group_list_next(&m->groups, g)) {
        const struct rank *r = wanted(job, g) ? rank_heap_first_but(&g->open, place) : NULL;

        if (r != NULL && (best == NULL || rank_before(r, best))) {
            best = r;
        }
    }
    return runner_at(best);
}

struct runner *place_choose(const struct sched *s, struct model *m, const struct sched_job *job,
                            enum sched_why *why, uint64_t *near_node)
{
    double tokens;
    struct node *avoid = job->avoid_node == 0 ? NULL : node_find(s, job->avoid_node);
    struct runner *near = nearest(s, m, job, &tokens, why);
    struct runner *least = least_loaded(m, job, avoid == NULL ? NULL : runner_find(s, avoid, m));

    *near_node = near == NULL ? 0 : near->node->id;
    if (near != NULL && near->place > 0 && least != NULL &&
        tokens >= LOAD_WEIGHT * ((double)near->outstanding - (double)least->outstanding)) {
        return near;
    }
    *why = m->runners.count == 1 ? SCHED_WHY_ONLY : SCHED_WHY_LEAST;
    return least;
}

/* A moving sum of a minute or so, for who has had least. */
static void add_recent(struct runner *r, uint64_t work, uint64_t now_us)
{
    double passed_us = (double)(now_us - r->recent_us);

    r->recent = r->recent * RECENT_US / (RECENT_US + passed_us) + (double)work;
    r->recent_us = now_us;
}

void place_grant(struct sched *s, struct job *j, struct runner *r, enum sched_why why,
                 uint64_t now_us)
{
    uint64_t work = job_work(j);

    j->state = JOB_GRANTED;
    j->verdict = SCHED_GRANTED;
    j->why = (uint8_t)why;
    j->runner = r;
    j->placed = true;
    j->loads = r->loading;
    r->used_us = now_us;
    j->since_us = now_us;
    running_list_push(&r->model->running, j);
    r->running++;
    r->node->running++;
    r->outstanding += work;
    s->running++;
    add_recent(r, work, now_us);
    if (j->prefix != NULL) {
        prefix_note(s, r, j->prefix, j->prefix_count);
        job_forget_prefix(s, j);
    }
    slots_granted(r, j);
    runner_rekey(r);
}

/* What it had really. Where nobody counted and it went well, what it was thought to need. */
static uint64_t settled(const struct job *j, const struct sched_outcome *o)
{
    uint64_t work = work_of(o->prompt_tokens, o->answer_tokens);

    return work == 0 && o->end == SCHED_DONE ? job_work(j) : work;
}

void place_release(struct sched *s, struct job *j, const struct sched_outcome *o, uint64_t now_us)
{
    struct runner *r = j->runner;
    uint64_t work = settled(j, o);

    j->placed = false;
    running_list_remove(&r->model->running, j);
    if (o->end == SCHED_DONE) {
        estimate_done(r, j, o, now_us);
        slots_done(r, j, o, now_us);
    }
    account_charge(j->account, (int64_t)work - (int64_t)job_work(j), -1);
    if (o->shares != NULL) {
        account_divide(s, j->account, work, o);
    }
    r->running--;
    r->node->running--;
    r->outstanding -= job_work(j);
    s->running--;
    runner_rekey(r);
}

void place_fill(struct sched *s, struct runner *r, uint64_t now_us)
{
    while (r->group != NULL && r->place > 0 && r->model->lines.count > 0) {
        struct job *j = queue_first(s, r, now_us);

        if (j == NULL) {
            return;
        }
        if (j->deadline_us != 0 && j->deadline_us <= now_us) {
            queue_refuse(s, j, SCHED_TOO_LATE);
            continue;
        }
        j = queue_nearer(j, r, now_us);
        account_grant(j->account, job_work(j));
        queue_served(j, now_us);
        queue_remove(s, j);
        place_grant(s, j, r, r->loading ? SCHED_WHY_LOAD : SCHED_WHY_SLOT, now_us);
        j->state = JOB_DECIDED;
        age_list_push(&s->decided, j);
    }
}
