/* SPDX-License-Identifier: Apache-2.0 */
/* What a route (route_book.h) means for an exchange: the model that is asked instead of the name,
 * those that are asked when that fails before anything was delivered, and what its arm is told at
 * the end. The loop's thread only. */
#ifndef MCP_GATEWAY_ROUTE_STEP_H
#define MCP_GATEWAY_ROUTE_STEP_H

#include "gateway/config.h"
#include "gateway/steps.h"

enum step_result step_route(struct exchange *x);
/* The next model of the route's `fallback` is asked, if there is one, `code` is an error that
 * another model may not have, and the client has got nothing yet. False: it stays an error. */
bool route_falls_back(struct exchange *x, int code);
/* The same of what a node answered: its status and its body, or what came of it. */
bool route_falls_back_from(struct exchange *x, unsigned status, struct slice body);
/* Whether a node's error is of use to one of the two above. */
bool route_wants_error(const struct exchange *x, unsigned status);
/* Puts the routes behind the models of a list, which is an object that ends with an array: of
 * /api/tags, or of /v1/models. False: out of memory. */
bool routes_append(const struct exchange *x, struct buf *list);
/* The exchange has ended. */
void route_note_end(struct exchange *x);

/* For trace.c: what a routing event is about, the model's name or "a model that is gone". */
struct slice route_event_model(const struct config *c, struct slice route, enum trace_kind kind,
                               uint64_t number);

#endif
