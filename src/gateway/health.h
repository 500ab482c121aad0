/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of the operation health (protocol.md section 4). */
#ifndef MCP_GATEWAY_HEALTH_H
#define MCP_GATEWAY_HEALTH_H

#include <stdbool.h>

#include "base/buf.h"

struct node;
struct nodes;

/* "ok": every node is up; "degraded": some are; "down": none is. */
const char *health_status(struct nodes *nodes);
/* {"status","version","nodes":[...],"drift":[...]} (cluster.h); and without the end, for more. */
bool health_body(struct nodes *nodes, struct buf *out);
void health_begin(struct nodes *nodes, struct buf *out);

/* {"name","up","state","service","kind","url","version","found_by","models","resident","running","drained",
 * "error"}; a failure is sticky. */
void health_node(const struct nodes *nodes, const struct node *n, struct buf *out);

#endif
