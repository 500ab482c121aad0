/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/counter.h"
#include "json_gen.h"

static void counts_in_the_attached_set(void **state)
{
    static struct counters mine;
    int64_t spare = counter_get(counters_current(), COUNTER_PARTS);

    (void)state;
    counter_add(COUNTER_PARTS, 2);
    assert_int_equal(counter_get(counters_current(), COUNTER_PARTS), spare + 2);
    counters_attach(&mine);
    assert_ptr_equal(counters_current(), &mine);
    counter_add(COUNTER_PARTS, 5);
    counter_add(COUNTER_OPEN_MCP, 3);
    counter_add(COUNTER_OPEN_MCP, -1);
    assert_int_equal(counter_get(&mine, COUNTER_PARTS), 5);
    assert_int_equal(counter_get(&mine, COUNTER_OPEN_MCP), 2);
    assert_int_equal(counter_get(&mine, COUNTER_CONN_MCP), 0);
    counters_attach(NULL);
    assert_int_equal(counter_get(counters_current(), COUNTER_PARTS), spare + 2);
}

static void buckets_follow_each_other(void **state)
{
    (void)state;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t max_us = histogram_bucket_max_us(bucket);

        assert_int_equal(histogram_bucket(max_us), bucket);
        if (bucket + 1 < HISTOGRAM_BUCKETS) {
            assert_int_equal(histogram_bucket(max_us + 1), bucket + 1);
        }
    }
    assert_int_equal(histogram_bucket_max_us(HISTOGRAM_BUCKETS - 1), (1ULL << 35) - 1);
    assert_int_equal(histogram_bucket(1ULL << 35), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void buckets_are_an_eighth_wide_at_most(void **state)
{
    struct json_gen g = {.state = 3};

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t us = (uint64_t)json_gen_pick(&g, 1ULL << 31) >> json_gen_pick(&g, 31);
        uint64_t max_us = histogram_bucket_max_us(histogram_bucket(us));

        assert_true(max_us >= us);
        assert_true(max_us - us <= us / 8);
    }
}

static void quantiles(void **state)
{
    static struct counters set;
    const struct histogram *h = &set.histograms[HISTOGRAM_RELAY_US];

    (void)state;
    assert_int_equal(histogram_quantile_us(h, 0.5), 0);
    counters_attach(&set);
    for (uint64_t us = 1; us <= 1000; us++) {
        histogram_record(HISTOGRAM_RELAY_US, us);
    }
    counters_attach(NULL);
    assert_int_equal(h->count, 1000);
    assert_int_equal(h->sum_us, 500500);
    assert_int_equal(set.histograms[HISTOGRAM_EXCHANGE_US].count, 0);
    assert_int_equal(histogram_quantile_us(h, 0.0), 1);
    assert_in_range(histogram_quantile_us(h, 0.5), 500, 563);
    assert_in_range(histogram_quantile_us(h, 0.99), 990, 1114);
    assert_in_range(histogram_quantile_us(h, 1.0), 1000, 1125);
}

static void one_value_is_every_quantile(void **state)
{
    struct histogram h = {.count = 1, .sum_us = 5};

    (void)state;
    h.buckets[histogram_bucket(5)] = 1;
    assert_int_equal(histogram_quantile_us(&h, 0.0), 5);
    assert_int_equal(histogram_quantile_us(&h, 0.5), 5);
    assert_int_equal(histogram_quantile_us(&h, 1.0), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_in_the_attached_set),
        cmocka_unit_test(buckets_follow_each_other),
        cmocka_unit_test(buckets_are_an_eighth_wide_at_most),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(one_value_is_every_quantile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
