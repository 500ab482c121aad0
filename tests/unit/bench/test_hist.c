/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "load/hist.h"

static struct hist h;

static int clear(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    return 0;
}

static void an_empty_one_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(hist_quantile_ns(&h, 0.5), 0);
    assert_true(hist_mean_ns(&h) == 0);
}

static void short_durations_are_exact(void **state)
{
    (void)state;
    for (uint64_t ns = 1; ns <= 100; ns++) {
        hist_add(&h, ns);
    }
    assert_int_equal(hist_quantile_ns(&h, 0), 1);
    assert_int_equal(hist_quantile_ns(&h, 0.5), 50);
    assert_int_equal(hist_quantile_ns(&h, 0.9), 90);
    assert_int_equal(hist_quantile_ns(&h, 0.99), 99);
    assert_int_equal(hist_quantile_ns(&h, 0.999), 100);
    assert_int_equal(hist_quantile_ns(&h, 1), 100);
    assert_true(hist_mean_ns(&h) == 50.5);
}

/* Alone between a shorter and a longer one, so that its own bucket's end is seen. */
static void check_one(uint64_t ns)
{
    uint64_t got;

    (void)clear(NULL);
    hist_add(&h, 0);
    hist_add(&h, ns);
    hist_add(&h, HIST_MAX_NS);
    got = hist_quantile_ns(&h, 0.5);
    assert_true(got >= ns);
    assert_true(got - ns <= ns / 128);
}

static void no_duration_is_off_by_more_than_its_bucket(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < HIST_MAX_BITS; bit++) {
        uint64_t power = (uint64_t)1 << bit;

        check_one(power - 1);
        check_one(power);
        check_one(power + power / 3);
        check_one(power + power / 2 + 1 < HIST_MAX_NS ? power + power / 2 + 1 : power);
    }
    check_one(HIST_MAX_NS);
}

static void buckets_follow_each_other(void **state)
{
    uint64_t before = 0;

    (void)state;
    for (uint64_t ns = 1; ns < 100000; ns++) {
        uint64_t end;

        (void)clear(NULL);
        hist_add(&h, ns);
        hist_add(&h, HIST_MAX_NS);
        end = hist_quantile_ns(&h, 0.5);
        assert_true(end == before || before == ns - 1); /* a new one begins behind the last */
        before = end;
    }
}

static void the_longest_is_exact_and_bounds_all(void **state)
{
    (void)state;
    hist_add(&h, 1000000);
    hist_add(&h, 1000001);
    assert_int_equal(h.max_ns, 1000001);
    assert_int_equal(hist_quantile_ns(&h, 0.999), 1000001);
    hist_add(&h, UINT64_MAX);
    assert_int_equal(h.max_ns, HIST_MAX_NS);
    assert_int_equal(hist_quantile_ns(&h, 1), HIST_MAX_NS);
    assert_int_equal(h.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_one_says_nothing, clear),
        cmocka_unit_test_setup(short_durations_are_exact, clear),
        cmocka_unit_test_setup(no_duration_is_off_by_more_than_its_bucket, clear),
        cmocka_unit_test_setup(buckets_follow_each_other, clear),
        cmocka_unit_test_setup(the_longest_is_exact_and_bounds_all, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
