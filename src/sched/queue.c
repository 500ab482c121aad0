/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched_internal.h"

#include <stdlib.h>

enum {
    LIFTS_AT_ONCE = 2, /* more than one leaves the queue for each that is looked for */
    NEAR_LOOKS = 8,
    FEW_HASHES = CACHE_LINE_BYTES / sizeof(uint64_t),
    LINES_MOST = 64 /* of a model: each slot that becomes free looks at all of them */
};

static bool add_jobs(struct sched *s)
{
    size_t count = s->job_page_count;
    struct job **pages, *page;

    if ((count & (count - 1)) == 0) { /* the array is full at powers of two */
        pages = realloc(s->job_pages, (count == 0 ? 1 : 2 * count) * sizeof(struct job *));
        if (pages == NULL) {
            return false;
        }
        s->job_pages = pages;
    }
    page = aligned_alloc(CACHE_LINE_BYTES, JOBS_PER_PAGE * sizeof(*page));
    if (page == NULL) {
        return false;
    }
    memset(page, 0, JOBS_PER_PAGE * sizeof(*page));
    s->job_pages[s->job_page_count++] = page;
    for (size_t i = 0; i < JOBS_PER_PAGE; i++) {
        page[i].index = (uint32_t)(count * JOBS_PER_PAGE + i);
        page[i].generation = 1;
        flow_list_push(&s->free_jobs, &page[i]);
    }
    return true;
}

struct job *job_get(struct sched *s)
{
    struct job *j;
    uint32_t index, generation;

    if (s->free_jobs.count == 0 && !add_jobs(s)) {
        return NULL;
    }
    j = flow_list_last(&s->free_jobs); /* which is in the cache */
    flow_list_remove(&s->free_jobs, j);
    index = j->index;
    generation = j->generation;
    *j = (struct job){.index = index, .generation = generation};
    return j;
}

static struct slab *hashes_slab(struct sched *s, size_t count)
{
    return count > FEW_HASHES ? &s->hashes_slab : &s->few_hashes_slab;
}

/* Where memory is out it has none. */
void job_keep_prefix(struct sched *s, struct job *j, const struct sched_job *job)
{
    size_t count = job->prefix_count < SCHED_PREFIX_MAX ? job->prefix_count : SCHED_PREFIX_MAX;

    j->prefix = count == 0 ? NULL : slab_get(hashes_slab(s, count));
    if (j->prefix != NULL) {
        memcpy(j->prefix, job->prefix, count * sizeof(*job->prefix));
        j->prefix_count = (uint8_t)count;
    }
}

void job_forget_prefix(struct sched *s, struct job *j)
{
    if (j->prefix != NULL) {
        slab_put(hashes_slab(s, j->prefix_count), j->prefix);
        j->prefix = NULL;
    }
}

void job_free(struct sched *s, struct job *j)
{
    job_forget_prefix(s, j);
    j->state = JOB_FREE;
    j->generation++;
    j->generation += j->generation == 0;
    flow_list_push(&s->free_jobs, j);
}

struct job *job_find(const struct sched *s, uint64_t ticket)
{
    size_t index = ticket & UINT32_MAX;
    struct job *j;

    if (index / JOBS_PER_PAGE >= s->job_page_count) {
        return NULL;
    }
    j = &s->job_pages[index / JOBS_PER_PAGE][index % JOBS_PER_PAGE];
    return j->state == JOB_FREE || j->generation != ticket >> 32 ? NULL : j;
}

/* --- lines and flows --- */

static bool line_is(const struct line *l, const struct sched_job *job)
{
    return l->options == job->options && l->context == job->context && l->speaks == job->speaks &&
           l->avoid_node == job->avoid_node;
}

static struct line *line_find(const struct model *m, const struct sched_job *job)
{
    struct line *l = line_list_first(&m->lines);

    while (l != NULL && !line_is(l, job)) {
        l = line_list_next(&m->lines, l);
    }
    return l;
}

bool line_has_room(const struct model *m, const struct sched_job *job)
{
    return m->lines.count < LINES_MOST || line_find(m, job) != NULL;
}

struct line *line_get(struct sched *s, struct model *m, const struct sched_job *job)
{
    struct line *l = line_find(m, job);

    if (l != NULL) {
        return l;
    }
    l = slab_get(&s->line_slab);
    if (l != NULL) {
        l->model = m;
        l->options = job->options;
        l->context = job->context;
        l->speaks = job->speaks;
        l->avoid_node = job->avoid_node;
        l->due_us = l->orphan_us = l->try_us = SCHED_NEVER;
        line_list_push(&m->lines, l);
    }
    return l;
}

static void set_timer(struct sched *s, struct line *line)
{
    uint64_t due_us = line->try_us < line->orphan_us ? line->try_us : line->orphan_us;

    if (due_us == line->due_us) {
        return;
    }
    if (line_heap_has(line)) {
        line_heap_remove(&s->timers, line);
    }
    line->due_us = due_us;
    if (due_us != SCHED_NEVER) {
        line_heap_push(&s->timers, line);
    }
}

void line_try(struct sched *s, struct line *line, uint64_t try_us)
{
    line->try_us = try_us;
    set_timer(s, line);
}

void line_orphan(struct sched *s, struct line *line, uint64_t orphan_us)
{
    line->orphan_us = orphan_us;
    set_timer(s, line);
}

static void line_free(struct sched *s, struct line *l)
{
    for (int level = 0; level < SCHED_CLASS_COUNT; level++) {
        rank_heap_release(&l->levels[level].turns, &s->rank_pool);
    }
    slab_put(&s->line_slab, l);
}

static void line_release(struct sched *s, struct line *l)
{
    if (l->jobs.count == 0) {
        if (line_heap_has(l)) {
            line_heap_remove(&s->timers, l);
        }
        if (l->claim != NULL) {
            load_unclaim(s, l->claim);
        }
        line_list_remove(&l->model->lines, l);
        line_free(s, l);
    }
}

static struct rank turn_of(struct flow *f)
{
    return (struct rank){.first = f->account->counter,
                         .second = f->account->running,
                         .third = f->starved_us,
                         .place = &f->place};
}

void flow_requeue(struct flow *f)
{
    rank_heap_put(&f->line->levels[f->level].turns, turn_of(f));
}

struct flow *level_first(struct level *level)
{
    struct flow *f = flow_at(rank_heap_first(&level->turns));

    while (f != NULL) {
        struct rank turn = turn_of(f);

        if (!rank_before(rank_heap_first(&level->turns), &turn)) {
            break;
        }
        rank_heap_put(&level->turns, turn);
        f = flow_at(rank_heap_first(&level->turns));
    }
    return f;
}

static struct flow *flow_get(struct sched *s, struct line *line, struct account *a, uint8_t level,
                             uint64_t now_us)
{
    struct flow *f = account_flows_first(&a->flows);
    struct rank_heap *turns = &line->levels[level].turns;

    while (f != NULL && (f->line != line || f->level != level)) {
        f = account_flows_next(&a->flows, f);
    }
    if (f == NULL && rank_heap_reserve(turns, &s->rank_pool, turns->count + 1U)) {
        f = slab_get(&s->flow_slab);
        if (f != NULL) {
            f->account = a;
            f->line = line;
            f->level = level;
            f->starved_us = now_us;
            account_flows_push(&a->flows, f);
            level_flows_push(&line->levels[level].all, f);
        }
    }
    return f;
}

static void flow_release(struct sched *s, struct flow *f)
{
    if (f->jobs.count == 0) {
        account_flows_remove(&f->account->flows, f);
        level_flows_remove(&f->line->levels[f->level].all, f);
        slab_put(&s->flow_slab, f);
    }
}

/* False: out of memory, and nothing has changed. */
static bool enter(struct sched *s, struct line *line, struct job *j, uint8_t level, uint64_t now_us)
{
    struct flow *f = flow_get(s, line, j->account, level, now_us);

    if (f == NULL) {
        return false;
    }
    j->flow = f;
    j->level = level;
    flow_list_push(&f->jobs, j);
    f->work += job_work(j);
    line->levels[level].jobs++;
    j->seq = f->seq++;
    if (f->place == 0) {
        flow_requeue(f);
    }
    return true;
}

static void exit_flow(struct sched *s, struct job *j)
{
    struct flow *f = j->flow;
    struct level *level = &f->line->levels[f->level];

    flow_list_remove(&f->jobs, j);
    f->work -= job_work(j);
    level->jobs--;
    if (f->jobs.count == 0) {
        rank_heap_remove(&level->turns, &f->place);
    }
    flow_release(s, f);
    j->flow = NULL;
}

bool queue_push(struct sched *s, struct line *line, struct job *j, uint64_t now_us)
{
    if (!enter(s, line, j, j->class, now_us)) {
        line_release(s, line);
        return false;
    }
    age_list_push(&line->jobs, j);
    j->state = JOB_WAITING;
    j->account->waiting++;
    line->model->waiting++;
    s->waiting++;
    s->waiting_bytes += j->bytes;
    return true;
}

void queue_remove(struct sched *s, struct job *j)
{
    struct line *line = j->flow->line;

    exit_flow(s, j);
    age_list_remove(&line->jobs, j);
    j->account->waiting--;
    line->model->waiting--;
    s->waiting--;
    s->waiting_bytes -= j->bytes;
    line_release(s, line);
}

void queue_served(struct job *j, uint64_t now_us)
{
    struct flow *f = j->flow;
    struct level *level = &f->line->levels[f->level];

    f->starved_us = now_us;
    level_flows_remove(&level->all, f);
    level_flows_push(&level->all, f);
}

/* A flow that has not been served for long has its first request lifted by one class. (Were it each
 * that has waited for long, a tenant with a long queue would get ahead of all others.) */
static void lift(struct sched *s, struct line *line, uint64_t now_us)
{
    for (uint8_t level = 1; level < SCHED_CLASS_COUNT; level++) {
        for (int i = 0; i < LIFTS_AT_ONCE; i++) {
            struct flow *f = level_flows_first(&line->levels[level].all);
            struct job *j;

            if (f == NULL || now_us - f->starved_us < s->limits.ageing_us) {
                break;
            }
            j = flow_list_first(&f->jobs);
            queue_served(j, now_us);
            exit_flow(s, j);
            if (!enter(s, line, j, (uint8_t)(level - 1), now_us)) {
                /* There is memory for that: it was there before. */
                (void)enter(s, line, j, level, now_us);
                break;
            }
        }
    }
}

static struct job *line_first(struct sched *s, struct line *line, uint64_t now_us)
{
    lift(s, line, now_us);
    for (int level = 0; level < SCHED_CLASS_COUNT; level++) {
        struct flow *f = level_first(&line->levels[level]);

        if (f != NULL) {
            return flow_list_first(&f->jobs);
        }
    }
    return NULL;
}

const struct job *queue_prefetch(struct model *m)
{
    struct line *line = line_list_first(&m->lines);

    for (int level = 0; line != NULL && level < SCHED_CLASS_COUNT; level++) {
        const struct flow *f = level_first(&line->levels[level]);

        if (f != NULL) {
            const struct job *j = flow_list_first(&f->jobs);

            prefetch(j, sizeof(*j));
            return j;
        }
    }
    return NULL;
}

void job_prefetch(const struct job *j)
{
    if (j == NULL) {
        return;
    }
    if (j->prefix != NULL) {
        prefetch(j->prefix, j->prefix_count * sizeof(*j->prefix));
    }
    __builtin_prefetch(j->in_age.next, 1); /* it is taken out of both lists */
    __builtin_prefetch(j->in_age.prev, 1);
    __builtin_prefetch(j->in_order.next, 1);
}

bool line_takes(const struct line *line, const struct group *g)
{
    if (line->speaks != 0 && (line->speaks & g->speaks) == 0) {
        return false;
    }
    if (g->any_options) {
        return true;
    }
    if (g->options_known && (g->options != 0 || line->options == 0)) {
        return line->options == g->options;
    }
    return line->options == 0 || (line->context != 0 && line->context == g->context);
}

static bool earlier(const struct job *a, const struct job *b)
{
    struct rank x, y;

    if (a->level != b->level) {
        return a->level < b->level;
    }
    x = turn_of(a->flow);
    y = turn_of(b->flow);
    return rank_before(&x, &y);
}

struct job *queue_first(struct sched *s, const struct runner *r, uint64_t now_us)
{
    struct job *best = NULL;
    struct line *line = line_list_first(&r->model->lines);

    for (; line != NULL; line = line_list_next(&r->model->lines, line)) {
        struct job *j;

        if (line->avoid_node == r->node->id || !line_takes(line, r->group)) {
            continue;
        }
        j = line_first(s, line, now_us);
        if (j != NULL && (best == NULL || earlier(j, best))) {
            best = j;
        }
    }
    return best;
}

struct job *queue_nearer(struct job *first, const struct runner *r, uint64_t now_us)
{
    struct job *j = first;
    uint64_t id = r->node->id;

    if (first->near_node == 0 || first->near_node == id ||
        (double)(now_us - first->since_us) > r->model->service_us) {
        return first;
    }
    for (int i = 0; j != NULL && i < NEAR_LOOKS; i++) {
        if (j->near_node == id && j->deadline_us == 0) {
            return j;
        }
        j = flow_list_next(&first->flow->jobs, j);
    }
    return first;
}

void queue_refuse(struct sched *s, struct job *j, enum sched_verdict verdict)
{
    queue_remove(s, j);
    j->state = JOB_DECIDED;
    j->verdict = (uint8_t)verdict;
    age_list_push(&s->decided, j);
}

void queue_refuse_all(struct sched *s, struct line *line, enum sched_verdict verdict)
{
    for (size_t n = line->jobs.count; n > 0; n--) { /* the line goes with the last */
        queue_refuse(s, age_list_first(&line->jobs), verdict);
    }
}

void queue_fini(struct sched *s)
{
    for (size_t i = 0; s->models.chains != NULL && i <= s->models.mask; i++) {
        for (struct map_link *l = s->models.chains[i]; l != NULL; l = l->next) {
            struct model *m = MAP_OF(l, struct model, in_models);

            while (m->lines.count > 0) {
                line_free(s, line_list_pop(&m->lines));
            }
        }
    }
    for (size_t i = 0; i < s->job_page_count; i++) {
        free(s->job_pages[i]);
    }
    free(s->job_pages);
}
