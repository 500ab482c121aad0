/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of the operation health (protocol.md section 4). */
#ifndef MCP_GATEWAY_HEALTH_H
#define MCP_GATEWAY_HEALTH_H

#include <stdbool.h>

#include "base/buf.h"

struct nodes;

/* "ok": every node is up; "degraded": some are; "down": none is. */
const char *health_status(struct nodes *nodes);
/* {"status","version","nodes":[{"name","up","kind","url","version","models","error"}]} */
bool health_body(struct nodes *nodes, struct buf *out);

#endif
