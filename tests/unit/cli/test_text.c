/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/text.h"

static void test_bytes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1 KB"},
        {1500, "1.5 KB"},
        {45960996, "45 MB"},
        {4661224676, "4.7 GB"},
        {9999999999, "10.0 GB"},
        {12000000000, "12 GB"},
        {2000000000000, "2 TB"},
        {UINT64_MAX, "18446744 TB"},
    };
    char text[CLI_FORMAT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_format_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_durations(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {999, "999ns"},
        {1000, "1\xc2\xb5s"},
        {1500, "1.5\xc2\xb5s"},
        {109779333, "109.779333ms"},
        {130000000, "130ms"},
        {1000000000, "1s"},
        {1050000000, "1.05s"},
        {4648158209, "4.648158209s"},
        {60000000000, "1m0s"},
        {123250000000, "2m3.25s"},
        {3600000000000, "1h0m0s"},
        {90061000000001, "25h1m1.000000001s"},
        {UINT64_MAX, "5124095h34m33.709551615s"},
    };
    char text[CLI_FORMAT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_format_duration(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_times(void **state)
{
    time_t at;

    (void)state;
    assert_true(cli_parse_time(SLICE("1970-01-01T00:00:00Z"), &at));
    assert_int_equal(at, 0);
    assert_true(cli_parse_time(SLICE("2025-08-06T14:23:28.7482+02:00"), &at));
    assert_int_equal(at, 1754483008);
    assert_true(cli_parse_time(SLICE("2025-08-06T07:53:28-04:30"), &at));
    assert_int_equal(at, 1754483008);
    assert_false(cli_parse_time(SLICE(""), &at));
    assert_false(cli_parse_time(SLICE("yesterday"), &at));
    assert_false(cli_parse_time(SLICE("2025-08-06"), &at));
    assert_false(cli_parse_time(SLICE("2025-08-06T14:23:28"), &at));
    assert_false(cli_parse_time(SLICE("2025-08-06T14:23:28Zulu"), &at));
    assert_false(cli_parse_time(SLICE("2025-08-06T14:23:28+2"), &at));
    assert_false(cli_parse_time(SLICE("2025-08-06T14:23:28.00000000000000000000000000000Z"), &at));
}

static void test_when(void **state)
{
    static const struct {
        int64_t seconds; /* after the time */
        const char *text;
    } cases[] = {
        {0, "Less than a second ago"}, {1, "1 second ago"},
        {59, "59 seconds ago"},        {119, "About a minute ago"},
        {120, "2 minutes ago"},        {3599, "59 minutes ago"},
        {3600, "About an hour ago"},   {5400, "2 hours ago"},
        {86400, "24 hours ago"},       {2 * 86400, "2 days ago"},
        {14 * 86400, "2 weeks ago"},   {60 * 86400, "2 months ago"},
        {800 * 86400, "2 years ago"},  {-1, "1 second from now"},
        {-290, "4 minutes from now"},  {INT64_C(-30) * 365 * 86400, "Forever"},
    };
    char text[CLI_FORMAT_MAX];
    time_t at;

    (void)state;
    assert_true(cli_parse_time(SLICE("2025-08-06T14:23:28Z"), &at));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_format_when(SLICE("2025-08-06T14:23:28Z"), at + cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
    cli_format_when(SLICE("0001-01-01T00:00:00Z"), at, text);
    assert_string_equal(text, "Never");
    cli_format_when(SLICE("x"), at, text);
    assert_string_equal(text, "Never");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_when),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
