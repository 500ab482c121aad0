/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "farm/arrivals.h"
#include "farm/farm.h"
#include "farm/random.h"
#include "farm/report.h"
#include "farm_runs.h"

enum { SECOND_US = 1000000, MIB = 1 << 20, NODES_MOST = 16 };

static const struct slice tenants[] = {{"a", 1}, {"b", 1}, {"c", 1}};
static const unsigned weights[] = {1, 1, 2};
static const struct farm_model models[] = {{{"m", 1}, 5 * MIB, 2 * SECOND_US},
                                           {{"n", 1}, 6 * MIB, 3 * SECOND_US},
                                           {{"o", 1}, 7 * MIB, SECOND_US}};

static struct farm_load load_of(uint64_t requests, double per_s)
{
    return (struct farm_load){
        .requests = requests,
        .per_s = per_s,
        .tenants = tenants,
        .weights = weights,
        .tenant_count = 3,
        .model_count = 3,
        .model_skew = 1,
        .prompt_tokens = 200,
        .prompt_sigma = 1,
        .answer_tokens = 100,
        .answer_sigma = 0.8,
        .system_tokens = 100,
        .turns = 3,
        .pause_us = 10.0 * SECOND_US,
        .seed = 7,
    };
}

static struct farm_node node_of(uint32_t slots)
{
    return (struct farm_node){
        .slots = slots,
        .told_slots = slots,
        .memory_bytes = 13 * MIB,
        .prompt_us = 500,
        .token_us = 10000,
        .batch_us = 500,
        .prompts_in_turn = true,
        .prompts = 256,
    };
}

static struct seen run_load(const struct farm_load *load, const struct farm_node *node,
                            size_t node_count, enum farm_policy policy)
{
    struct farm_arrivals *a = farm_arrivals_new(load);
    struct farm_node nodes[NODES_MOST];
    struct seen s;

    for (size_t i = 0; i < node_count; i++) {
        nodes[i] = *node;
    }
    s = run_farm((struct farm_options){.models = models,
                                       .model_count = load->model_count,
                                       .nodes = nodes,
                                       .node_count = node_count,
                                       .policy = policy,
                                       .seed = load->seed,
                                       .next = farm_arrivals_next,
                                       .next_owner = a},
                 load->requests);
    farm_arrivals_free(&a);
    return s;
}

static void the_same_seed_is_the_same_run(void **state)
{
    struct farm_load load = load_of(3000, 3);
    struct farm_node node = node_of(2);

    (void)state;
    for (int policy = 0; policy < FARM_POLICY_COUNT; policy++) {
        struct seen one = run_load(&load, &node, 4, (enum farm_policy)policy);
        struct seen two = run_load(&load, &node, 4, (enum farm_policy)policy);

        assert_memory_equal(&one.report.first, &two.report.first, sizeof(one.report.first));
        assert_memory_equal(&one.report.whole, &two.report.whole, sizeof(one.report.whole));
        assert_int_equal(one.report.loads, two.report.loads);
        assert_int_equal(one.report.busy_us, two.report.busy_us);
        assert_int_equal(one.report.cached_tokens, two.report.cached_tokens);
        assert_true(one.report.loads > 0 && one.report.cached_tokens > 0);
        farm_report_fini(&one.report);
        farm_report_fini(&two.report);
    }
    load.seed++;
    {
        struct seen one = run_load(&load, &node, 4, FARM_OURS);

        load.seed--;
        struct seen two = run_load(&load, &node, 4, FARM_OURS);

        assert_true(one.report.busy_us != two.report.busy_us);
        farm_report_fini(&one.report);
        farm_report_fini(&two.report);
    }
}

/* --- each request ends once ------------------------------------------------------------------- */

struct cancelling {
    struct farm_arrivals *arrivals;
    uint64_t rng;
};

static bool next_cancelling(void *owner, struct farm_request *out)
{
    struct cancelling *c = owner;

    if (!farm_arrivals_next(c->arrivals, out)) {
        return false;
    }
    if (farm_random(&c->rng) % 3 == 0) {
        out->cancel_us = out->due_us + farm_random(&c->rng) % (8 * SECOND_US);
    }
    return true;
}

static void each_request_ends_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct farm_load load = load_of(1500, 2 + (double)(seed % 4));
        struct cancelling c = {.rng = seed};
        struct farm_node nodes[3];
        struct seen s;

        load.seed = seed;
        load.turns = 1 + (double)(seed % 3);
        c.arrivals = farm_arrivals_new(&load);
        for (size_t i = 0; i < 3; i++) {
            nodes[i] = node_of(1 + (uint32_t)(farm_random(&c.rng) % 4));
            nodes[i].told_slots = seed % 5 == 0 ? SCHED_SLOTS_AUTO : nodes[i].slots;
            nodes[i].memory_bytes = seed % 4 == 0 ? 0 : (5 + farm_random(&c.rng) % 20) * MIB;
            nodes[i].prompts_in_turn = seed % 2 == 0;
            nodes[i].prompts = seed % 3 == 0 ? 0 : 64;
        }
        s = run_farm((struct farm_options){.models = models,
                                           .model_count = 3,
                                           .nodes = nodes,
                                           .node_count = 1 + seed % 3,
                                           .policy = (enum farm_policy)(seed % FARM_POLICY_COUNT),
                                           .seed = seed,
                                           .next = next_cancelling,
                                           .next_owner = &c},
                     load.requests);
        assert_true(s.report.cancelled > 0 && s.report.first.count > 0);
        farm_report_fini(&s.report);
        farm_arrivals_free(&c.arrivals);
    }
}

/* --- what a node does ------------------------------------------------------------------------- */

struct script {
    const struct farm_request *requests;
    size_t count, next;
    struct farm_live *ended;
};

static bool next_scripted(void *owner, struct farm_request *out)
{
    struct script *s = owner;

    if (s->next == s->count) {
        return false;
    }
    *out = s->requests[s->next];
    out->tag = s->next++;
    out->tenant = tenants[0];
    return true;
}

static void note_scripted(void *owner, struct farm *f, enum farm_event event,
                          const struct farm_live *l)
{
    struct script *s = owner;

    (void)f;
    if (event == FARM_ENDED) {
        s->ended[l->request.tag] = *l;
    }
}

static struct farm_totals run_script(struct script *s, const struct farm_node *node,
                                     enum farm_policy policy)
{
    const struct farm_options o = {.models = models,
                                   .model_count = 3,
                                   .nodes = node,
                                   .node_count = 1,
                                   .policy = policy,
                                   .limits = sched_limits_default(),
                                   .next = next_scripted,
                                   .next_owner = s,
                                   .watch = note_scripted,
                                   .watch_owner = s};
    struct farm *f = farm_new(&o);
    struct farm_totals totals;

    while (farm_run(f, 100)) {
    }
    assert_true(farm_is_empty(f));
    farm_totals(f, &totals);
    farm_free(&f);
    return totals;
}

/* Two of 100 tokens, the second 0.5 s later: 50 tokens alone (10 ms), 50 with the other (12 ms
 * each, then the other has 50 left, alone). */
static void answers_share_a_node(void **state)
{
    const struct farm_request requests[] = {{.due_us = 1, .answer_tokens = 100},
                                            {.due_us = 500001, .answer_tokens = 100}};
    const struct farm_node node = {.slots = 2, .token_us = 10000, .batch_us = 2000};
    struct farm_live ended[2];
    struct script s = {.requests = requests, .count = 2, .ended = ended};

    (void)state;
    (void)run_script(&s, &node, FARM_LEAST);
    assert_in_range(ended[0].done_us, 500000 + 50 * 12000 - 10, 500000 + 50 * 12000 + 10);
    assert_in_range(ended[1].done_us, 1600000 - 10, 1600000 + 10);
}

static void prompts_one_after_the_other(void **state)
{
    const struct farm_request requests[] = {{.due_us = 1, .prompt_tokens = 1000},
                                            {.due_us = 1, .prompt_tokens = 1000}};
    struct farm_node node = {.slots = 2, .prompt_us = 1000, .prompts_in_turn = true};
    struct farm_live ended[2];
    struct script s = {.requests = requests, .count = 2, .ended = ended};

    (void)state;
    (void)run_script(&s, &node, FARM_LEAST);
    assert_in_range(ended[0].first_us, 1000000, 1000010);
    assert_in_range(ended[1].first_us, 2000000, 2000010);
    node.prompts_in_turn = false;
    s.next = 0;
    (void)run_script(&s, &node, FARM_LEAST);
    assert_in_range(ended[1].first_us, 1000000, 1000010);
}

/* Memory for two of three; what is known of prompts goes with its model. */
static void loads_and_what_is_known(void **state)
{
    static const struct farm_request requests[] = {
        {.due_us = 1,
         .prompt_tokens = 100,
         .prefix = {1},
         .prefix_tokens = {80},
         .prefix_count = 1},
        {.due_us = 10 * SECOND_US,
         .prompt_tokens = 100,
         .prefix = {1, 2},
         .prefix_tokens = {80, 100},
         .prefix_count = 2},
        {.due_us = 20 * SECOND_US,
         .model = 1,
         .prompt_tokens = 100,
         .prefix = {1, 2},
         .prefix_tokens = {80, 100},
         .prefix_count = 2},
        {.due_us = 30 * SECOND_US, .model = 2, .prompt_tokens = 100},
        {.due_us = 40 * SECOND_US,
         .prompt_tokens = 100,
         .prefix = {1},
         .prefix_tokens = {80},
         .prefix_count = 1},
    };
    struct farm_node node = node_of(1);
    struct farm_live ended[5];
    struct script s = {.requests = requests, .count = 5, .ended = ended};
    struct farm_totals totals = run_script(&s, &node, FARM_LEAST);

    (void)state;
    assert_int_equal(totals.loads, 4);
    assert_int_equal(totals.evictions, 2);
    assert_int_equal(ended[0].cached_tokens, 0);
    assert_int_equal(ended[1].cached_tokens, 80);
    assert_int_equal(ended[2].cached_tokens, 0);
    assert_int_equal(ended[4].cached_tokens, 0);
    assert_true(ended[0].begun_us >= 2 * SECOND_US);
    assert_true(ended[1].begun_us == 10 * SECOND_US);
}

static bool add_resident(void *owner, const struct sched_node_view *view)
{
    if (view->resident) {
        (void)strncat(owner, view->model.ptr, view->model.len);
    }
    return true;
}

/* Two fit on a node: m and n on the first, n and o on the second. */
static void warm_nodes_have_models(void **state)
{
    struct farm_load load = load_of(1, 1);
    struct farm_node nodes[2] = {node_of(1), node_of(1)};
    struct farm_arrivals *a = farm_arrivals_new(&load);
    const struct farm_options o = {.models = models,
                                   .model_count = 3,
                                   .nodes = nodes,
                                   .node_count = 2,
                                   .warm = true,
                                   .policy = FARM_OURS,
                                   .limits = sched_limits_default(),
                                   .next = farm_arrivals_next,
                                   .next_owner = a};
    struct farm *f = farm_new(&o);
    char found[8] = "";

    (void)state;
    sched_node_walk(farm_sched(f), 1, add_resident, found);
    sched_node_walk(farm_sched(f), 2, add_resident, found);
    assert_string_equal(found, "mnno");
    farm_free(&f);
    farm_arrivals_free(&a);
}

/* --- ours beside the others ------------------------------------------------------------------- */

static const struct scenario {
    const char *name;
    size_t nodes, models;
    uint32_t slots;
    double per_s, turns;
    uint64_t memory_mib;
} scenarios[] = {
    {"one model", 4, 1, 4, 6, 1, 16},
    {"conversations", 4, 1, 4, 3, 4, 16},
    {"three models, memory for two", 4, 3, 4, 4, 3, 13},
    {"three models, memory for one", 6, 3, 4, 4, 1, 8},
};

static void ours_is_no_worse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        const struct scenario *c = &scenarios[i];
        struct farm_load load = load_of(6000, c->per_s);
        struct farm_node node = node_of(c->slots);
        double p99[FARM_POLICY_COUNT];

        load.turns = c->turns;
        load.model_count = c->models;
        node.memory_bytes = c->memory_mib * MIB;
        for (int policy = 0; policy < FARM_POLICY_COUNT; policy++) {
            struct seen s = run_load(&load, &node, c->nodes, (enum farm_policy)policy);

            p99[policy] = farm_histogram_quantile(&s.report.first, 0.99);
            print_message("%s: %s: p99 %.2f s, loads %lu, known %.1f %%, busiest %.2f\n", c->name,
                          farm_policy_name((enum farm_policy)policy), p99[policy] / 1e6,
                          (unsigned long)s.report.loads,
                          100 * (double)s.report.cached_tokens / (double)s.report.prompt_tokens,
                          farm_report_busiest(&s.report));
            farm_report_fini(&s.report);
        }
        assert_true(p99[FARM_OURS] <= p99[FARM_ROUND_ROBIN]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_is_the_same_run),
        cmocka_unit_test(each_request_ends_once),
        cmocka_unit_test(answers_share_a_node),
        cmocka_unit_test(prompts_one_after_the_other),
        cmocka_unit_test(loads_and_what_is_known),
        cmocka_unit_test(warm_nodes_have_models),
        cmocka_unit_test(ours_is_no_worse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
