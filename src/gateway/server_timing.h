/* SPDX-License-Identifier: Apache-2.0 */
/* The header Server-Timing: where the time until an answer's head went. Pure. */
#ifndef MCP_GATEWAY_SERVER_TIMING_H
#define MCP_GATEWAY_SERVER_TIMING_H

#include "base/slice.h"

struct exchange;

enum { SERVER_TIMING_MAX = 160 };

/* "queue;dur=0.000, node;dur=12.345, gateway;dur=0.120" in milliseconds, at this moment; `load` is
 * there where the node has told how long it took, `queue` and `node` where a node was asked. */
struct slice server_timing(const struct exchange *x, char out[SERVER_TIMING_MAX]);

#endif
