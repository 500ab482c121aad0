/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the commands: for running one, and for help, completion and the manual page, which
 * read their options from it. Constant data. */
#ifndef MCP_CLI_COMMANDS_H
#define MCP_CLI_COMMANDS_H

#include <stddef.h>

#include "cli/cli.h"

struct cli_command {
    int (*run)(int argc, char **argv);
    const struct argp *argp;
    const char *name;
    const char *meaning;
};

/* In the order of the help; one without a name is behind the last. */
extern const struct cli_command cli_commands[];

/* NULL: there is none of that name. */
const struct cli_command *cli_command_find(const char *name);

#endif
