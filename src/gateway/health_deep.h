/* SPDX-License-Identifier: Apache-2.0 */
/* health with "deep": true: one node generates one token before the answer is given. */
#ifndef MCP_GATEWAY_HEALTH_DEEP_H
#define MCP_GATEWAY_HEALTH_DEEP_H

#include <stdbool.h>

struct exchange;

/* Whether the request asks for it. */
bool health_deep_wanted(const struct exchange *x);
/* Turns the exchange into a generate call of one token, whose outcome is then told as the answer of
 * health. 0, or the error that ends it: MCP_ENOMEM, MCP_ENODE_UNAVAILABLE (no node has a model to
 * try). */
int health_deep_begin(struct exchange *x);

#endif
