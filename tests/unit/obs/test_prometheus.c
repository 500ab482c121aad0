/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "obs/prometheus.h"

static char *render(const struct counters *a, const struct counters *b)
{
    const struct counters *sets[] = {a, b};
    struct buf out = {0};

    assert_true(prometheus_render(sets, b == NULL ? 1 : 2, &out));
    assert_true(buf_append_byte(&out, '\0'));
    return out.data;
}

static struct counters *fresh(void)
{
    struct counters *set = calloc(1, sizeof(*set));

    assert_non_null(set);
    return set;
}

static void counters_are_summed_over_sets(void **state)
{
    struct counters *a = fresh();
    struct counters *b = fresh();
    char *text;

    (void)state;
    counters_attach(a);
    counter_add(COUNTER_CONN_MCP, 3);
    counter_add(COUNTER_OPEN_MCP, -1);
    counters_attach(b);
    counter_add(COUNTER_CONN_MCP, 4);
    counters_attach(NULL);
    text = render(a, b);
    assert_non_null(strstr(text, "# TYPE mcpgate_connections_total counter\n"));
    assert_non_null(strstr(text, "\nmcpgate_connections_total{face=\"mcp\"} 7\n"));
    assert_non_null(strstr(text, "\nmcpgate_connections_open{face=\"mcp\"} -1\n"));
    free(text);
    free(a);
    free(b);
}

static void labels_of_histograms_stand_before_their_bounds(void **state)
{
    struct counters *a = fresh();
    char *text;

    (void)state;
    counters_attach(a);
    histogram_record(HISTOGRAM_QUEUE_WAIT_NORMAL_US, 3);
    histogram_record(HISTOGRAM_QUEUE_WAIT_BATCH_US, 1000);
    histogram_record(HISTOGRAM_QUEUE_WAIT_BATCH_US, 1000);
    histogram_record(HISTOGRAM_EXCHANGE_US, 1);
    counters_attach(NULL);
    text = render(a, NULL);
    assert_non_null(
        strstr(text, "\nmcpgate_queue_wait_seconds_bucket{class=\"normal\",le=\"0.000003\"} 1\n"));
    assert_non_null(
        strstr(text, "\nmcpgate_queue_wait_seconds_bucket{class=\"batch\",le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(text, "\nmcpgate_queue_wait_seconds_sum{class=\"batch\"} 0.002000\n"));
    assert_non_null(strstr(text, "\nmcpgate_queue_wait_seconds_count{class=\"interactive\"} 0\n"));
    assert_non_null(strstr(text, "\nmcpgate_queue_wait_seconds_count{class=\"normal\"} 1\n"));
    assert_non_null(strstr(text, "\nmcpgate_exchange_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(text, "\nmcpgate_exchange_seconds_count 1\n"));
    free(text);
    free(a);
}

/* Prometheus refuses a family that is described twice. */
static void each_family_is_described_once(void **state)
{
    struct counters *a = fresh();
    char *text = render(a, NULL);
    size_t described = 0;

    (void)state;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            described++;
        }
    }
    free(text);
    text = render(a, NULL);
    for (char *at = text; (at = strstr(at, "# TYPE ")) != NULL; at += 7) {
        char family[128];
        char *again;

        assert_int_equal(sscanf(at, "# TYPE %127s", family), 1);
        (void)snprintf(family + strlen(family), sizeof(family) - strlen(family), " ");
        again = strstr(at + 7 + 1, "# TYPE ");
        while (again != NULL) {
            assert_int_not_equal(strncmp(again + 7, family, strlen(family)), 0);
            again = strstr(again + 7, "# TYPE ");
        }
    }
    assert_true(described > 20);
    free(text);
    free(a);
}

static void a_histogram_has_cumulative_buckets_sum_and_count(void **state)
{
    struct counters *a = fresh();
    char *text;

    (void)state;
    counters_attach(a);
    histogram_record(HISTOGRAM_RELAY_US, 5);
    histogram_record(HISTOGRAM_RELAY_US, 5);
    histogram_record(HISTOGRAM_RELAY_US, 1000);
    counters_attach(NULL);
    text = render(a, NULL);
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_bucket{le=\"0.000005\"} 2\n"));
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_bucket{le=\"0.000003\"} 0\n"));
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_bucket{le=\"0.000895\"} 2\n"));
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_bucket{le=\"0.001023\"} 3\n"));
    assert_non_null(strstr(text, "} 3\nmcpgate_relay_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_sum 0.001010\n"));
    assert_non_null(strstr(text, "\nmcpgate_relay_seconds_count 3\n"));
    free(text);
    free(a);
}

/* A bound that comes and goes makes rates wrong. */
static void the_bounds_are_always_the_same(void **state)
{
    struct counters *a = fresh();
    char *empty = render(a, NULL);
    char *used;
    size_t lines = 0;

    (void)state;
    counters_attach(a);
    for (uint64_t us = 1; us < (uint64_t)1 << 40; us *= 3) {
        histogram_record(HISTOGRAM_RELAY_US, us);
    }
    counters_attach(NULL);
    used = render(a, NULL);
    for (char *at = used; (at = strstr(at, "mcpgate_relay_seconds_bucket{")) != NULL; at++) {
        char bound[64];

        (void)snprintf(bound, sizeof(bound), "%.*s", (int)strcspn(at, "}"), at);
        assert_non_null(strstr(empty, bound));
        lines++;
    }
    assert_int_equal(lines, HISTOGRAM_BUCKETS / 2);
    free(empty);
    free(used);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_summed_over_sets),
        cmocka_unit_test(labels_of_histograms_stand_before_their_bounds),
        cmocka_unit_test(each_family_is_described_once),
        cmocka_unit_test(a_histogram_has_cumulative_buckets_sum_and_count),
        cmocka_unit_test(the_bounds_are_always_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
