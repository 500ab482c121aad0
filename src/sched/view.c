/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what waits and runs. */
#include "sched/sched_internal.h"

bool sched_look(const struct sched *s, uint64_t now_us, uint64_t ticket, struct sched_answer *out)
{
    const struct job *j = job_find(s, ticket);

    if (j == NULL || j->state != JOB_WAITING) {
        return false;
    }
    out->depth = j->account->model->waiting;
    estimate_turn(j, now_us, &out->position, &out->eta_us);
    return true;
}

void sched_stats(const struct sched *s, struct sched_stats *out)
{
    *out = (struct sched_stats){
        .waiting = s->waiting,
        .running = s->running,
        .waiting_bytes = s->waiting_bytes,
        .loads = s->loads,
        .tenants = s->tenants.count,
        .models = s->models.count,
        .nodes = s->all_nodes.count,
    };
}

static struct sched_view view_of(const struct job *j, uint64_t now_us)
{
    const struct account *a = j->account;

    return (struct sched_view){
        .ticket = job_ticket(j),
        .home = j->home,
        .tag = j->tag,
        .model = model_name(a->model),
        .tenant = slice_of(a->tenant->name, a->tenant->name_len),
        .class = (enum sched_class)j->class,
        .node = j->placed ? j->runner->node->id : 0,
        .loads = j->placed && j->loads && j->runner->loading,
        .age_us = now_us - j->since_us,
        .eta_us = SCHED_UNKNOWN,
    };
}

static bool walk_line(const struct line *line, uint64_t now_us, sched_view_cb cb, void *owner)
{
    const struct job *j = age_list_first(&line->jobs);

    for (; j != NULL; j = age_list_next(&line->jobs, j)) {
        struct sched_view v = view_of(j, now_us);

        estimate_turn(j, now_us, &v.position, &v.eta_us);
        if (!cb(owner, &v)) {
            return false;
        }
    }
    return true;
}

static bool walk_waiting(const struct sched *s, uint64_t now_us, sched_view_cb cb, void *owner)
{
    for (size_t i = 0; i <= s->models.mask; i++) {
        for (struct map_link *l = s->models.chains[i]; l != NULL; l = l->next) {
            const struct model *m = MAP_OF(l, struct model, in_models);
            const struct line *line = line_list_first(&m->lines);

            for (; line != NULL; line = line_list_next(&m->lines, line)) {
                if (!walk_line(line, now_us, cb, owner)) {
                    return false;
                }
            }
        }
    }
    return true;
}

void sched_walk(const struct sched *s, uint64_t now_us, sched_view_cb cb, void *owner)
{
    if (!walk_waiting(s, now_us, cb, owner)) {
        return;
    }
    for (size_t i = 0; i < s->job_page_count * JOBS_PER_PAGE; i++) {
        const struct job *j = &s->job_pages[i / JOBS_PER_PAGE][i % JOBS_PER_PAGE];
        struct sched_view v;

        if (j->state == JOB_FREE || !j->placed) {
            continue;
        }
        v = view_of(j, now_us);
        if (!cb(owner, &v)) {
            return;
        }
    }
}

void sched_node_walk(const struct sched *s, uint64_t id, sched_node_view_cb cb, void *owner)
{
    const struct node *n = node_find(s, id);
    const struct runner *r = n == NULL ? NULL : node_runners_first(&n->runners);

    for (; r != NULL; r = node_runners_next(&n->runners, r)) {
        const struct sched_node_view v = {
            .model = model_name(r->model),
            .resident = r->resident,
            .running = r->running,
            .slots = slots_of(r),
            .tokens_per_s = r->served == 0 ? 0 : 5e5 / r->work_us,
        };

        if ((r->resident || r->running > 0) && !cb(owner, &v)) {
            return;
        }
    }
}
