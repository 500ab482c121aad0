/* SPDX-License-Identifier: Apache-2.0 */
/* What an Ollama silently leaves out of requests to its /v1: members that other servers act on. */
#ifndef MCP_GATEWAY_IGNORED_H
#define MCP_GATEWAY_IGNORED_H

#include "base/buf.h"
#include "base/slice.h"

/* Appends the names of those in `body` (an object) that the path does not read, with ", " between
 * them. What says the same as saying nothing is left out: null, "n":1, "tool_choice":"auto". False:
 * out of memory. */
bool ignored_names(struct slice path, struct slice body, struct buf *out);

#endif
