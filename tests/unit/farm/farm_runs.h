/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of a farm that are watched: what happens to each request happens in order, and each ends
 * once. */
#ifndef MCP_TESTS_FARM_RUNS_H
#define MCP_TESTS_FARM_RUNS_H

#include "farm/farm.h"
#include "farm/report.h"

struct seen {
    struct farm_report report;
    uint64_t arrived, ended;
    unsigned char *stages; /* by tag */
};

/* All requests of `o.next`, of at most three tenants; free with farm_report_fini(&...report). */
struct seen run_farm(struct farm_options o, uint64_t requests);

#endif
