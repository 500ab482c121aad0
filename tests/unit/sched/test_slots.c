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

enum { SECOND_US = 1000000, REQUESTS = 1000, CHANGE_AT = 400 };

static const struct cluster_model one_model[] = {{"m", 1, 0}};

struct seen {
    uint32_t slots[REQUESTS + 1]; /* that the scheduler thought of, by requests ended */
    uint32_t then;                /* the node has from request CHANGE_AT on */
};

static bool look(void *owner, const struct sched_node_view *view)
{
    *(uint32_t *)owner = view->slots;
    return true;
}

static void watch(struct cluster *c)
{
    struct seen *seen = c->owner;
    size_t ended = 0;

    for (size_t i = 0; i < c->request_count; i++) {
        ended += c->requests[i].done_us != 0;
    }
    sched_node_walk(c->s, 1, look, &seen->slots[ended]);
    if (ended >= CHANGE_AT) {
        c->nodes[0].slots = seen->then;
    }
}

static struct seen run(uint64_t seed, uint32_t slots, uint32_t then, double batch_us)
{
    struct sched_limits limits = sched_limits_default();
    struct seen seen = {.then = then};
    struct cluster c = {
        .models = one_model,
        .model_count = 1,
        .nodes = {{.slots = slots,
                   .declared = SCHED_SLOTS_AUTO,
                   .prompt_us = 500,
                   .token_us = 10000,
                   .batch_us = batch_us}},
        .node_count = 1,
        .requests = calloc(REQUESTS, sizeof(struct cluster_request)),
        .request_count = REQUESTS,
        .watch = watch,
        .owner = &seen,
    };
    uint64_t rng = seed;

    assert_non_null(c.requests);
    for (size_t i = 0; i < REQUESTS; i++) {
        c.requests[i] = (struct cluster_request){
            .due_us = 1 + i * SECOND_US / 12, /* more than it can do */
            .tenant = "t",
            .class = SCHED_CLASS_NORMAL,
            .prompt_tokens = 100 + (uint32_t)(cluster_random(&rng) % 200),
            .answer_tokens = 50 + (uint32_t)(cluster_random(&rng) % 100),
        };
    }
    cluster_run(&c, &limits, seed);
    free(c.requests);
    return seen;
}

static double mean(const struct seen *seen, size_t from, size_t to)
{
    double sum = 0;

    for (size_t i = from; i < to; i++) {
        sum += seen->slots[i];
    }
    return sum / (double)(to - from);
}

static void finds_and_follows(uint32_t slots, uint32_t then, double batch_us)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct seen seen = run(seed, slots, then, batch_us);
        double before = mean(&seen, 200, CHANGE_AT);
        double after = mean(&seen, CHANGE_AT + 200, REQUESTS - 50);

        print_message("%u slots: %.1f from request 200 on; %u: %.1f\n", slots, before, then, after);
        assert_true(before > 0.85 * slots && before < slots + 0.5);
        assert_true(after > 0.85 * then && after < then + 0.5);
    }
}

static void eight_then_four(void **state)
{
    (void)state;
    finds_and_follows(8, 4, 0);
    finds_and_follows(8, 4, 300); /* answers are slower, the more of them are made at once */
}

static void one_then_two(void **state)
{
    (void)state;
    finds_and_follows(2, 1, 0);
}

static void more_again(void **state)
{
    (void)state;
    finds_and_follows(4, 8, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_then_four),
        cmocka_unit_test(one_then_two),
        cmocka_unit_test(more_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
