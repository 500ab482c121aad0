/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "load/schedule.h"

enum { SECOND_NS = 1000000000 };

static uint64_t take(struct schedule *s)
{
    uint64_t ns = schedule_next_ns(s);

    schedule_advance(s);
    return ns;
}

static void even_ones_do_not_drift(void **state)
{
    struct schedule s;

    (void)state;
    schedule_init(&s, 5, 3, false, 1);
    assert_int_equal(take(&s), 5);
    assert_int_equal(take(&s), 5 + 333333333);
    assert_int_equal(take(&s), 5 + 666666666);
    for (int i = 3; i < 3000000; i++) {
        schedule_advance(&s);
    }
    assert_int_equal(schedule_next_ns(&s), 5 + (uint64_t)1000000 * SECOND_NS);
}

static void looking_changes_nothing(void **state)
{
    struct schedule s;

    (void)state;
    schedule_init(&s, 0, 1000, true, 1);
    assert_int_equal(schedule_next_ns(&s), schedule_next_ns(&s));
}

/* Of a Poisson process: the mean of the gaps, and that they scatter as much as their mean. */
static void random_ones_keep_the_rate(void **state)
{
    enum { COUNT = 200000, RATE = 10000 };
    double sum = 0, squares = 0, mean, variance;
    uint64_t before = 7;
    struct schedule s;

    (void)state;
    schedule_init(&s, before, RATE, true, 42);
    for (int i = 0; i < COUNT; i++) {
        uint64_t ns = take(&s);
        double gap_s = (double)(ns - before) / SECOND_NS;

        assert_true(ns >= before);
        sum += gap_s;
        squares += gap_s * gap_s;
        before = ns;
    }
    mean = sum / COUNT;
    variance = squares / COUNT - mean * mean;
    assert_true(mean * RATE > 0.99 && mean * RATE < 1.01);
    assert_true(variance * RATE * RATE > 0.97 && variance * RATE * RATE < 1.03);
}

static void random_ones_follow_from_the_seed(void **state)
{
    struct schedule a, b, c;
    int same = 0;

    (void)state;
    schedule_init(&a, 0, 1000, true, 1);
    schedule_init(&b, 0, 1000, true, 1);
    schedule_init(&c, 0, 1000, true, 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t ns = take(&a);

        assert_int_equal(ns, take(&b));
        same += ns == take(&c);
    }
    assert_true(same < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_ones_do_not_drift),
        cmocka_unit_test(looking_changes_nothing),
        cmocka_unit_test(random_ones_keep_the_rate),
        cmocka_unit_test(random_ones_follow_from_the_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
