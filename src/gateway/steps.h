/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request up to its node: a table of steps, each of which goes on, waits, or ends the
 * exchange. What follows is up to the node (answer.h). The loop's thread only. */
#ifndef MCP_GATEWAY_STEPS_H
#define MCP_GATEWAY_STEPS_H

#include "gateway/exchange.h"
#include "gateway/trace.h"
#include "node/node.h"
#include "sched/choose.h"

enum step_result { STEP_NEXT, STEP_WAIT, STEP_DONE };

/* Runs the steps from where the exchange stands; `owner` is the exchange. Whoever made it wait
 * calls it again. */
void steps_run(void *owner);
/* The next run asks for a node anew. */
void steps_go_back(struct exchange *x);

/* A request that runs a model waits for its turn (turns.c). */
enum step_result step_queue(struct exchange *x);
/* The scheduler has chosen: for that step. */
void step_granted(struct exchange *x, const struct node *n, enum trace_kind why);
/* All nodes are asked for news; it goes on from this step then. */
enum step_result step_wait_for_nodes(struct exchange *x);
/* There is no node for it: waits for news of them the first time, else ends it. */
enum step_result step_no_node(struct exchange *x, enum choose_verdict verdict);

/* The last one (forward.c): sends the request to the node that was chosen. */
enum step_result step_forward(struct exchange *x);
/* Ends the exchange, unless its route has another model to ask; for steps to return. */
enum step_result step_fail(struct exchange *x, int code, const char *text) __attribute__((cold));

#endif
