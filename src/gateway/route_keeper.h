/* SPDX-License-Identifier: Apache-2.0 */
/* The book of routes with what outlives the gateway: routes.json of the state directory, read at
 * the start, written when an arm's state changes. The main reactor's thread only. */
#ifndef MCP_GATEWAY_ROUTE_KEEPER_H
#define MCP_GATEWAY_ROUTE_KEEPER_H

#include "base/err.h"
#include "gateway/config.h"
#include "gateway/route_book.h"
#include "reactor/loop.h"

struct route_keeper;

/* Start-up: ends the process when memory is out. NULL: the file cannot be read. */
struct route_keeper *route_keeper_new(struct loop *loop, const struct config *c, struct err *e);
void route_keeper_free(struct route_keeper **k);
struct route_book *route_keeper_book(const struct route_keeper *k);

#endif
