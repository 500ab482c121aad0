/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a service: a time that a share of its requests keep, such as ttft_p99=2s. Pure.
 */
#ifndef MCP_FARM_SLO_H
#define MCP_FARM_SLO_H

#include "base/err.h"
#include "farm/report.h"

enum farm_time {
    FARM_TTFT,    /* to the first token */
    FARM_TOKEN,   /* from one token to the next */
    FARM_LATENCY, /* to the end */
    FARM_TIME_COUNT
};

enum { FARM_SLO_NAME_MAX = 24 };

struct farm_slo {
    enum farm_time time;
    double share; /* 0.99 */
    double limit_us;
    char name[FARM_SLO_NAME_MAX]; /* "ttft_p99" */
};

/* "2s", "250ms", "30us", "5m", "1h"; without a unit seconds. MCP_EARGUMENT where it is none. */
int farm_parse_duration(struct slice text, double *us, struct err *e);
int farm_slo_parse(struct slice text, struct farm_slo *out, struct err *e);

/* What it was. */
double farm_slo_value_us(const struct farm_slo *slo, const struct farm_report *r);
/* All of them are kept, and nothing was refused. */
bool farm_slo_met(const struct farm_slo *slos, size_t count, const struct farm_report *r);

enum { FARM_DURATION_MAX = 24 };
/* "1.24 s", "38 ms", "12 us". */
void farm_format_duration(double us, char out[FARM_DURATION_MAX]);

#endif
