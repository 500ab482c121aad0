/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/choose.h"

#define N(id, up, suits, has)                                                                      \
    {                                                                                              \
        id, up, suits, has                                                                         \
    }

static const struct {
    const char *why;
    struct choose_node nodes[3];
    size_t count;
    bool needs_model;
    uint64_t prefer_id;
    enum choose_verdict verdict;
    size_t chosen;
} cases[] = {
    {"no nodes", {N(0, 0, 0, 0)}, 0, true, 0, CHOOSE_NONE_UP, 0},
    {"all down", {N(1, 0, 1, 1), N(2, 0, 1, 1)}, 2, true, 0, CHOOSE_NONE_UP, 0},
    {"a down one does not count", {N(1, 0, 1, 1), N(2, 1, 0, 1)}, 2, true, 0, CHOOSE_NONE_SUITS, 0},
    {"nobody lists it", {N(1, 1, 1, 0), N(2, 1, 1, 0)}, 2, true, 0, CHOOSE_UNKNOWN_MODEL, 0},
    {"only a down one lists it",
     {N(1, 0, 1, 1), N(2, 1, 1, 0)},
     2,
     true,
     0,
     CHOOSE_UNKNOWN_MODEL,
     0},
    {"the first that lists it",
     {N(1, 1, 1, 0), N(2, 1, 1, 1), N(3, 1, 1, 1)},
     3,
     true,
     0,
     CHOOSE_OK,
     1},
    {"the session's last", {N(1, 1, 1, 1), N(2, 1, 1, 1), N(3, 1, 1, 1)}, 3, true, 3, CHOOSE_OK, 2},
    {"the last is down", {N(1, 1, 1, 1), N(2, 0, 1, 1)}, 2, true, 2, CHOOSE_OK, 0},
    {"the last lacks the model", {N(1, 1, 1, 1), N(2, 1, 1, 0)}, 2, true, 2, CHOOSE_OK, 0},
    {"a hint is no rule without need", {N(1, 1, 1, 0), N(2, 1, 1, 1)}, 2, false, 1, CHOOSE_OK, 1},
    {"merely preferred", {N(1, 1, 1, 0), N(2, 1, 1, 1)}, 2, false, 0, CHOOSE_OK, 1},
    {"any will do", {N(1, 1, 1, 0), N(2, 1, 1, 0)}, 2, false, 0, CHOOSE_OK, 0},
    {"suiting matters more", {N(1, 1, 0, 1), N(2, 1, 1, 0)}, 2, false, 0, CHOOSE_OK, 1},
};

static void verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t chosen = 0;
        enum choose_verdict v = choose_node(cases[i].nodes, cases[i].count, cases[i].needs_model,
                                            cases[i].prefer_id, &chosen);

        print_message("%s\n", cases[i].why);
        assert_int_equal(v, cases[i].verdict);
        if (v == CHOOSE_OK) {
            assert_int_equal(chosen, cases[i].chosen);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
