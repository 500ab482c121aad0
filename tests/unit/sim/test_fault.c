/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/fault.h"

static void the_grammar(void **state)
{
    static const struct {
        const char *text;
        struct sim_fault fault;
    } cases[] = {
        {"refuse", {SIM_FAULT_REFUSE, 503, 1}},
        {"refuse:429", {SIM_FAULT_REFUSE, 429, 1}},
        {"hang", {SIM_FAULT_HANG, 0, 1}},
        {"close", {SIM_FAULT_CLOSE, 0, 1}},
        {"reset", {SIM_FAULT_RESET, 1, 1}},
        {"reset:0", {SIM_FAULT_RESET, 0, 1}},
        {"reset:31@every 10", {SIM_FAULT_RESET, 31, 10}},
        {"garbage@every 2", {SIM_FAULT_GARBAGE, 0, 2}},
        {"cut", {SIM_FAULT_CUT, 1, 1}},
        {"drip:1", {SIM_FAULT_DRIP, 1, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_fault f;

        assert_int_equal(sim_fault_parse(&f, slice_str(cases[i].text), NULL), MCP_OK);
        assert_int_equal(f.kind, cases[i].fault.kind);
        assert_int_equal(f.number, cases[i].fault.number);
        assert_int_equal(f.every, cases[i].fault.every);
    }
}

static void all_else_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "resets",
        "reset:",
        "reset:x",
        "reset:-1",
        "reset:1x",
        "reset:1 ",
        "reset@",
        "reset@every",
        "reset@every ",
        "reset@every 0",
        "reset@every x",
        "reset@every 1x",
        "reset@every10",
        "refuse:200",
        "refuse:600",
        "drip:60001",
        "reset:99999999999",
        ":1",
        "@every 2",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct sim_fault f;
        struct err e = {0};

        assert_int_equal(sim_fault_parse(&f, slice_str(texts[i]), &e), MCP_EARGUMENT);
        assert_true(e.text[0] != '\0');
    }
}

static void every_so_many_calls(void **state)
{
    struct sim_fault f = {SIM_FAULT_RESET, 1, 3};
    unsigned hits = 0;

    (void)state;
    for (uint64_t i = 1; i <= 9; i++) {
        bool hit = sim_fault_hits(&f, i);

        assert_int_equal(hit, i % 3 == 0);
        hits += hit;
    }
    assert_int_equal(hits, 3);
    f.kind = SIM_FAULT_NONE;
    assert_false(sim_fault_hits(&f, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar),
        cmocka_unit_test(all_else_is_refused),
        cmocka_unit_test(every_so_many_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
