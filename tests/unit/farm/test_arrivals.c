/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "farm/arrivals.h"

enum { SECOND_US = 1000000, REQUESTS = 40000, TENANTS = 4, MODELS = 5 };

static const struct slice names[TENANTS] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
static const unsigned weights[TENANTS] = {1, 2, 1, 2};

static struct farm_load plain(void)
{
    return (struct farm_load){.requests = REQUESTS,
                              .per_s = 50,
                              .tenants = names,
                              .weights = weights,
                              .tenant_count = TENANTS,
                              .model_count = MODELS,
                              .model_skew = 1,
                              .prompt_tokens = 200,
                              .prompt_sigma = 1,
                              .answer_tokens = 150,
                              .answer_sigma = 0.8,
                              .turns = 1,
                              .pause_us = 20.0 * SECOND_US,
                              .seed = 11};
}

struct totals {
    uint64_t last_us, of_model[MODELS], of_tenant[TENANTS], bursts;
    double prompt_tokens, answer_tokens, known_tokens;
};

/* All of them; in time, and `each` looks at them. */
static struct totals read_all(const struct farm_load *load, uint64_t each_us, uint64_t burst_us)
{
    struct farm_arrivals *a = farm_arrivals_new(load);
    struct totals t = {0};
    struct farm_request q;
    uint64_t count = 0;

    while (farm_arrivals_next(a, &q)) {
        assert_true(q.due_us >= t.last_us && q.due_us > 0);
        assert_int_equal(q.tag, count++);
        assert_int_equal(q.weight, weights[q.tenant_number]);
        assert_true(q.answer_tokens > 0 && q.prefix_count > 0);
        for (size_t i = 1; i < q.prefix_count; i++) {
            assert_true(q.prefix_tokens[i] > q.prefix_tokens[i - 1]);
        }
        assert_int_equal(q.prefix_tokens[q.prefix_count - 1], q.prompt_tokens);
        t.last_us = q.due_us;
        t.of_model[q.model]++;
        t.of_tenant[q.tenant_number]++;
        t.bursts += each_us > 0 && q.due_us % each_us < burst_us;
        t.prompt_tokens += (double)q.prompt_tokens / (double)load->requests;
        t.answer_tokens += (double)q.answer_tokens / (double)load->requests;
    }
    assert_int_equal(count, load->requests);
    assert_false(farm_arrivals_next(a, &q));
    farm_arrivals_free(&a);
    return t;
}

static void near(double found, double expected, double share)
{
    if (fabs(found - expected) > share * expected) {
        fail_msg("%f is not near %f", found, expected);
    }
}

static void rates_and_lengths(void **state)
{
    struct farm_load load = plain();
    struct totals t = read_all(&load, 0, 0);
    double prompt, answer;

    (void)state;
    farm_load_means(&load, false, &prompt, &answer);
    near(t.prompt_tokens, prompt, 0.03);
    near(t.answer_tokens, answer, 0.03);
    near((double)t.last_us / SECOND_US, REQUESTS / 50.0, 0.03);
    for (size_t m = 0; m < MODELS; m++) { /* 1 + 1/2 + ... + 1/5 */
        near((double)t.of_model[m], REQUESTS / (2.2833 * (double)(m + 1)), 0.06);
    }
    for (size_t i = 0; i < TENANTS; i++) {
        near((double)t.of_tenant[i], REQUESTS / 4.0, 0.05);
    }
}

/* From the first on there are as many as later. */
static void conversations(void **state)
{
    struct farm_load load = plain();
    double prompt, answer;
    struct totals t, half;

    (void)state;
    load.turns = 5;
    load.system_tokens = 100;
    t = read_all(&load, 0, 0);
    farm_load_means(&load, false, &prompt, &answer);
    near(t.prompt_tokens, prompt, 0.05);
    near((double)t.last_us / SECOND_US, REQUESTS / 50.0, 0.04);
    load.requests = REQUESTS / 8;
    half = read_all(&load, 0, 0);
    near((double)half.last_us / SECOND_US, REQUESTS / 400.0, 0.08);
}

static void bursts(void **state)
{
    struct farm_load load = plain();
    struct totals t;

    (void)state;
    load.burst_factor = 6;
    load.burst_us = 10 * SECOND_US;
    load.burst_each_us = 60 * SECOND_US;
    t = read_all(&load, load.burst_each_us, load.burst_us);
    near((double)t.last_us / SECOND_US, REQUESTS / 50.0, 0.06);
    near((double)t.bursts / REQUESTS, 60.0 / 110, 0.05); /* 6 * 10 of 6 * 10 + 50 */
}

static void a_turn_begins_as_the_one_before(void **state)
{
    struct farm_load load = plain();
    struct farm_arrivals *a;
    struct farm_request q, first = {0};
    size_t found = 0;

    (void)state;
    load.turns = 4;
    load.per_s = 0.01; /* one at a time */
    load.requests = 400;
    a = farm_arrivals_new(&load);
    while (farm_arrivals_next(a, &q)) {
        if (q.prefix_count == first.prefix_count + 1 && q.prefix[0] == first.prefix[0]) {
            size_t bytes = first.prefix_count * sizeof(q.prefix[0]);

            assert_memory_equal(q.prefix, first.prefix, bytes);
            assert_true(q.prefix_tokens[first.prefix_count] >
                        first.prompt_tokens + first.answer_tokens);
            assert_int_equal(q.model, first.model);
            assert_int_equal(q.tenant_number, first.tenant_number);
            found++;
        }
        first = q;
    }
    assert_true(found > 100);
    farm_arrivals_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_and_lengths),
        cmocka_unit_test(conversations),
        cmocka_unit_test(bursts),
        cmocka_unit_test(a_turn_begins_as_the_one_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
