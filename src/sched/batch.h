/* SPDX-License-Identifier: Apache-2.0 */
/* Puts single inputs together to calls: what arrives, leaves and ends goes in with the time, what
 * is to be sent now comes out. One object for what may share a call (same node kind, model and
 * options). Pure: no clock, no memory of its own; items belong to the caller.
 *
 * Nobody waits while nothing is under way. While a call is, what comes is collected. When it ends,
 * its askers are about to ask again: what waits is held until as many came back as the call had,
 * until none comes for `pause_us`, the call is full, or `max_wait_us` are over. (Sent at once,
 * those that waited and those that were just served would take turns for ever, in two half-full
 * calls.)
 *
 * More waits than a call takes: flows share calls by weight, in tokens; of a flow the first come
 * goes first. Where a node is known to pad (batch_cost.h), inputs of like lengths go together. */
#ifndef MCP_SCHED_BATCH_H
#define MCP_SCHED_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "sched/batch_cost.h"

enum { BATCH_ITEMS_MAX = 4096, BATCH_FLOWS = 64 };

struct batch_rules {
    size_t max_items;    /* of a call; 1 to BATCH_ITEMS_MAX */
    uint64_t max_tokens; /* likewise; one item alone may have more */
    uint64_t max_wait_us;
    uint64_t pause_us;
    size_t max_calls; /* under way at once */
};

struct batch_item {
    struct slice text; /* the input; equal ones of a call are computed once */
    uint32_t tokens;   /* estimated, at least 1 */
    uint64_t scope;    /* only what has the same one can be equal */
    uint64_t flow;     /* whose turn it is; those of more than BATCH_FLOWS may have one together */
    unsigned weight;   /* of that, to those of others; 0 is 1 */
    uint64_t hash;     /* batch_item_ready's */
    uint64_t seq;      /* batch_add's */
    size_t index;      /* batch_take's: which of the call's inputs it is */
    struct batch_item *chain;
    struct list_link link;
};

LIST_DECLARE(batch_items, struct batch_item, link);

struct batch_flow {
    struct batch_items items;
    uint64_t had;            /* tokens by weight; who comes back begins with what others had */
    struct batch_item *next; /* batch_take's */
};

struct batch {
    struct batch_rules rules;
    struct batch_flow flows[BATCH_FLOWS];
    uint64_t busy; /* bit of each flow with items */
    uint64_t had;  /* of the flow that was served last */
    uint64_t seq;
    size_t waiting;
    uint64_t waiting_tokens;
    struct batch_lengths lengths;
    size_t calls; /* under way */
    /* Since a call has ended: */
    uint64_t hold_until_us; /* 0: nothing is held */
    uint64_t quiet_since_us;
    size_t expected; /* items that it had */
    size_t returned; /* and that came since */
};

enum batch_verdict {
    BATCH_SEND, /* batch_take */
    BATCH_HOLD, /* look again then, or when something has changed */
    BATCH_REST, /* nothing to do before something changes */
};

void batch_init(struct batch *b, const struct batch_rules *rules);
void batch_set_rules(struct batch *b, const struct batch_rules *rules);
/* Once text and scope are there. */
void batch_item_ready(struct batch_item *item);
bool batch_item_equal(const struct batch_item *a, const struct batch_item *b);
void batch_add(struct batch *b, struct batch_item *item, uint64_t now_us);
/* One that waits is not wanted any more. */
void batch_remove(struct batch *b, struct batch_item *item);
/* `again_us` is set for BATCH_HOLD. */
enum batch_verdict batch_look(struct batch *b, uint64_t now_us, uint64_t *again_us);
/* Moves the items of the next call to `out`, in their order, and returns how many different inputs
 * they are. The call is under way until batch_ended. With calls free for other nodes it takes its
 * share of what waits, in tokens. `cost`: of the node that it is for; may be NULL. */
size_t batch_take(struct batch *b, struct batch_cost *cost, struct batch_items *out);
/* A call that is not made of what waits: counts as under way. */
void batch_began(struct batch *b);
/* It had so many items. */
void batch_ended(struct batch *b, size_t items, uint64_t now_us);

/* `total` in parts as `weights` are, which add up to it exactly; each weight at least 1. */
void batch_share(uint64_t total, const uint32_t *weights, size_t count, uint64_t *shares);

#endif
