/* SPDX-License-Identifier: Apache-2.0 */
/* The options of serve, which check-config takes too. */
#ifndef MCP_CLI_SERVE_H
#define MCP_CLI_SERVE_H

#include "cli/cli.h"

struct config;
struct config_args;

/* What the argp of both is made of. */
extern const struct argp_option cli_serve_options[];
error_t cli_serve_parse(int key, char *arg, struct argp_state *state);
/* Reads the options and loads the configuration; warnings and errors are said on standard error.
 * NULL: it is wrong. `args` gets the options, for the rest of the process. */
struct config *cli_serve_config(const struct argp *argp, int argc, char **argv,
                                struct config_args *args);

#endif
