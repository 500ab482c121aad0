/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/slo.h"

#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_MAX = 32, PERCENT = 100 };

static const char *const times[FARM_TIME_COUNT] = {"ttft", "token", "latency"};

static const struct {
    const char *name;
    double us;
} units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}, {"", 1e6}};

int farm_parse_duration(struct slice text, double *us, struct err *e)
{
    char number[NUMBER_MAX], *end;
    double value;

    slice_copy(text, number, sizeof(number));
    value = strtod(number, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && end != number; i++) {
        if (strcmp(end, units[i].name) == 0 && value >= 0 && value * units[i].us <= 1e15) {
            *us = value * units[i].us;
            return MCP_OK;
        }
    }
    return err_set(e, MCP_EARGUMENT, "expected a time, such as 2s or 250ms");
}

static bool read_name(struct slice name, struct farm_slo *out)
{
    for (size_t i = 0; i < FARM_TIME_COUNT; i++) {
        struct slice time = slice_str(times[i]);
        char number[NUMBER_MAX], *end;

        if (!slice_starts(name, time) || !slice_starts(slice_skip(name, time.len), SLICE("_p"))) {
            continue;
        }
        slice_copy(slice_skip(name, time.len + 2), number, sizeof(number));
        out->time = (enum farm_time)i;
        out->share = strtod(number, &end) / PERCENT;
        return end != number && *end == '\0' && out->share > 0 && out->share <= 1;
    }
    return false;
}

int farm_slo_parse(struct slice text, struct farm_slo *out, struct err *e)
{
    const char *equals = text.len == 0 ? NULL : memchr(text.ptr, '=', text.len);
    struct slice name = slice_of(text.ptr, equals == NULL ? 0 : (size_t)(equals - text.ptr));

    if (name.len == 0 || name.len >= sizeof(out->name) || !read_name(name, out)) {
        return err_set(e, MCP_EARGUMENT,
                       "expected ttft_p99=2s, or token_ or latency_ and another percentile");
    }
    slice_copy(name, out->name, sizeof(out->name));
    return farm_parse_duration(slice_skip(text, name.len + 1), &out->limit_us, e);
}

double farm_slo_value_us(const struct farm_slo *slo, const struct farm_report *r)
{
    const struct farm_histogram *of[FARM_TIME_COUNT] = {&r->first, &r->between, &r->whole};

    return farm_histogram_quantile(of[slo->time], slo->share);
}

bool farm_slo_met(const struct farm_slo *slos, size_t count, const struct farm_report *r)
{
    for (size_t i = 0; i < count; i++) {
        if (farm_slo_value_us(&slos[i], r) > slos[i].limit_us) {
            return false;
        }
    }
    return r->refused == 0;
}

void farm_format_duration(double us, char out[FARM_DURATION_MAX])
{
    const char *unit = us < 1e3 ? "us" : us < 1e6 ? "ms" : "s";
    double value = us < 1e3 ? us : us < 1e6 ? us / 1e3 : us / 1e6;
    int digits = value == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;

    (void)snprintf(out, FARM_DURATION_MAX, "%.*f %s", digits, value, unit);
}
