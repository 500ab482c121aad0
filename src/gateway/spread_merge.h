/* SPDX-License-Identifier: Apache-2.0 */
/* The progress that several nodes tell about one model, as one node would tell it: lines of
 * {"status","digest","total","completed"} in, lines of the same kind out, made when there is room
 * for them. Of a file (a digest) the sum over all nodes, of which the total is known from the first
 * line on, as clients draw a bar of it that never changes; a node that has not come to it yet
 * counts with nothing, one that is done with everything. A status without a digest goes on once all
 * nodes have come to it, the very first one at once. "success" is for the end of all to say. Pure.
 */
#ifndef MCP_GATEWAY_SPREAD_MERGE_H
#define MCP_GATEWAY_SPREAD_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

struct spread_item;

enum spread_end { SPREAD_RUNS, SPREAD_DONE, SPREAD_FAILED };

struct spread_merge {
    size_t nodes;
    struct spread_item *items; /* in the order in which they were first told */
    size_t count;
    size_t room;
    unsigned char *ends; /* enum spread_end of each node */
    size_t ended_nodes;
    size_t done_nodes; /* of those, well */
};

/* False: out of memory. */
MUST_CHECK bool spread_merge_init(struct spread_merge *m, size_t nodes);
void spread_merge_fini(struct spread_merge *m);
/* An object that node told; what says nothing of progress is passed over. False: out of memory, and
 * nothing has changed. */
MUST_CHECK bool spread_merge_take(struct spread_merge *m, size_t node, struct slice object);
/* That node is done, or has failed: it will tell no more. */
void spread_merge_ended(struct spread_merge *m, size_t node, bool ok);
/* Appends the next object that clients are to be told; false: there is none. A failure of `out` is
 * sticky. */
bool spread_merge_next(struct spread_merge *m, struct buf *out);

#endif
