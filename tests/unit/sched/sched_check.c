/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_check.h"

#include "sched/sched_internal.h"

/* --- what waits --- */

static bool earlier_flow(const struct flow *a, const struct flow *b)
{
    if (a->account->counter != b->account->counter) {
        return a->account->counter < b->account->counter;
    }
    if (a->account->running != b->account->running) {
        return a->account->running < b->account->running;
    }
    return a->starved_us < b->starved_us;
}

static void check_flow(const struct flow *f, const struct line *line, uint8_t level)
{
    const struct job *j = flow_list_first(&f->jobs);
    uint64_t work = 0;

    ASSERT(f->line == line && f->level == level && f->jobs.count > 0 && f->place > 0);
    for (; j != NULL; j = flow_list_next(&f->jobs, j)) {
        ASSERT(j->state == JOB_WAITING && !j->placed && j->flow == f && j->level == level);
        ASSERT(j->account == f->account && j->class >= level);
        work += job_work(j);
    }
    ASSERT(work == f->work);
}

/* The index of turns against a search; it does not change whose turn it is. */
static size_t check_level(struct line *line, uint8_t level)
{
    struct level *l = &line->levels[level];
    const struct flow *f = level_flows_first(&l->all), *least = f, *first = level_first(l);
    size_t jobs = 0;

    for (; f != NULL; f = level_flows_next(&l->all, f)) {
        check_flow(f, line, level);
        least = earlier_flow(f, least) ? f : least;
        jobs += f->jobs.count;
    }
    ASSERT(jobs == l->jobs && l->all.count == l->turns.count);
    ASSERT((first == NULL) == (least == NULL));
    ASSERT(first == NULL || !earlier_flow(least, first));
    return jobs;
}

static bool has_free_slot(const struct runner *r)
{
    uint32_t slots = slots_of(r);

    return slots == SCHED_SLOTS_UNLIMITED || r->running < slots;
}

/* Nobody waits for a slot that is free. */
static void check_idle(const struct line *line)
{
    const struct runner *r = model_runners_first(&line->model->runners);

    for (; r != NULL; r = model_runners_next(&line->model->runners, r)) {
        ASSERT(r->group == NULL || r->node->id == line->avoid_node || !has_free_slot(r) ||
               !line_takes(line, r->group));
    }
}

static size_t check_line(struct line *line, uint64_t *bytes)
{
    const struct job *j = age_list_first(&line->jobs);
    size_t jobs = 0;

    ASSERT(line->jobs.count > 0 && line_heap_has(line) == (line->due_us != SCHED_NEVER));
    for (uint8_t level = 0; level < SCHED_CLASS_COUNT; level++) {
        jobs += check_level(line, level);
    }
    ASSERT(jobs == line->jobs.count);
    for (; j != NULL; j = age_list_next(&line->jobs, j)) {
        ASSERT(j->flow->line == line);
        *bytes += j->bytes;
    }
    check_idle(line);
    return jobs;
}

/* --- what runs --- */

static const struct rank *rank_of(const struct runner *r)
{
    return &r->group->open.ranks[r->place - 1];
}

static void check_groups(const struct model *m)
{
    const struct group *g = group_list_first(&m->groups);
    size_t in_groups = 0, sorted = 0;

    for (; g != NULL; g = group_list_next(&m->groups, g)) {
        const struct rank *first = rank_heap_first(&g->open);
        const struct runner *r = model_runners_first(&m->runners);
        size_t open = 0;

        ASSERT(g->runners > 0);
        for (; r != NULL; r = model_runners_next(&m->runners, r)) {
            if (r->group == g && has_free_slot(r)) {
                ASSERT(r->place > 0 && !rank_before(rank_of(r), first));
                open++;
            }
        }
        ASSERT(open == g->open.count);
        in_groups += g->runners;
    }
    for (const struct runner *r = model_runners_first(&m->runners); r != NULL;
         r = model_runners_next(&m->runners, r)) {
        sorted += r->group != NULL;
        ASSERT(r->group != NULL || r->place == 0);
    }
    ASSERT(sorted == in_groups);
}

static void check_runner(const struct runner *r)
{
    const struct job *j = running_list_first(&r->model->running);
    uint64_t running = 0, work = 0;

    for (; j != NULL; j = running_list_next(&r->model->running, j)) {
        ASSERT(j->placed && (j->state == JOB_GRANTED || j->state == JOB_DECIDED));
        if (j->runner == r) {
            running++;
            work += job_work(j);
        }
    }
    ASSERT(r->running == running && r->outstanding == work);
    ASSERT(!r->loading || r->node->loading == r);
    ASSERT(r->served_as.serves == (node_takes(r->node) && r->listed));
}

static void check_serving(const struct model *m)
{
    const struct runner *r = model_runners_first(&m->runners);
    struct serving all = {0};

    for (; r != NULL; r = model_runners_next(&m->runners, r)) {
        all.nodes += r->served_as.serves;
        all.loaders += r->served_as.serves && r->node->loads;
        for (int bit = 0; bit < SPEAKS_BITS; bit++) {
            all.speak[bit] += r->served_as.serves && (r->node->speaks >> bit & 1) != 0;
        }
    }
    ASSERT(all.nodes == m->serving.nodes && all.loaders == m->serving.loaders);
    for (int bit = 0; bit < SPEAKS_BITS; bit++) {
        ASSERT(all.speak[bit] == m->serving.speak[bit]);
    }
}

/* --- accounts --- */

static void check_accounts(const struct model *m)
{
    const struct account *a = model_accounts_first(&m->accounts);
    uint64_t waiting = 0, running = 0;

    for (; a != NULL; a = model_accounts_next(&m->accounts, a)) {
        const struct flow *f = account_flows_first(&a->flows);
        uint64_t in_flows = 0;

        for (; f != NULL; f = account_flows_next(&a->flows, f)) {
            ASSERT(f->account == a);
            in_flows += f->jobs.count;
        }
        ASSERT(a->model == m && in_flows == a->waiting);
        waiting += a->waiting;
        running += a->running;
    }
    ASSERT(waiting == m->waiting && running == m->running.count);
}

/* --- all of it --- */

static size_t check_model(struct model *m, uint64_t *bytes)
{
    struct line *line = line_list_first(&m->lines);
    const struct runner *r = model_runners_first(&m->runners);
    size_t waiting = 0;

    for (; line != NULL; line = line_list_next(&m->lines, line)) {
        ASSERT(line->model == m);
        waiting += check_line(line, bytes);
    }
    ASSERT(waiting == m->waiting);
    for (; r != NULL; r = model_runners_next(&m->runners, r)) {
        check_runner(r);
    }
    check_groups(m);
    check_serving(m);
    check_accounts(m);
    return waiting;
}

static void check_nodes(const struct sched *s)
{
    const struct node *n = node_list_first(&s->all_nodes);
    uint64_t running = 0;
    size_t takes = 0;

    for (; n != NULL; n = node_list_next(&s->all_nodes, n)) {
        const struct runner *r = node_runners_first(&n->runners);
        uint64_t here = 0;

        for (; r != NULL; r = node_runners_next(&n->runners, r)) {
            here += r->running;
        }
        ASSERT(n->running == here && (n->claimed_by == NULL || n->claimed_by->claim == n));
        running += here;
        takes += node_takes(n);
    }
    ASSERT(s->running == running && s->serving.nodes == takes);
}

void sched_check(struct sched *s)
{
    uint64_t waiting = 0, bytes = 0;

    for (size_t i = 0; i <= s->models.mask; i++) {
        for (struct map_link *l = s->models.chains[i]; l != NULL; l = l->next) {
            waiting += check_model(MAP_OF(l, struct model, in_models), &bytes);
        }
    }
    ASSERT(s->waiting == waiting && s->waiting_bytes == bytes);
    check_nodes(s);
}

/* --- the choice --- */

void sched_check_choice(struct sched *s, const struct sched_job *job)
{
    struct model *m = model_find(s, job->anywhere ? slice_of("", 0) : job->model);
    const struct runner *r, *least = NULL, *chosen;
    enum sched_why why;
    uint64_t near_node;

    if (m == NULL) {
        return;
    }
    for (r = model_runners_first(&m->runners); r != NULL; r = model_runners_next(&m->runners, r)) {
        if (place_wanted(job, r) && has_free_slot(r) &&
            (least == NULL || rank_before(rank_of(r), rank_of(least)))) {
            least = r;
        }
    }
    chosen = place_choose(s, m, job, &why, &near_node);
    ASSERT((chosen == NULL) == (least == NULL));
    if (chosen == NULL) {
        return;
    }
    ASSERT(place_wanted(job, chosen) && has_free_slot(chosen));
    if (why == SCHED_WHY_SESSION || why == SCHED_WHY_PREFIX) {
        ASSERT(chosen->node->id == near_node);
    } else {
        ASSERT(!rank_before(rank_of(least), rank_of(chosen)));
    }
}
