/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate plan: what was asked, and what was tried; and how it is shown. */
#ifndef MCP_CLI_PLAN_H
#define MCP_CLI_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/farm_options.h"
#include "cli/farm_run.h"
#include "farm/slo.h"

enum { CLI_PLAN_SLOS_MAX = 8 };

/* A cluster that was tried. */
struct cli_plan_point {
    size_t nodes;
    uint32_t slots;
    bool met, chosen, of_now;
    bool extra;                          /* only as it is that of now */
    double values_us[CLI_PLAN_SLOS_MAX]; /* of each objective */
    double busy;                         /* share of the slots */
    struct cli_farm_result *result;
};

struct cli_plan {
    struct cli_farm farm;
    struct farm_slo slos[CLI_PLAN_SLOS_MAX];
    size_t slo_count;
    unsigned long slots[CLI_FARM_LIST_MAX];
    size_t slots_count;
    unsigned long now_nodes, now_slots; /* 0: not said */
    unsigned long most;
    struct cli_plan_point *points;
    size_t point_count;
    bool uneven;
};

/* All that was tried, by slots and nodes; then the answer. `best` NULL: nothing will do. */
void cli_plan_print(const struct cli_plan *p);
void cli_plan_print_answer(const struct cli_plan *p, const struct cli_plan_point *best);
/* To --json and --svg, which was given. CLI_EXIT_OK, or after an error was said. */
int cli_plan_write_json(const struct cli_plan *p, const struct cli_plan_point *best);
int cli_plan_write_svg(const struct cli_plan *p, const struct buf *about);

#endif
