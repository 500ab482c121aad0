/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the configuration as they are now: shares, what each arm did, what was paused,
 * promoted or rolled back. One for all loops, behind a mutex that is held for the time of a choice
 * or an end; requests for names that are no routes never come here. */
#ifndef MCP_GATEWAY_ROUTE_BOOK_H
#define MCP_GATEWAY_ROUTE_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "gateway/config.h"
#include "reactor/loop.h"
#include "sched/route.h"

struct route_book;
struct route_set;

/* --- the main reactor's thread --- */

/* Start-up. `changed` comes on `loop` when an arm's state is another than before. */
struct route_book *route_book_new(struct loop *loop, loop_cb changed, void *owner);
void route_book_free(struct route_book **b);
/* What the configuration says, in two steps, as only the first can fail (NULL: out of memory). An
 * arm that there was before keeps what is known of it. */
struct route_set *route_set_new(const struct config *c);
void route_set_free(struct route_set **s);
void route_book_use(struct route_book *b, struct route_set **s);

/* "promote", "rollback", "pause" or "resume" of a route; `model` names an arm, empty: all but the
 * first, which for promote must be one. 0; MCP_EUNKNOWN_MODEL: no such route or arm; MCP_EARGUMENT.
 */
int route_book_command(struct route_book *b, struct slice route, struct slice action,
                       struct slice model, struct err *e);
/* {"routes":[...]}, for people and for `mcpgate canary`. */
bool route_book_list(struct route_book *b, uint64_t now_us, struct buf *out);
/* What outlives the gateway, and its reading at the start: a text of another make is passed over.
 */
bool route_book_save(struct route_book *b, struct buf *out);
void route_book_restore(struct route_book *b, struct slice text);

/* --- any thread --- */

struct route_pick {
    uint64_t id;   /* of the route, for route_book_ended */
    size_t arm;    /* of the model that was appended */
    size_t shadow; /* the arm that gets a copy; MODEL_ROUTE_NO_ARM: none */
};
/* The arm of `key`, and whether this request (`request_key`) is copied. False: there is no such
 * route, or memory is out. */
bool route_book_pick(struct route_book *b, const char *route, uint64_t key, uint64_t request_key,
                     struct route_pick *pick, struct buf *model);
/* The model of an arm. False: it is gone, or memory is out. */
bool route_book_model(struct route_book *b, uint64_t id, size_t arm, struct buf *model);
/* A request on the arm has ended; it may be rolled back for it. */
void route_book_ended(struct route_book *b, uint64_t now_us, uint64_t id, size_t arm,
                      const struct model_route_outcome *o);

#endif
