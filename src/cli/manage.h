/* SPDX-License-Identifier: Apache-2.0 */
/* What pull, create, cp and rm share: on which nodes it is done, the request, and the progress as a
 * line that changes. */
#ifndef MCP_CLI_MANAGE_H
#define MCP_CLI_MANAGE_H

#include <argp.h>
#include <stdbool.h>

#include <yyjson.h>

#include "cli/cli.h"

struct cli_manage {
    struct cli_common common;
    char *nodes;         /* "all", a number, or names; NULL: as the gateway has it */
    yyjson_mut_doc *doc; /* the request */
    yyjson_mut_val *root;
};

/* Ends the program when memory is out. */
void cli_manage_init(struct cli_manage *m, const char *op);
void cli_manage_fini(struct cli_manage *m);
/* As children of a parser, whose input is then a struct cli_manage: --nodes, and --replicas too. */
extern const struct argp_child cli_manage_children[];
extern const struct argp_child cli_manage_placing_children[];
/* Sets a text of the request. */
void cli_manage_set(struct cli_manage *m, const char *key, const char *text);
/* Asks, shows the progress, and says `done` where it went well (NULL: nothing more than the
 * progress did). An exit status. */
int cli_manage_run(struct cli_manage *m, const char *done);

#endif
