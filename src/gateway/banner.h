/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway says of itself on standard output when it starts: where it listens, which nodes
 * answer, with which models. */
#ifndef MCP_GATEWAY_BANNER_H
#define MCP_GATEWAY_BANNER_H

struct gateway;

/* Right after the listeners are open. */
void banner_listening(const struct gateway *g);
/* Once every node was polled; then "ready", or why not. */
void banner_nodes(const struct gateway *g);

#endif
