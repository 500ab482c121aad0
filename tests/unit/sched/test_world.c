/* SPDX-License-Identifier: Apache-2.0 */
/* Anything may happen at any time: what must hold whatever does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "sched/sched.h"
#include "sched_cluster.h"
#include "sched_world.h"
#include "seeds.h"

enum { NODES = 5, TICKETS = 64, STEPS = 400, WORLDS = 400, SLOTS_MOST = 3 };

struct ticket {
    uint64_t ticket, tag;
    unsigned speaks;
    bool granted, loads;
    uint64_t node;
};

struct world {
    struct sched *s;
    uint64_t rng, now_us, tag;
    struct ticket tickets[TICKETS];
    bool known[NODES + 1], up[NODES + 1];
    unsigned speaks[NODES + 1];
    bool faults;
};

static uint64_t pick(struct world *w, uint64_t below)
{
    return cluster_random(&w->rng) % below;
}

static void node_changes(struct world *w)
{
    static const char *const lists[] = {"", "a", "a:4 b:4", "a:4 b:4 c", "b c:9"};
    static const char *const resident[] = {"", "a:4", "b:4", "a:4 b:4", "c:9"};
    uint64_t id = 1 + pick(w, NODES);
    struct node_words words = {
        .lists = lists[pick(w, 5)],
        .resident = resident[pick(w, 5)],
        .slots = (uint32_t)pick(w, SLOTS_MOST + 1),
        .speaks = 1 + (unsigned)pick(w, 3),
        .down = pick(w, 4) == 0,
        .cordoned = pick(w, 6) == 0,
        .loads = pick(w, 3) != 0,
    };

    if (pick(w, 8) == 0) {
        sched_node_gone(w->s, w->now_us, id);
        w->up[id] = false;
        return;
    }
    words.slots = pick(w, 6) == 0 ? SCHED_SLOTS_AUTO : words.slots;
    w->up[id] = world_try_node(w->s, w->now_us, id, words) && !words.down && !words.cordoned;
    w->speaks[id] = words.speaks;
}

static void check_grant(const struct world *w, const struct ticket *t)
{
    assert_in_range(t->node, 1, NODES);
    assert_true(w->up[t->node]);
    assert_true(t->speaks == 0 || (t->speaks & w->speaks[t->node]) != 0);
}

static struct ticket *find(struct world *w, uint64_t ticket)
{
    for (size_t i = 0; i < TICKETS; i++) {
        if (w->tickets[i].ticket == ticket) {
            return &w->tickets[i];
        }
    }
    return NULL;
}

/* Decisions tell of those that wait, each once; what is granted is checked when no node has changed
 * since. */
static void take(struct world *w, bool check)
{
    struct sched_decision d;

    while (sched_take(w->s, &d, 1) == 1) {
        struct ticket *t = find(w, d.ticket);

        assert_non_null(t);
        assert_false(t->granted);
        assert_int_equal(t->tag, d.tag);
        if (d.verdict != SCHED_GRANTED) {
            assert_true(d.verdict == SCHED_NONE_UP || d.verdict == SCHED_TOO_LATE);
            t->ticket = 0;
            continue;
        }
        t->granted = true;
        t->loads = d.loads;
        t->node = d.node;
        if (check) {
            check_grant(w, t);
        }
    }
}

static void arrive(struct world *w)
{
    static const char *const names[] = {"a", "b", "c", "nowhere"};
    struct sched_job job = world_job(++w->tag);
    struct ticket *t = find(w, 0);
    struct sched_answer a;
    uint64_t prefix[3] = {pick(w, 4), pick(w, 9), pick(w, 99)};
    enum sched_verdict v;

    if (t == NULL) {
        return;
    }
    job.model = slice_str(names[pick(w, 4)]);
    job.anywhere = pick(w, 9) == 0;
    job.options = pick(w, 4) == 0 ? pick(w, 3) : 0;
    job.speaks = (unsigned)pick(w, 4);
    job.tenant = slice_of(&"tuvw"[pick(w, 4)], 1);
    job.weight = (unsigned)pick(w, 4);
    job.class = (enum sched_class)pick(w, SCHED_CLASS_COUNT);
    job.prompt_tokens = (uint32_t)pick(w, 100);
    job.answer_tokens = (uint32_t)pick(w, 100);
    job.rate_per_min = pick(w, 9) == 0 ? 1 : 0;
    job.deadline_us = pick(w, 5) == 0 ? w->now_us + pick(w, 20000000) : 0;
    job.prefer_node = pick(w, NODES + 2);
    job.avoid_node = pick(w, 3) == 0 ? pick(w, NODES + 2) : 0;
    job.prefix = prefix;
    job.prefix_count = pick(w, 4);
    v = sched_arrive(w->s, w->now_us, &job, &a);
    assert_true((v == SCHED_GRANTED || v == SCHED_QUEUED) == (a.ticket != 0));
    assert_true(v != SCHED_NO_MEMORY || w->faults);
    if (a.ticket != 0) {
        assert_null(find(w, a.ticket));
        *t = (struct ticket){.ticket = a.ticket,
                             .tag = job.tag,
                             .speaks = job.speaks,
                             .granted = v == SCHED_GRANTED,
                             .loads = a.loads,
                             .node = a.node};
    }
    if (v == SCHED_GRANTED) {
        check_grant(w, t);
    }
}

static void leave(struct world *w, struct ticket *t)
{
    const struct sched_outcome o = {
        .end = (enum sched_end)pick(w, 4),
        .prompt_tokens = (uint32_t)pick(w, 100),
        .answer_tokens = (uint32_t)pick(w, 100),
        .first_us = pick(w, 1000),
    };
    uint64_t ticket = t->ticket;

    t->ticket = 0;
    sched_leave(w->s, w->now_us, ticket, pick(w, 5) == 0 ? NULL : &o);
    sched_leave(w->s, w->now_us, ticket, &o); /* it has ended */
}

static bool count(void *owner, const struct sched_view *view)
{
    size_t *n = owner;

    n[view->node == 0 ? 0 : 1]++;
    return true;
}

/* Waiting and running are what we think they are. */
static void check(struct world *w)
{
    struct sched_stats stats;
    struct sched_answer a;
    size_t waiting = 0, running = 0, walked[2] = {0};

    for (size_t i = 0; i < TICKETS; i++) {
        const struct ticket *t = &w->tickets[i];
        bool waits = t->ticket != 0 && sched_look(w->s, w->now_us, t->ticket, &a);

        running += t->ticket != 0 && t->granted;
        waiting += t->ticket != 0 && !t->granted;
        assert_true(t->ticket == 0 || waits == !t->granted);
        if (waits) {
            assert_in_range(a.position, 1, a.depth);
        }
    }
    sched_stats(w->s, &stats);
    assert_int_equal(stats.waiting, waiting);
    assert_int_equal(stats.running, running);
    assert_int_equal(stats.waiting_bytes, 100 * waiting);
    sched_walk(w->s, w->now_us, count, walked);
    assert_int_equal(walked[0], waiting);
    assert_int_equal(walked[1], running);
    assert_true(sched_next_us(w->s) > w->now_us);
}

static void step(struct world *w)
{
    struct ticket *t = &w->tickets[pick(w, TICKETS)];
    bool node = false;

    w->now_us += pick(w, 3) == 0 ? pick(w, 3000000) : pick(w, 10);
    switch (pick(w, 10)) {
    case 0:
        node_changes(w);
        node = true;
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        arrive(w);
        break;
    case 5:
        if (t->ticket != 0 && t->loads) {
            (void)sched_load_wanted(w->s, t->ticket);
            sched_started(w->s, w->now_us, t->ticket);
        }
        break;
    default:
        if (t->ticket != 0) {
            leave(w, t);
        }
        break;
    }
    take(w, !node);
    sched_tick(w->s, w->now_us);
    take(w, true);
    check(w);
}

static void one_world(uint64_t seed)
{
    struct sched_limits limits = sched_limits_default();
    struct world w = {.s = NULL, .rng = seed, .now_us = 1, .faults = seed % 2 == 0};
    struct sched_stats stats;

    limits.tenants = 1 + seed % 4;
    limits.prefixes = seed % 5;
    limits.queue_jobs = 8;
    w.s = sched_new(&limits, seed);
    assert_non_null(w.s);
    for (int i = 0; i < STEPS; i++) {
        alloc_fault_at(w.faults ? 1 + pick(&w, 3) : 0);
        step(&w);
    }
    alloc_fault_at(0);
    for (size_t i = 0; i < TICKETS; i++) {
        if (w.tickets[i].ticket != 0) {
            leave(&w, &w.tickets[i]);
            take(&w, true);
        }
    }
    check(&w);
    for (uint64_t id = 1; id <= NODES; id++) {
        sched_node_gone(w.s, w.now_us, id);
    }
    sched_stats(w.s, &stats);
    assert_int_equal(stats.nodes, 0);
    assert_int_equal(stats.models, 0);
    sched_free(&w.s);
}

static void whatever_happens(void **state)
{
    (void)state;
    seeds_run(WORLDS, one_world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(whatever_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
