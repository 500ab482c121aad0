/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request up to its node: a table of steps, each of which goes on, waits, or ends the
 * exchange. What follows is up to the node (answer.h). The loop's thread only. */
#ifndef MCP_GATEWAY_STEPS_H
#define MCP_GATEWAY_STEPS_H

#include "gateway/exchange.h"

enum step_result { STEP_NEXT, STEP_WAIT, STEP_DONE };

/* Runs the steps from where the exchange stands; `owner` is the exchange. Whoever made it wait
 * calls it again. */
void steps_run(void *owner);
/* The next run chooses a node anew. */
void steps_go_back(struct exchange *x);

/* The last one (forward.c): sends the request to the node that was chosen. */
enum step_result step_forward(struct exchange *x);
/* Ends the exchange, unless its route has another model to ask; for steps to return. */
enum step_result step_fail(struct exchange *x, int code, const char *text) __attribute__((cold));

#endif
