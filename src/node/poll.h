/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out whether a node is up, what it speaks and which models it has: /api/version (Ollama) or
 * else /v1/models, then the catalogue; then what Ollama has in memory, which decides nothing about
 * the node. Up: every 5 s; down: after 0.1 s, doubling to 5 s. What is in memory is asked for
 * within a second of any answer of the node, as that may have loaded something. What is up stays so
 * while it does not answer polls but writes answers to others, and when a poll ends for our own
 * lack of memory or descriptors. One per node, owned by it. */
#ifndef MCP_NODE_POLL_H
#define MCP_NODE_POLL_H

#include <stdbool.h>

struct node;
struct node_poll;

struct node_poll *node_poll_new(struct node *n); /* NULL: out of memory */
void node_poll_free(struct node_poll **p);
/* Polls now, unless a poll is running. */
void node_poll_now(struct node_poll *p);
/* Polls after the shortest delay: the node has just gone down. */
void node_poll_soon(struct node_poll *p);
bool node_poll_running(const struct node_poll *p);
/* And its catalogue is still to come. */
bool node_poll_reading(const struct node_poll *p);

/* The header polls carry, with the gateway's instance as value; a gateway that gets its own answers
 * 508 with the same header. Any other 508 is an error like others. */
#define NODE_PROBE_HEADER "X-Mcpgate-Probe"

#endif
