/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "farm/histogram.h"
#include "farm/random.h"
#include "farm/slo.h"

enum { VALUES = 5000 };

static void times(void **state)
{
    static const struct {
        const char *text;
        double us;
    } good[] = {{"2s", 2e6},    {"250ms", 250e3}, {"30us", 30}, {"1.5m", 90e6},
                {"1h", 3600e6}, {"3", 3e6},       {"0", 0}};
    static const char *const bad[] = {"", "s", "-1s", "2 s", "2x", "nan", "1e99s", "two"};
    struct err e;
    double us;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(farm_parse_duration(slice_str(good[i].text), &us, &e), MCP_OK);
        assert_true(us == good[i].us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(farm_parse_duration(slice_str(bad[i]), &us, &e), MCP_EARGUMENT);
        assert_string_equal(e.text, "expected a time, such as 2s or 250ms");
    }
}

static void objectives(void **state)
{
    static const char *const bad[] = {
        "",           "ttft_p99",   "ttft_p99=",    "p99=2s",    "ttft=2s",
        "ttft_p0=2s", "ttft_px=2s", "ttft_p101=2s", "frob_p9=2s"};
    struct farm_slo slo;
    struct err e;

    (void)state;
    assert_int_equal(farm_slo_parse(SLICE("ttft_p99=2s"), &slo, &e), MCP_OK);
    assert_int_equal(slo.time, FARM_TTFT);
    assert_true(slo.share == 0.99 && slo.limit_us == 2e6);
    assert_string_equal(slo.name, "ttft_p99");
    assert_int_equal(farm_slo_parse(SLICE("token_p50=40ms"), &slo, &e), MCP_OK);
    assert_int_equal(slo.time, FARM_TOKEN);
    assert_int_equal(farm_slo_parse(SLICE("latency_p99.9=1m"), &slo, &e), MCP_OK);
    assert_int_equal(slo.time, FARM_LATENCY);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(farm_slo_parse(slice_str(bad[i]), &slo, &e), MCP_EARGUMENT);
    }
}

static void written_times(void **state)
{
    static const struct {
        double us;
        const char *text;
    } times_of[] = {{0, "0 us"},        {7, "7.00 us"},      {38000, "38.0 ms"},
                    {123456, "123 ms"}, {1234567, "1.23 s"}, {250e6, "250 s"}};
    char text[FARM_DURATION_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(times_of) / sizeof(times_of[0]); i++) {
        farm_format_duration(times_of[i].us, text);
        assert_string_equal(text, times_of[i].text);
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void quantiles(void **state)
{
    static struct farm_histogram h;
    static uint64_t values[VALUES];
    uint64_t rng = 5;

    (void)state;
    assert_true(farm_histogram_quantile(&h, 0.5) == 0 && farm_histogram_mean(&h) == 0);
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = (uint64_t)farm_random_log_normal(&rng, 1e5, 3);
        farm_histogram_add(&h, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), by_size);
    for (double share = 0.01; share < 1; share += 0.01) {
        double found = farm_histogram_quantile(&h, share);
        double exact = (double)values[(size_t)(share * VALUES)];

        assert_true(found > 0.97 * exact - 1 && found < 1.03 * exact + 1);
    }
    assert_true(farm_histogram_quantile(&h, 1) == (double)values[VALUES - 1]);
    farm_histogram_add(&h, UINT64_MAX); /* beyond all buckets */
    assert_true(farm_histogram_quantile(&h, 1) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(objectives),
        cmocka_unit_test(written_times),
        cmocka_unit_test(quantiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
