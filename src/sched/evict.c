/* SPDX-License-Identifier: Apache-2.0 */
/* What goes when a model is loaded: nothing, if what is resident and its size are together at most
 * the node's memory, where that is known, or the most ever seen resident; else those used least
 * recently, as nodes do. Where its size is not known, all. As long as it is not known at all
 * whether something goes, what is idle may go at once: the next report tells. */
#include "sched/sched_internal.h"

enum { SERVICE_US = 1000 * 1000 };

static uint64_t resident_bytes(const struct node *n)
{
    const struct runner *r = node_runners_first(&n->runners);
    uint64_t bytes = 0;

    for (; r != NULL; r = node_runners_next(&n->runners, r)) {
        bytes += r->resident ? r->bytes : 0;
    }
    return bytes;
}

static struct runner *least_recent(const struct node *n)
{
    struct runner *r = node_runners_first(&n->runners), *oldest = NULL;

    for (; r != NULL; r = node_runners_next(&n->runners, r)) {
        if (!r->resident || r->victim) {
            continue;
        }
        if (r->closed) { /* somebody waits for it to go */
            return r;
        }
        if (oldest == NULL || r->used_us < oldest->used_us) {
            oldest = r;
        }
    }
    return oldest;
}

static bool fits(const struct node *n, uint64_t bytes)
{
    return bytes <= n->most_bytes || bytes <= n->memory_bytes;
}

bool evict_may_not(const struct node *n)
{
    return n->memory_bytes == 0 && !n->tight && !n->unsure;
}

void evict_mark(struct runner *r)
{
    struct node *n = r->node;
    uint64_t bytes = resident_bytes(n);
    struct runner *v;

    for (v = node_runners_first(&n->runners); v != NULL; v = node_runners_next(&n->runners, v)) {
        v->victim = false;
    }
    if (r->resident) { /* with other options */
        r->victim = true;
        bytes -= r->bytes;
    }
    while (r->bytes == 0 || !fits(n, bytes + r->bytes)) {
        v = least_recent(n);
        if (v == NULL) {
            return;
        }
        v->victim = true;
        bytes -= v->bytes;
    }
}

struct eviction evict_judge(const struct sched *s, struct runner *r)
{
    struct eviction v = {0};
    const struct runner *o = node_runners_first(&r->node->runners);

    evict_mark(r);
    for (; o != NULL; o = node_runners_next(&r->node->runners, o)) {
        uint64_t from_us = o->used_us;

        if (!o->victim) {
            continue;
        }
        from_us += o != r && evict_may_not(o->node) ? 0 : s->limits.min_resident_us;
        if (o->running > 0) {
            v.from_us = SCHED_NEVER;
            uint64_t service_us = (uint64_t)o->model->service_us;

            v.drain_us = service_us > v.drain_us ? service_us : v.drain_us;
        }
        v.from_us = from_us > v.from_us ? from_us : v.from_us;
        v.used_us = o->used_us > v.used_us ? o->used_us : v.used_us;
        v.demand += o->running + o->model->waiting;
    }
    if (v.from_us == SCHED_NEVER && v.drain_us == 0) {
        v.drain_us = SERVICE_US;
    }
    return v;
}
