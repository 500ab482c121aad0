/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that manage models (pull, create, copy, delete) at several nodes: for each node that
 * spread_plan.h chooses an exchange without a client, and of their answers one
 * (spread_answer.h). Where one node is chosen the request goes there as any other. The loop's
 * thread only.
 *
 * a spread     entered                          left by
 * runs         the step                         its last call ended: refreshes, or is over
 * refreshes    something was done somewhere     the nodes' models were read, or SPREAD_PATIENCE_MS
 * over         its exchange has ended, or was cancelled: calls that still run are, too */
#ifndef MCP_GATEWAY_SPREAD_H
#define MCP_GATEWAY_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "gateway/spread_merge.h"
#include "gateway/steps.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct spread;
struct spread_node;

/* What one node does for it. */
struct spread_call {
    struct spread *spread;
    struct exchange *run; /* NULL: it has ended */
    uint64_t node_id;
    char node_name[64];
    int code;        /* how it ended */
    unsigned status; /* the node's; 0: it did not answer */
    struct buf text; /* of the error */
};

struct spread {
    uint32_t magic;
    struct exchange *exchange;
    struct spread_merge merge;
    struct task tell; /* there may be progress for the client */
    struct nodes_refresh refresh;
    bool refreshing;
    struct timer patience;
    size_t left; /* calls that run */
    size_t count;
    struct spread_call calls[];
};

/* The step (spread_step.c). */
enum step_result step_spread(struct exchange *x);
/* Begins a call for each of the `chosen` nodes, which are marked among all of the loop's. False:
 * out of memory; what was begun ends with the exchange. */
MUST_CHECK bool spread_begin(struct exchange *x, const struct spread_node *planned, size_t chosen);
/* For exchange.c: the exchange ends; its client reads on. */
void spread_leave(struct exchange *x);
void spread_resume(struct exchange *x);

#endif
