/* SPDX-License-Identifier: Apache-2.0 */
/* Charts of what farms did, as SVG. Pure. */
#ifndef MCP_FARM_CHART_H
#define MCP_FARM_CHART_H

#include "base/buf.h"
#include "farm/report.h"
#include "farm/slo.h"

struct farm_chart_policy {
    enum farm_policy policy;
    const struct farm_report *report;
};

/* Which share of requests had their first token by when, for each policy; and beside it what else
 * tells them apart. `about`: a line under the title. */
void farm_chart_compare(struct buf *out, const char *about,
                        const struct farm_chart_policy *policies, size_t count);

struct farm_chart_plan {
    size_t nodes;
    uint32_t slots;
    double value_us; /* of the objective */
    bool met;
    bool chosen;
};

/* The objective over nodes, a line for each number of slots; points by slots, then nodes. */
void farm_chart_plan(struct buf *out, const char *about, const struct farm_slo *slo,
                     const struct farm_chart_plan *points, size_t count);

#endif
