/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "sched/sched.h"
#include "sched_world.h"

static struct sched *make(void)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);

    assert_non_null(s);
    return s;
}

static struct sched_stats stats(const struct sched *s)
{
    struct sched_stats out;

    sched_stats(s, &out);
    return out;
}

static enum sched_verdict arrive(struct sched *s, const struct sched_job *job)
{
    struct sched_answer a;

    return sched_arrive(s, 0, job, &a);
}

static void why_not(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);

    (void)state;
    assert_int_equal(arrive(s, &job), SCHED_NONE_UP);
    world_node(s, 0, 1, (struct node_words){.lists = "m", .down = true});
    assert_int_equal(arrive(s, &job), SCHED_NONE_UP);
    world_node(s, 0, 1, (struct node_words){.lists = "m", .cordoned = true});
    assert_int_equal(arrive(s, &job), SCHED_NONE_UP);
    world_node(s, 0, 1, (struct node_words){.lists = "m"});
    job.speaks = 2;
    assert_int_equal(arrive(s, &job), SCHED_NONE_SUITS);
    world_node(s, 0, 2, (struct node_words){.lists = "other", .speaks = 2});
    assert_int_equal(arrive(s, &job), SCHED_UNKNOWN_MODEL);
    job.anywhere = true;
    assert_int_equal(world_granted(s, 0, &job, NULL), 2);
    job.anywhere = false;
    job.speaks = 1;
    assert_int_equal(world_granted(s, 0, &job, NULL), 1);
    sched_node_gone(s, 0, 1);
    job.speaks = 0;
    assert_int_equal(arrive(s, &job), SCHED_UNKNOWN_MODEL);
    sched_free(&s);
    assert_null(s);
}

static void the_session_then_the_least_work(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);
    struct sched_answer a;

    (void)state;
    for (uint64_t id = 1; id <= 3; id++) {
        world_node(s, 0, id, (struct node_words){.lists = "m"});
    }
    job.prefer_node = 2;
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_GRANTED);
    assert_int_equal(a.node, 2);
    assert_int_equal(a.why, SCHED_WHY_SESSION);
    job.prefer_node = 9; /* there is none */
    assert_int_not_equal(world_granted(s, 0, &job, NULL), 2);
    assert_int_not_equal(world_granted(s, 0, &job, NULL), 2);
    job.prefer_node = job.avoid_node = 2;
    assert_int_not_equal(world_granted(s, 0, &job, NULL), 2);
    sched_node_gone(s, 0, 1);
    sched_node_gone(s, 0, 3);
    assert_int_equal(world_granted(s, 0, &job, NULL), 2); /* there is no other */
    sched_free(&s);
}

static void slots_and_the_queue(void **state)
{
    struct sched *s = make();
    struct sched_job job;
    struct sched_decision d;
    uint64_t running[2], waiting[4];

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 2});
    for (uint64_t i = 0; i < 2; i++) {
        job = world_job(i + 1);
        assert_int_equal(world_granted(s, i, &job, &running[i]), 1);
    }
    for (uint64_t i = 0; i < 4; i++) {
        job = world_job(i + 3);
        waiting[i] = world_queued(s, i + 2, &job);
    }
    assert_int_equal(world_taken(s, NULL), 0);
    assert_int_equal(stats(s).waiting, 4);
    assert_int_equal(stats(s).waiting_bytes, 400);
    sched_leave(s, 6, waiting[1], NULL); /* cancelled */
    world_done(s, 7, running[0]);
    assert_int_equal(world_taken(s, &d), 3);
    assert_int_equal(d.ticket, waiting[0]);
    assert_int_equal(d.node, 1);
    assert_int_equal(world_taken(s, NULL), 0);
    world_done(s, 8, running[1]);
    world_done(s, 8, running[1]);        /* it has ended */
    sched_leave(s, 9, waiting[2], NULL); /* cancelled before it was told: its slot goes on */
    assert_int_equal(world_taken(s, &d), 6);
    assert_int_equal(stats(s).running, 2);
    world_done(s, 10, waiting[0]);
    world_done(s, 10, waiting[3]);
    assert_int_equal(stats(s).running, 0);
    assert_int_equal(stats(s).waiting_bytes, 0);
    sched_free(&s);
}

static void a_node_that_changes(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);
    struct sched_decision d;
    uint64_t first;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    (void)world_granted(s, 0, &job, &first);
    job.tag = 2;
    (void)world_queued(s, 0, &job);
    job.tag = 3;
    (void)world_queued(s, 0, &job);
    world_node(s, 1, 1, (struct node_words){.lists = "m", .slots = 2});
    assert_int_equal(world_taken(s, &d), 2);
    world_node(s, 2, 2, (struct node_words){.lists = "m", .slots = 1});
    assert_int_equal(world_taken(s, &d), 3);
    assert_int_equal(d.node, 2);
    sched_node_gone(s, 3, 1); /* those that it runs leave when they notice */
    assert_int_equal(stats(s).running, 3);
    assert_int_equal(stats(s).nodes, 2);
    world_done(s, 4, first);
    assert_int_equal(stats(s).running, 2);
    sched_free(&s);
}

/* Those that wait have some time until a node returns; then they are told. */
static void nothing_left_to_wait_for(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);
    struct sched_decision d;
    uint64_t wait_us = sched_limits_default().node_wait_us;
    uint64_t first;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    (void)world_granted(s, 0, &job, &first);
    for (job.tag = 2; job.tag < 5; job.tag++) {
        (void)world_queued(s, 0, &job);
    }
    world_node(s, 5, 1, (struct node_words){.lists = "m", .slots = 1, .down = true});
    sched_leave(s, 6, first, &(struct sched_outcome){.end = SCHED_FAILED});
    assert_int_equal(sched_take(s, &d, 1), 0);
    assert_int_equal(sched_next_us(s), 5 + wait_us);
    world_node(s, 7, 1, (struct node_words){.lists = "m", .slots = 1});
    assert_int_equal(world_taken(s, NULL), 2);
    assert_true(sched_next_us(s) == SCHED_NEVER);
    sched_node_gone(s, 8, 1);
    sched_tick(s, 7 + wait_us);
    assert_int_equal(sched_take(s, &d, 1), 0);
    sched_tick(s, 8 + wait_us);
    for (uint64_t tag = 3; tag < 5; tag++) {
        assert_int_equal(sched_take(s, &d, 1), 1);
        assert_int_equal(d.verdict, SCHED_NONE_UP);
        assert_int_equal(d.tag, tag);
        sched_leave(s, 9 + wait_us, d.ticket, NULL); /* it has ended: nothing happens */
    }
    assert_int_equal(stats(s).waiting, 0);
    sched_free(&s);
}

static void only_so_many_wait(void **state)
{
    struct sched_limits limits = sched_limits_default();
    struct sched_job job = world_job(1);
    struct sched_answer a;
    struct sched *s;

    (void)state;
    limits.queue_jobs = 2;
    limits.queue_jobs_all = 3;
    limits.queue_bytes = 1000;
    s = sched_new(&limits, 1);
    assert_non_null(s);
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .slots = 1});
    (void)world_granted(s, 0, &job, NULL);
    (void)world_queued(s, 0, &job);
    (void)world_queued(s, 0, &job);
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_QUEUE_FULL);
    assert_true(a.retry_after_us >= 1000000);
    job.tenant = SLICE("u");
    job.bytes = 801;
    assert_int_equal(arrive(s, &job), SCHED_QUEUE_FULL);
    job.bytes = 800;
    (void)world_queued(s, 0, &job);
    job.bytes = 0;
    assert_int_equal(arrive(s, &job), SCHED_QUEUE_FULL);
    job.model = SLICE("n");
    (void)world_granted(s, 0, &job, NULL); /* where a slot is free nobody waits */
    sched_free(&s);
}

/* As many kinds of requests for a model wait as can be looked at quickly. */
static void only_so_many_options_wait(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);
    size_t waiting = 0;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    (void)world_granted(s, 0, &job, NULL);
    for (job.options = 1; job.options < 1000; job.options++) {
        waiting += arrive(s, &job) == SCHED_QUEUED;
    }
    assert_int_equal(waiting, 64);
    assert_int_equal(arrive(s, &job), SCHED_QUEUE_FULL);
    job.options = 1;
    (void)world_queued(s, 0, &job);
    sched_free(&s);
}

static void so_many_per_minute(void **state)
{
    struct sched *s = make();
    struct sched_job job = world_job(1);
    struct sched_answer a;

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m"});
    job.rate_per_min = 6;
    for (int i = 0; i < 6; i++) {
        (void)world_granted(s, 5000, &job, NULL);
    }
    assert_int_equal(sched_arrive(s, 2005000, &job, &a), SCHED_RATE_LIMITED);
    assert_int_equal(a.retry_after_us, 8000000);
    assert_int_equal(sched_arrive(s, 10004999, &job, &a), SCHED_RATE_LIMITED);
    assert_int_equal(a.retry_after_us, 1000000);
    (void)world_granted(s, 10005000, &job, NULL);
    job.tenant = SLICE("u");
    (void)world_granted(s, 10005000, &job, NULL);
    sched_free(&s);
}

/* Requests of some tenants for some models come, wait, run and end. */
static void some_traffic(struct sched *s, uint64_t from_us)
{
    uint64_t prefix[] = {1, 2, 0}, running[64];
    struct sched_decision d;
    size_t count = 0;

    for (uint64_t i = 0; i < 500; i++) {
        struct sched_job job = world_job(i);
        struct sched_answer a;
        enum sched_verdict v;

        prefix[2] = i % 50;
        job.model = slice_of(&"mn"[i % 2], 1);
        job.tenant = slice_of(&"tuv"[i % 3], 1);
        job.class = (enum sched_class)(i % SCHED_CLASS_COUNT);
        job.options = i % 7 == 0;
        job.prefix = prefix;
        job.prefix_count = 3;
        v = sched_arrive(s, from_us + i, &job, &a);
        assert_true(v == SCHED_GRANTED || v == SCHED_QUEUED);
        if (v == SCHED_GRANTED) {
            running[count++] = a.ticket;
        }
        if (i % 50 > 25 && count > 0) {
            world_done(s, from_us + i, running[--count]);
        }
        while (count < 64 && world_taken(s, &d) != 0) {
            running[count++] = d.ticket;
        }
    }
    while (count > 0) {
        world_done(s, from_us + 500, running[--count]);
        while (count < 64 && sched_take(s, &d, 1) == 1) {
            running[count++] = d.ticket;
        }
    }
}

static void warm_it_allocates_nothing(void **state)
{
    struct sched *s = make();

    (void)state;
    world_node(s, 0, 1, (struct node_words){.lists = "m n", .slots = 3});
    world_node(s, 0, 2, (struct node_words){.lists = "m n", .slots = 2});
    some_traffic(s, 1);
    assert_int_equal(stats(s).running + stats(s).waiting, 0);
    alloc_fault_at(0);
    some_traffic(s, 1000);
    assert_int_equal(alloc_fault_count(), 0);
    sched_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(why_not),
        cmocka_unit_test(the_session_then_the_least_work),
        cmocka_unit_test(slots_and_the_queue),
        cmocka_unit_test(a_node_that_changes),
        cmocka_unit_test(nothing_left_to_wait_for),
        cmocka_unit_test(only_so_many_wait),
        cmocka_unit_test(only_so_many_options_wait),
        cmocka_unit_test(so_many_per_minute),
        cmocka_unit_test(warm_it_allocates_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
