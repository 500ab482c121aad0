/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/sched.h"
#include "sched_cluster.h"
#include "sched_world.h"

enum { SECOND_US = 1000000 };

static const struct cluster_model one_model[] = {{"m", 1, 0}};

static void position_and_depth(void **state)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);
    struct sched_job job = world_job(1);
    struct sched_answer a;
    uint64_t running, waiting[6];

    (void)state;
    assert_non_null(s);
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    (void)world_granted(s, 0, &job, &running);
    assert_false(sched_look(s, 0, running, &a));
    for (size_t i = 0; i < 5; i++) {
        waiting[i] = world_queued(s, 0, &job);
    }
    assert_true(sched_look(s, 0, waiting[4], &a));
    assert_int_equal(a.position, 5);
    assert_int_equal(a.depth, 5);
    assert_true(a.eta_us == SCHED_UNKNOWN);
    job.tenant = SLICE("u"); /* it goes second: once in turn with the other */
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_QUEUED);
    assert_in_range(a.position, 1, 2);
    assert_int_equal(a.depth, 6);
    job.class = SCHED_CLASS_BATCH;
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_QUEUED);
    assert_int_equal(a.position, 7);
    world_done(s, 2 * SECOND_US, running);
    assert_true(sched_look(s, 2 * SECOND_US, a.ticket, &a));
    assert_int_equal(a.position, 6);
    assert_int_equal(a.eta_us, 12 * SECOND_US);
    sched_free(&s);
}

static void too_late_is_said_at_once(void **state)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);
    struct sched_job job = world_job(1);
    struct sched_decision d;
    struct sched_stats stats;
    struct sched_answer a;
    uint64_t running;

    (void)state;
    assert_non_null(s);
    world_node(s, 0, 1, (struct node_words){.lists = "m", .slots = 1});
    (void)world_granted(s, 0, &job, &running);
    world_done(s, 4 * SECOND_US, running);
    (void)world_granted(s, 4 * SECOND_US, &job, &running);
    job.deadline_us = 7 * SECOND_US;
    assert_int_equal(sched_arrive(s, 5 * SECOND_US, &job, &a), SCHED_TOO_LATE);
    assert_int_equal(a.ticket, 0);
    assert_int_equal(a.retry_after_us, SECOND_US);
    sched_stats(s, &stats);
    assert_int_equal(stats.waiting, 0);
    job.deadline_us = 9 * SECOND_US;
    (void)world_queued(s, 5 * SECOND_US, &job);
    world_done(s, 10 * SECOND_US, running); /* later than was thought */
    assert_int_equal(sched_take(s, &d, 1), 1);
    assert_int_equal(d.verdict, SCHED_TOO_LATE);
    sched_free(&s);
}

/* Poisson arrivals a little above what the nodes do, tenants and lengths of many kinds. */
static double median_error(uint64_t seed, size_t nodes, uint32_t slots, uint32_t spread)
{
    struct sched_limits limits = sched_limits_default();
    size_t count = 800, n = 0;
    struct cluster c = {
        .models = one_model,
        .model_count = 1,
        .node_count = nodes,
        .requests = calloc(count, sizeof(struct cluster_request)),
        .request_count = count,
    };
    uint64_t rng = seed, us = 0, *errors = calloc(count, sizeof(*errors));
    double median;

    assert_true(c.requests != NULL && errors != NULL);
    for (size_t i = 0; i < nodes; i++) {
        c.nodes[i] = (struct cluster_node){
            .slots = slots, .declared = slots, .prompt_us = 500, .token_us = 10000};
    }
    for (size_t i = 0; i < count; i++) {
        us += cluster_random(&rng) % (2 * 900000 / (nodes * slots));
        c.requests[i] = (struct cluster_request){
            .due_us = us,
            .class = SCHED_CLASS_NORMAL,
            .prompt_tokens = 100,
            .answer_tokens = 100 - spread + (uint32_t)(cluster_random(&rng) % (2 * spread + 1)),
        };
        c.requests[i].tenant[0] = (char)('a' + cluster_random(&rng) % 3);
    }
    cluster_run(&c, &limits, seed);
    for (size_t i = 0; i < count; i++) {
        const struct cluster_request *q = &c.requests[i];
        uint64_t took = q->granted_us - q->due_us;

        if (q->waited && q->eta_us != SCHED_UNKNOWN && took > 0) {
            uint64_t off = took > q->eta_us ? took - q->eta_us : q->eta_us - took;

            errors[n++] = off * 1000 / took;
        }
    }
    assert_true(n > count / 4);
    qsort(errors, n, sizeof(*errors), cluster_by_u64);
    median = (double)errors[n / 2] / 1000;
    free(errors);
    free(c.requests);
    return median;
}

static void the_median_error_of_an_eta(void **state)
{
    static const struct {
        size_t nodes;
        uint32_t slots, spread;
    } cases[] = {{1, 1, 50}, {1, 4, 50}, {1, 8, 90}, {4, 4, 50}, {4, 8, 90}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            double error = median_error(seed, cases[i].nodes, cases[i].slots, cases[i].spread);

            print_message("nodes %zu, slots %u, lengths 100 +- %u: median error %.1f %%\n",
                          cases[i].nodes, cases[i].slots, cases[i].spread, 100 * error);
            assert_true(error <= 0.25);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(position_and_depth),
        cmocka_unit_test(too_late_is_said_at_once),
        cmocka_unit_test(the_median_error_of_an_eta),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
