/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a model that are the same for all its requests (models.NAME.pin), as an Ollama loads
 * it anew for each other value. */
#ifndef MCP_GATEWAY_PINS_H
#define MCP_GATEWAY_PINS_H

#include <stdbool.h>

#include "base/slice.h"
#include "codec/request.h"
#include "node/node.h"

struct exchange;

/* The options a request to an Ollama node has in the end: its own or the inherited ones, those of
 * the pins in their place where its model has some. Empty: none. The text lasts until this is
 * called again. 0 or MCP_ENOMEM. */
int pins_options(struct exchange *x, struct slice *options, bool *pinned);

/* Where the request to `n` has options and its model has pins: `edits` set the request's options
 * with those of the pins in the place of its own. The text is the exchange's. 0 or MCP_ENOMEM. */
int pins_apply(struct exchange *x, const struct node *n, struct request_edits *edits);

#endif
