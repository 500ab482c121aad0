/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway as a whole on a loop of the test's, in front of a node of the test's. */
#ifndef MCP_TESTS_WHOLE_GATEWAY_H
#define MCP_TESTS_WHOLE_GATEWAY_H

#include "gateway/gateway.h"
#include "reactor/listener.h"

/* Listens for its node, whose connections `on_node_accept` gets, and opens the gateway on ports of
 * its own, without admin and log; comes back when it is ready. The caller's then: the listener, the
 * gateway, the configuration. */
struct listener *whole_gateway_open(struct gateway *g, struct config **config, struct loop *loop,
                                    listener_cb on_node_accept);
/* Runs the loop until its node is up, 20 s at most; it is polled at once. */
void whole_gateway_wait_ready(struct gateway *g, struct loop *loop);

#endif
