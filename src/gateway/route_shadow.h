/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a request that goes to another arm of its route, whose answer is thrown away: for what
 * it says of the arm. The gateway's own exchange; at most some at a time on each loop. */
#ifndef MCP_GATEWAY_ROUTE_SHADOW_H
#define MCP_GATEWAY_ROUTE_SHADOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct exchange;
struct sub;

/* Of the exchange as it stands before its own node is chosen; left out where there is no room. */
void route_shadow_start(const struct exchange *of, uint64_t route_id, size_t arm,
                        struct slice model);
/* Ends all that run on the loop: nobody waits for them. */
void route_shadows_drop(struct sub *sub);

#endif
