/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/rfc3339.h"

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T19:30:00-04:30", 0},
        {"1969-12-31T23:59:59.5Z", -500000},
        {"2000-02-29T12:00:00Z", INT64_C(951825600000000)},
        {"2000-03-01T00:00:00Z", INT64_C(951868800000000)},
        {"1900-03-01T00:00:00Z", INT64_C(-2203891200000000)},
        {"2026-11-22T12:00:00.123456789Z", INT64_C(1795348800123456)},
        {"2026-11-22T13:00:00.1234567+01:00", INT64_C(1795348800123456)},
        {"2318-03-01T14:50:39.684Z", INT64_C(10986936639684000)},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = 42;

        assert_true(rfc3339_read(slice_str(cases[i].text), &us));
        assert_int_equal(us, cases[i].us);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T12:00:00",
        "2026-11-22 12:00:00Z",
        "2026-13-22T12:00:00Z",
        "2026-00-22T12:00:00Z",
        "2026-11-22T12:00:00z",
        "2026-11-22T12:00:00Zx",
        "2026-11-22T12:00:00+01",
        "2026-11-22T12:00:00+0100",
        "2026-1x-22T12:00:00Z",
        "+026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.12",
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(rfc3339_read(slice_str(cases[i]), &us));
    }
    assert_false(rfc3339_read((struct slice){0}, &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
