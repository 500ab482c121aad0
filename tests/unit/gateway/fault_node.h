/* SPDX-License-Identifier: Apache-2.0 */
/* A node on the loop of a gateway whose calls and allocations go wrong, so that its own do too: it
 * answers each request with FAULT_PARTS parts at once, then closes. One at a time. */
#ifndef MCP_TESTS_FAULT_NODE_H
#define MCP_TESTS_FAULT_NODE_H

#include "reactor/loop.h"
#include "reactor/sock.h"

enum { FAULT_PARTS = 3 };

#define FAULT_LAST                                                                                 \
    "{\"model\":\"m:latest\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}"

/* All parts but the last, which is FAULT_LAST. */
void fault_node_begin(struct loop *loop, const char *part);
/* A listener_cb. */
void fault_node_accept(void *owner, int fd, const struct addr *peer);
void fault_node_end(void);

#endif
