/* SPDX-License-Identifier: Apache-2.0 */
/* The names of all models that nodes of the gateway have. */
#ifndef MCP_CLI_MODELS_H
#define MCP_CLI_MODELS_H

#include "cli/conn.h"
#include "cli/words.h"

/* Sorted, each once. CLI_EXIT_OK, or the exit status after an error was said. */
int cli_models(struct cli_conn *conn, struct cli_words *models);

#endif
