/* SPDX-License-Identifier: Apache-2.0 */
/* Single requests for embeddings in one call to a node. Those that ask for the same of other inputs
 * meet on one sub reactor (chosen by what they ask for), which decides with sched/batch.h: a
 * request that comes while nothing is under way, or that nobody shares a call with, is told to go
 * its own way, as if there were no batches; others get their piece of an answer to all.
 *
 * Between the loops nothing is shared but messages and the memory of the member itself: its home
 * sends `join` and, once, `over`; the owner sends at most one `verdict`. */
#ifndef MCP_GATEWAY_BATCH_H
#define MCP_GATEWAY_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/post_box.h"
#include "gateway/steps.h"

struct batch_costs;
struct batch_group;
struct batch_member;

/* The process's. */
struct batch_shared {
    _Atomic size_t members;    /* that have joined and are not over */
    _Atomic unsigned draining; /* sub reactors that let nobody join any more */
};

/* What a sub reactor has of it. */
struct batch_sub {
    struct post_box box;
    struct batch_group *groups; /* that it owns: a list */
    struct batch_costs *costs;  /* of calls that it made */
};

void batch_sub_init(struct sub *s);
void batch_sub_fini(struct sub *s);
void batch_sub_drain(struct sub *s);
/* Nobody needs this loop any more. */
bool batch_sub_is_over(const struct sub *s);

/* The step. */
enum step_result step_batch(struct exchange *x);
/* The exchange ends; for exchange.c. */
void batch_leave(struct exchange *x);

#endif
