/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway as a process: signals, banner, log, open files. */
#ifndef MCP_GATEWAY_PROCESS_H
#define MCP_GATEWAY_PROCESS_H

#include "gateway/config.h"

/* Listens, prints the banner, serves until SIGTERM or SIGINT. Returns the exit code: 0, 1, 2 where
 * the configuration cannot be had, or GATEWAY_EXIT_LISTEN where an address cannot be listened on.
 * `args` is what `config` was loaded with, and is loaded with again. */
int process_run(struct config *config, const struct config_args *args);

#endif
