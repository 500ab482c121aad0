/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes have which models, for mcpgate nodes. */
#ifndef MCP_CLI_NODES_MODELS_H
#define MCP_CLI_NODES_MODELS_H

#include <yyjson.h>

/* A table of all models; one that is not the same everywhere has a row for each digest. */
void cli_nodes_print_models(yyjson_val *nodes);

#endif
