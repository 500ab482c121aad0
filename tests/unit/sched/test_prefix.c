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

enum { SECOND_US = 1000000, SESSIONS = 96, TURNS = 10, REQUESTS = SESSIONS * TURNS };

static const struct cluster_model one_model[] = {{"m", 1, 0}};

static void where_its_beginning_is(void **state)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);
    struct sched_job job = world_job(1);
    struct sched_answer a;
    uint64_t prefix[] = {1, 2, 3, 4, 5, 6, 7}, node, ticket;

    (void)state;
    assert_non_null(s);
    for (uint64_t id = 1; id <= 4; id++) {
        world_node(s, 0, id, (struct node_words){.lists = "m"});
    }
    job.prompt_tokens = 1000;
    job.prefix = prefix;
    job.prefix_count = 3;
    node = world_granted(s, 0, &job, &ticket);
    world_done(s, 0, ticket);
    for (job.prefix_count = 4; job.prefix_count <= 7; job.prefix_count++) {
        assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_GRANTED);
        assert_int_equal(a.node, node);
        assert_int_equal(a.why, SCHED_WHY_PREFIX);
        world_done(s, 0, a.ticket);
    }
    prefix[0] = 9; /* another beginning */
    job.prefix_count = 1;
    assert_int_equal(sched_arrive(s, 0, &job, &a), SCHED_GRANTED);
    assert_int_not_equal(a.node, node);
    assert_int_equal(a.why, SCHED_WHY_LEAST);
    sched_free(&s);
}

static void what_all_begin_with_decides_nothing(void **state)
{
    struct sched_limits limits = sched_limits_default();
    struct sched *s = sched_new(&limits, 1);
    struct sched_job job = world_job(1);
    uint64_t prefix[] = {1, 0}, on[5] = {0}, ticket;

    (void)state;
    assert_non_null(s);
    for (uint64_t id = 1; id <= 4; id++) {
        world_node(s, 0, id, (struct node_words){.lists = "m"});
    }
    job.prompt_tokens = 1000;
    job.prefix = prefix;
    job.prefix_count = 2;
    for (uint64_t i = 0; i < 400; i++) {
        prefix[1] = 100 + i;
        on[world_granted(s, 0, &job, &ticket)]++;
        world_done(s, 0, ticket);
    }
    for (uint64_t id = 1; id <= 4; id++) {
        assert_in_range(on[id], 90, 110);
    }
    sched_free(&s);
}

/* --- conversations --- */

static int by_due(const void *a, const void *b)
{
    const struct cluster_request *x = a, *y = b;

    return (x->due_us > y->due_us) - (x->due_us < y->due_us);
}

/* Conversations of ten turns, each with all of the earlier ones in front, under one system prompt.
 */
static void converse(struct cluster_request *requests, uint64_t seed, uint64_t each_us)
{
    uint64_t rng = seed;
    size_t n = 0;

    for (uint64_t session = 0; session < SESSIONS; session++) {
        uint64_t us = 1 + session * each_us;

        for (uint32_t turn = 0; turn < TURNS; turn++, n++) {
            requests[n] = (struct cluster_request){
                .due_us = us,
                .class = SCHED_CLASS_NORMAL,
                .prompt_tokens = 400 + 200 * turn,
                .answer_tokens = 50 + (uint32_t)(cluster_random(&rng) % 100),
                .prefix = {7},
                .prefix_count = turn + 2,
            };
            requests[n].tenant[0] = (char)('a' + session % 10);
            for (uint32_t i = 0; i <= turn; i++) {
                requests[n].prefix[i + 1] = 1000 * (session + 1) + i;
            }
            us += 4 * SECOND_US + cluster_random(&rng) % (8U * SECOND_US);
        }
    }
    qsort(requests, n, sizeof(*requests), by_due);
}

struct result {
    double cached;  /* of all prompt tokens */
    double busiest; /* of the mean */
};

static struct result run(uint64_t seed, size_t nodes, uint32_t slots, uint64_t each_us)
{
    struct sched_limits limits = sched_limits_default();
    struct cluster c = {
        .models = one_model,
        .model_count = 1,
        .node_count = nodes,
        .requests = calloc(REQUESTS, sizeof(struct cluster_request)),
        .request_count = REQUESTS,
    };
    double cached = 0, all = 0, on[CLUSTER_NODES] = {0}, busiest = 0;

    assert_non_null(c.requests);
    for (size_t n = 0; n < nodes; n++) {
        c.nodes[n] = (struct cluster_node){
            .slots = slots, .declared = slots, .prompt_us = 500, .token_us = 10000};
    }
    converse(c.requests, seed, each_us);
    cluster_run(&c, &limits, seed);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct cluster_request *q = &c.requests[i];

        cached += q->cached_tokens;
        all += q->prompt_tokens;
        on[q->node - 1] += 1;
    }
    for (size_t n = 0; n < nodes; n++) {
        busiest = on[n] > busiest ? on[n] : busiest;
    }
    free(c.requests);
    return (struct result){cached / all, busiest / (REQUESTS / (double)nodes)};
}

static void conversations_stay_and_nodes_share(void **state)
{
    /* A quarter, half and two thirds of what the nodes can do. */
    static const uint64_t each_us[] = {4 * SECOND_US, 2 * SECOND_US, 3 * SECOND_US / 2};

    (void)state;
    for (size_t i = 0; i < sizeof(each_us) / sizeof(each_us[0]); i++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            struct result one = run(seed, 1, 16, each_us[i]), four = run(seed, 4, 4, each_us[i]);

            print_message("a conversation each %lu ms: cached %.1f %% of the tokens, on one node "
                          "%.1f %%; busiest node %.2f of the mean\n",
                          (unsigned long)(each_us[i] / 1000), 100 * four.cached, 100 * one.cached,
                          four.busiest);
            assert_true(four.cached >= 0.9 * one.cached);
            assert_true(four.busiest <= 1.25);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_its_beginning_is),
        cmocka_unit_test(what_all_begin_with_decides_nothing),
        cmocka_unit_test(conversations_stay_and_nodes_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
