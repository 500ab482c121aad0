/* SPDX-License-Identifier: Apache-2.0 */
/* The options of serve, which check-config takes too. */
#ifndef MCP_CLI_SERVE_H
#define MCP_CLI_SERVE_H

#include "cli/cli.h"

struct config;

/* Reads the options and loads the configuration; warnings and errors are said on standard error.
 * NULL: it is wrong. `doc` is the command's help. */
struct config *cli_serve_config(int argc, char **argv, const char *doc);

#endif
