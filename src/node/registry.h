/* SPDX-License-Identifier: Apache-2.0 */
/* All nodes of the gateway, as one loop sees them. The first registry is made from the
 * configuration, polls each node, and tells its watcher when one changes. Those of other loops
 * follow it: they have the same nodes with connections of their own, learn from it what polls find
 * out, and tell it what they notice. Each one its loop's thread only. */
#ifndef MCP_NODE_REGISTRY_H
#define MCP_NODE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "node/node.h"
#include "reactor/loop.h"

struct nodes;

/* `n` changed its state. */
typedef void (*nodes_cb)(void *owner, struct node *n);

/* `instance` is sent with polls, so that a node that is this gateway is known by it (see
 * nodes_is_own_probe). */
struct nodes *nodes_new(struct loop *loop, const struct node_limits *limits, const char *instance,
                        nodes_cb changed, void *owner);
/* As long as none of the two loops runs: the same nodes on another loop. The leader is freed last,
 * and when it is its loop runs no more. Start-up: ends the process when memory is out. */
struct nodes *nodes_follow(struct nodes *leader, struct loop *loop);
void nodes_free(struct nodes **set);
/* On the leader, and by it on those that follow. MCP_EARGUMENT with what is wrong, MCP_ENOMEM:
 * nothing has changed. */
int nodes_add(struct nodes *set, const struct node_options *options, struct err *e);
/* These nodes, in this order, and limits from now on: a node whose options are the same stays as it
 * is, with its state and connections; one that is not named any more retires. As nodes_add. */
int nodes_configure(struct nodes *set, const struct node_options *options, size_t count,
                    const struct node_limits *limits, struct err *e);
/* On the leader: `news` comes with each node of which anything that polls find out has changed, and
 * with NULL when there are others. */
void nodes_watch(struct nodes *set, nodes_cb news, void *owner);
/* Starts polling. */
void nodes_start(struct nodes *set);

struct loop *nodes_loop(const struct nodes *set);
const struct node_limits *nodes_limits(const struct nodes *set);
const char *nodes_instance(const struct nodes *set);
void nodes_changed(struct nodes *set, struct node *n);
size_t nodes_count(const struct nodes *set);
struct node *nodes_at(struct nodes *set, size_t i);
/* NULL: no such node any more. */
struct node *nodes_by_id(struct nodes *set, uint64_t id);
/* On the leader. A cordoned node takes no new exchange; what runs there goes on. It is drained once
 * nothing does and no loop begins anything any more. */
void nodes_serve(struct nodes *set, struct node *n, enum node_service service);
bool nodes_drained(const struct nodes *set, const struct node *n);
/* A node was found, or said, to have other models since they were read: a refresh would tell. */
bool nodes_have_changed(const struct nodes *set);
/* NULL: none of that name. */
struct node *nodes_by_name(struct nodes *set, struct slice name);
/* On the leader: nodes are being looked for, and until one is up others may count on them as on
 * nodes that were not polled yet. */
void nodes_expect(struct nodes *set, bool more);
/* Every node was polled at least once, and none is to come that would be the first one up. */
bool nodes_all_polled(const struct nodes *set);
size_t nodes_up(const struct nodes *set);
/* Of those, the ones that take new exchanges: not cordoned, not warming. */
size_t nodes_serving(const struct nodes *set);

/* Reads the catalogues of all nodes that are up (while none is: of those never polled, whose first
 * poll is waited for), unless that was done within the last second (or runs already); `done` comes
 * later from the loop in either case. At most one read per second and node, and one for each
 * node_mark_changed. `task` is the caller's; task_cancel and nodes_refresh_cancel take it back. */
struct nodes_refresh {
    struct list_link link;
    struct task task;
    uint64_t number; /* on a registry that follows */
};
void nodes_refresh(struct nodes *set, struct nodes_refresh *r, loop_cb done, void *owner);
void nodes_refresh_cancel(struct nodes *set, struct nodes_refresh *r);
/* For the poller: one node's catalogue read ended, well or badly. */
void nodes_poll_ended(struct nodes *set, struct node *n);
/* For a node of one that follows: something was reported about it. */
void nodes_report(struct nodes *set);
/* For a retired node: its last call has ended. */
void nodes_bury(struct nodes *set, struct node *n);

#endif
