/* SPDX-License-Identifier: Apache-2.0 */
/* Farms beside queueing theory: requests that come and are served at random (exponentially). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm/random.h"
#include "farm/search.h"
#include "farm_runs.h"

enum { NODES_MOST = 16 };

static const struct farm_model models[] = {{{"m", 1}, 1, 0}};

struct markov {
    uint64_t left, rng, made;
    double due_us, gap_us, service_us;
};

static bool next_markov(void *owner, struct farm_request *out)
{
    struct markov *m = owner;

    if (m->left == 0) {
        return false;
    }
    m->left--;
    m->due_us += farm_random_exponential(&m->rng, m->gap_us);
    *out = (struct farm_request){
        .due_us = 1 + (uint64_t)m->due_us,
        .tag = m->made++,
        .tenant = SLICE("t"),
        .class = SCHED_CLASS_NORMAL,
        .prompt_tokens = (uint32_t)farm_random_exponential(&m->rng, m->service_us),
    };
    return true;
}

/* So many servers, one queue: requests of exponential length (a microsecond for each token). */
static struct seen run_markov(size_t servers, double load, uint64_t requests,
                              enum farm_policy policy)
{
    struct markov m = {.left = requests, .rng = 3, .service_us = 100000};
    struct farm_node nodes[NODES_MOST];

    m.gap_us = m.service_us / (load * (double)servers);
    for (size_t i = 0; i < servers; i++) {
        nodes[i] = (struct farm_node){.slots = 1, .told_slots = 1, .prompt_us = 1, .token_us = 1};
    }
    return run_farm((struct farm_options){.models = models,
                                          .model_count = 1,
                                          .nodes = nodes,
                                          .node_count = servers,
                                          .policy = policy,
                                          .seed = 1,
                                          .next = next_markov,
                                          .next_owner = &m},
                    requests);
}

/* Probability that all of `servers` are busy (Erlang C); `load` of each. */
static double erlang_c(size_t servers, double load)
{
    double offered = load * (double)servers, blocked = 1;

    for (size_t k = 1; k <= servers; k++) { /* Erlang B, one by one */
        blocked = offered * blocked / ((double)k + offered * blocked);
    }
    return blocked / (1 - load * (1 - blocked));
}

static void assert_near(double found, double expected, double share)
{
    if (fabs(found - expected) > share * expected) {
        fail_msg("%f is not near %f", found, expected);
    }
}

static void one_server_is_as_theory_says(void **state)
{
    static const enum farm_policy policies[] = {FARM_ROUND_ROBIN, FARM_OURS};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct seen s = run_markov(1, 0.6, 150000, policies[i]);
        double stay_us = 100000 / (1 - 0.6);

        print_message("M/M/1: %.0f us, in theory %.0f; p99 %.0f, in theory %.0f\n",
                      farm_histogram_mean(&s.report.first), stay_us,
                      farm_histogram_quantile(&s.report.first, 0.99), stay_us * log(100));
        assert_near(farm_histogram_mean(&s.report.first), stay_us, 0.03);
        assert_near(farm_histogram_quantile(&s.report.first, 0.99), stay_us * log(100), 0.05);
        assert_near((double)s.report.busy_us, 0.6 * 1e6 * farm_report_seconds(&s.report), 0.02);
        farm_report_fini(&s.report);
    }
}

/* What the scheduler makes of several nodes is one queue before all of them. */
static void one_queue_before_many_is_as_theory_says(void **state)
{
    struct seen ours = run_markov(4, 0.8, 150000, FARM_OURS);
    struct seen turns = run_markov(4, 0.8, 150000, FARM_ROUND_ROBIN);
    double wait_us = erlang_c(4, 0.8) * 100000 / (4 * (1 - 0.8));

    (void)state;
    print_message("M/M/4: waits %.0f us, in theory %.0f; in turn %.0f\n",
                  farm_histogram_mean(&ours.report.wait), wait_us,
                  farm_histogram_mean(&turns.report.wait));
    assert_near(farm_histogram_mean(&ours.report.wait), wait_us, 0.05);
    assert_true(farm_histogram_mean(&turns.report.wait) >
                2 * farm_histogram_mean(&ours.report.wait));
    farm_report_fini(&ours.report);
    farm_report_fini(&turns.report);
}

/* 32 requests a second of 0.1 s: the fewest nodes at which 99 of 100 wait for 60 ms at most. */
static void a_plan_finds_the_answer_of_theory(void **state)
{
    const double per_s = 32, service_s = 0.1, limit_s = 0.06;
    struct farm_search search;
    size_t nodes, expected = 4;

    (void)state;
    while (log(erlang_c(expected, per_s * service_s / (double)expected) / 0.01) /
               ((double)expected / service_s - per_s) >
           limit_s) {
        expected++;
    }
    assert_int_equal(expected, 7);
    farm_search_begin(&search, 4, NODES_MOST);
    while (farm_search_next(&search, &nodes)) {
        struct seen s = run_markov(nodes, per_s * service_s / (double)nodes, 40000, FARM_OURS);

        farm_search_tell(&search, farm_histogram_quantile(&s.report.wait, 0.99) <= limit_s * 1e6);
        farm_report_fini(&s.report);
    }
    assert_int_equal(search.high, expected);
    assert_false(search.uneven);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server_is_as_theory_says),
        cmocka_unit_test(one_queue_before_many_is_as_theory_says),
        cmocka_unit_test(a_plan_finds_the_answer_of_theory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
