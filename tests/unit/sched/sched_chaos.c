/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_chaos.h"

#include "base/check.h"
#include "sched_check.h"

enum { MODELS = 3, SLOTS_MOST = 3, JOB_BYTES = 100 };

static uint64_t pick(struct chaos *c, uint64_t below)
{
    return c->pick(c->owner, below);
}

static bool one_in(struct chaos *c, uint64_t n)
{
    return pick(c, n) == 0;
}

/* --- nodes --- */

/* Some of the models, sizes of which are known or not. */
static size_t models_of(uint64_t set, struct sched_model *out)
{
    static const struct sched_model all[MODELS] = {
        {.name = SLICE("a"), .bytes = 4},
        {.name = SLICE("b"), .bytes = 4},
        {.name = SLICE("c"), .bytes = 9},
    };
    size_t count = 0;

    for (size_t i = 0; i < MODELS; i++) {
        if ((set >> i & 1) != 0) {
            out[count] = all[i];
            out[count++].bytes *= (set >> MODELS & 1) == 0;
        }
    }
    return count;
}

static void node_changes(struct chaos *c)
{
    struct sched_model models[MODELS], resident[MODELS];
    struct sched_node_state n = {
        .id = 1 + pick(c, CHAOS_NODES),
        .up = !one_in(c, 4),
        .cordoned = one_in(c, 6),
        .speaks = 1 + (unsigned)pick(c, 3),
        .slots = one_in(c, 6) ? SCHED_SLOTS_AUTO : (uint32_t)pick(c, SLOTS_MOST + 1),
        .loads = !one_in(c, 3),
        .models = models,
        .resident = resident,
    };

    if (one_in(c, 8)) {
        sched_node_gone(c->s, c->now_us, n.id);
        c->up[n.id] = false;
        return;
    }
    n.model_count = models_of(pick(c, 1 << (MODELS + 1)), models);
    n.resident_count = models_of(pick(c, 1 << (MODELS + 1)), resident);
    c->up[n.id] = sched_node(c->s, c->now_us, &n) && n.up && !n.cordoned;
    ASSERT(c->up[n.id] || !n.up || n.cordoned || c->memory_fails);
    c->speaks[n.id] = n.speaks;
}

/* --- requests --- */

static struct chaos_ticket *find(struct chaos *c, uint64_t ticket)
{
    for (size_t i = 0; i < CHAOS_TICKETS; i++) {
        if (c->tickets[i].ticket == ticket) {
            return &c->tickets[i];
        }
    }
    return NULL;
}

static void check_grant(const struct chaos *c, const struct chaos_ticket *t)
{
    ASSERT(t->node >= 1 && t->node <= CHAOS_NODES && c->up[t->node]);
    ASSERT(t->speaks == 0 || (t->speaks & c->speaks[t->node]) != 0);
}

/* Decisions tell of those that wait, each once; what is granted is checked when no node has changed
 * since. */
static void take(struct chaos *c, bool nodes_are_known)
{
    struct sched_decision d;

    while (sched_take(c->s, &d, 1) == 1) {
        struct chaos_ticket *t = find(c, d.ticket);

        ASSERT(t != NULL && !t->granted && t->tag == d.tag);
        if (d.verdict != SCHED_GRANTED) {
            ASSERT(d.verdict == SCHED_NONE_UP || d.verdict == SCHED_TOO_LATE);
            t->ticket = 0;
            continue;
        }
        t->granted = true;
        t->loads = d.loads;
        t->node = d.node;
        if (nodes_are_known) {
            check_grant(c, t);
        }
    }
}

static struct sched_job job_make(struct chaos *c, uint64_t prefix[SCHED_PREFIX_MAX])
{
    static const char *const names[] = {"a", "b", "c", "nowhere"};
    struct sched_job job = {
        .home = 1,
        .tag = ++c->tag,
        .model = slice_str(names[pick(c, MODELS + 1)]),
        .anywhere = one_in(c, 9),
        .options = one_in(c, 4) ? pick(c, 3) : 0,
        .speaks = (unsigned)pick(c, 4),
        .tenant = slice_of(&"tuvw"[pick(c, 4)], 1),
        .weight = (unsigned)pick(c, 4),
        .class = (enum sched_class)pick(c, SCHED_CLASS_COUNT),
        .prompt_tokens = (uint32_t)pick(c, 100),
        .answer_tokens = (uint32_t)pick(c, 100),
        .rate_per_min = one_in(c, 9) ? 1 : 0,
        .bytes = JOB_BYTES,
        .deadline_us = one_in(c, 5) ? c->now_us + pick(c, one_in(c, 4) ? 2 : 20000000) : 0,
        .prefer_node = pick(c, CHAOS_NODES + 2),
        .avoid_node = one_in(c, 3) ? pick(c, CHAOS_NODES + 2) : 0,
        .prefix = prefix,
        .prefix_count = pick(c, one_in(c, 9) ? SCHED_PREFIX_MAX + 1 : 4),
    };

    for (size_t i = 0; i < job.prefix_count; i++) {
        prefix[i] = pick(c, i < 2 ? 4 : 99);
    }
    return job;
}

static void arrive(struct chaos *c)
{
    uint64_t prefix[SCHED_PREFIX_MAX];
    struct chaos_ticket *t = find(c, 0);
    struct sched_job job;
    struct sched_answer a;
    enum sched_verdict v;

    if (t == NULL) {
        return;
    }
    job = job_make(c, prefix);
    sched_check_choice(c->s, &job);
    v = sched_arrive(c->s, c->now_us, &job, &a);
    ASSERT((v == SCHED_GRANTED || v == SCHED_QUEUED) == (a.ticket != 0));
    ASSERT(v != SCHED_NO_MEMORY || c->memory_fails);
    if (a.ticket != 0) {
        ASSERT(find(c, a.ticket) == NULL);
        *t = (struct chaos_ticket){.ticket = a.ticket,
                                   .tag = job.tag,
                                   .speaks = job.speaks,
                                   .granted = v == SCHED_GRANTED,
                                   .loads = a.loads,
                                   .node = a.node};
    }
    if (v == SCHED_GRANTED) {
        check_grant(c, t);
    }
}

static void leave(struct chaos *c, struct chaos_ticket *t)
{
    const struct sched_outcome o = {
        .end = (enum sched_end)pick(c, 4),
        .prompt_tokens = (uint32_t)pick(c, 100),
        .answer_tokens = (uint32_t)pick(c, 100),
        .first_us = pick(c, 1000),
    };
    uint64_t ticket = t->ticket;

    t->ticket = 0;
    sched_leave(c->s, c->now_us, ticket, one_in(c, 5) ? NULL : &o);
    sched_leave(c->s, c->now_us, ticket, &o); /* it has ended */
}

/* --- what must hold --- */

static bool count(void *owner, const struct sched_view *view)
{
    size_t *n = owner;

    n[view->node == 0 ? 0 : 1]++;
    return true;
}

static void check(struct chaos *c)
{
    struct sched_stats stats;
    struct sched_answer a;
    size_t waiting = 0, running = 0, walked[2] = {0};

    for (size_t i = 0; i < CHAOS_TICKETS; i++) {
        const struct chaos_ticket *t = &c->tickets[i];
        bool waits = t->ticket != 0 && sched_look(c->s, c->now_us, t->ticket, &a);

        running += t->ticket != 0 && t->granted;
        waiting += t->ticket != 0 && !t->granted;
        ASSERT(t->ticket == 0 || waits == !t->granted);
        ASSERT(!waits || (a.position >= 1 && a.position <= a.depth));
    }
    sched_stats(c->s, &stats);
    ASSERT(stats.waiting == waiting && stats.running == running);
    ASSERT(stats.waiting_bytes == JOB_BYTES * waiting);
    sched_walk(c->s, c->now_us, count, walked);
    ASSERT(walked[0] == waiting && walked[1] == running);
    ASSERT(sched_next_us(c->s) > c->now_us);
    sched_check(c->s);
}

/* --- life --- */

void chaos_begin(struct chaos *c, uint64_t seed, chaos_pick_fn fn, void *owner)
{
    struct sched_limits limits = sched_limits_default();

    limits.tenants = 1 + seed % 4;
    limits.prefixes = seed % 5;
    limits.queue_jobs = 8;
    *c = (struct chaos){.s = sched_new(&limits, seed), .pick = fn, .owner = owner, .now_us = 1};
    ASSERT(c->s != NULL);
}

void chaos_step(struct chaos *c)
{
    struct chaos_ticket *t = &c->tickets[pick(c, CHAOS_TICKETS)];
    bool node_changed = false;

    c->now_us += one_in(c, 3) ? pick(c, 3000000) : pick(c, 10);
    switch (pick(c, 10)) {
    case 0:
        node_changes(c);
        node_changed = true;
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        arrive(c);
        break;
    case 5:
        if (t->ticket != 0 && t->loads) {
            sched_started(c->s, c->now_us, t->ticket);
        }
        break;
    default:
        if (t->ticket != 0) {
            leave(c, t);
        }
        break;
    }
    take(c, !node_changed);
    sched_tick(c->s, c->now_us);
    take(c, true);
    check(c);
}

void chaos_end(struct chaos *c)
{
    struct sched_stats stats;

    for (size_t i = 0; i < CHAOS_TICKETS; i++) {
        if (c->tickets[i].ticket != 0) {
            leave(c, &c->tickets[i]);
            take(c, true);
        }
    }
    check(c);
    for (uint64_t id = 1; id <= CHAOS_NODES; id++) {
        sched_node_gone(c->s, c->now_us, id);
    }
    sched_stats(c->s, &stats);
    ASSERT(stats.nodes == 0 && stats.models == 0 && stats.waiting == 0 && stats.running == 0);
    sched_free(&c->s);
}
