/* SPDX-License-Identifier: Apache-2.0 */
/* Running a simulated cluster from a command: how far it is on a terminal, and Ctrl-C, which ends
 * it with what there is. */
#ifndef MCP_CLI_FARM_RUN_H
#define MCP_CLI_FARM_RUN_H

#include <stdbool.h>

#include <yyjson.h>

#include "base/buf.h"
#include "cli/farm_options.h"
#include "cli/text.h"
#include "farm/report.h"

struct cli_farm_result {
    enum farm_policy policy;
    struct farm_report report;
    struct farm_totals totals;
    bool whole; /* not interrupted */
};

/* From now on Ctrl-C ends what runs, and a second one the program. */
void cli_farm_watch_interrupt(void);
bool cli_farm_interrupted(void);

/* Runs all requests; `name` says what it is. Free the result with cli_farm_result_fini. */
void cli_farm_run(const struct cli_farm *o, const struct farm_node *nodes, size_t node_count,
                  enum farm_policy policy, const char *name, struct cli_farm_result *out);
void cli_farm_result_fini(struct cli_farm_result *r);

/* A formatted cell. */
void cli_farm_cell(struct cli_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What the requests are, in a line. */
void cli_farm_about(const struct cli_farm *o, struct buf *out);
/* The options that results follow from, and a result. */
void cli_farm_add_options(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct cli_farm *o);
void cli_farm_add_report(yyjson_mut_doc *doc, yyjson_mut_val *object,
                         const struct cli_farm_result *r);
/* Writes `doc` to --json, if it was given; `chart` to --svg. CLI_EXIT_OK, or after an error was
 * said. */
int cli_farm_write_json(const struct cli_farm *o, yyjson_mut_doc *doc);
int cli_farm_write_svg(const struct cli_farm *o, const struct buf *chart);

#endif
