/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm/search.h"

enum { MOST = 300, TRIES_MOST = 20 };

static size_t tries;

static struct farm_search search(size_t first, size_t most, bool (*will_do)(size_t, size_t),
                                 size_t enough)
{
    struct farm_search s;
    size_t n;

    tries = 0;
    farm_search_begin(&s, first, most);
    while (farm_search_next(&s, &n)) {
        assert_in_range(n, 1, most);
        assert_true(++tries < 10 * TRIES_MOST);
        farm_search_tell(&s, will_do(n, enough));
    }
    return s;
}

static bool from(size_t n, size_t enough)
{
    return n >= enough;
}

static void whatever_the_answer_and_the_guess(void **state)
{
    (void)state;
    for (size_t enough = 1; enough <= MOST; enough++) {
        for (size_t first = 1; first <= MOST; first += 13) {
            struct farm_search s = search(first, MOST, from, enough);

            assert_int_equal(s.high, enough);
            assert_false(s.uneven);
            assert_true(tries <= TRIES_MOST);
        }
    }
}

static void none_will_do(void **state)
{
    (void)state;
    assert_int_equal(search(1, MOST, from, MOST + 1).high, 0);
    assert_int_equal(search(MOST, MOST, from, MOST + 1).high, 0);
    assert_int_equal(search(1, 1, from, 1).high, 1);
}

static bool all_but_the_next(size_t n, size_t enough)
{
    return n >= enough && n != enough + 1;
}

/* One that will do by luck, while one more will not, is not the answer. */
static void luck_is_passed_over(void **state)
{
    (void)state;
    for (size_t enough = 1; enough < MOST - 10; enough += 7) {
        struct farm_search s = search(1, MOST, all_but_the_next, enough);

        assert_int_equal(s.high, enough + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_answer_and_the_guess),
        cmocka_unit_test(none_will_do),
        cmocka_unit_test(luck_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
