/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of one loop to one node that are not in use, newest first out. A connection the node
 * closes meanwhile leaves by itself. Those unused for a second count as idle, and of these only so
 * many are kept, over the pools of all loops together. Embedded in the node; the loop's thread
 * only. */
#ifndef MCP_NODE_POOL_H
#define MCP_NODE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "http/io/client.h"
#include "reactor/loop.h"

struct node_pool;

struct pooled {
    struct list_link link;
    struct node_pool *pool;
    struct http_client *client;
    struct timer age;
    uint64_t since_ms; /* loop time it came */
    bool idle;         /* and counted as such */
};

LIST_DECLARE(pooled_list, struct pooled, link);

struct node_pool {
    struct loop *loop;
    size_t max_idle;
    uint64_t max_idle_ms;
    _Atomic size_t *idle_count; /* of all loops */
    struct pooled_list unused;
    struct pooled *preparing; /* not connected yet; NULL: none */
};

/* `max_idle` 0: keeps none at all. `idle_count` is shared by the pools of the same node. */
void node_pool_init(struct node_pool *p, struct loop *loop, size_t max_idle, uint64_t max_idle_ms,
                    _Atomic size_t *idle_count);
/* Other limits for what is returned, and grows idle, from now on. */
void node_pool_limit(struct node_pool *p, size_t max_idle, uint64_t max_idle_ms);
/* Closes what is unused, as it may lead nowhere any more. */
void node_pool_evict(struct node_pool *p);
/* Closes what is in it. */
void node_pool_fini(struct node_pool *p);
/* Somebody will soon want a connection: where none is unused, one is made. It may fail, which
 * nobody hears of: who then wants one makes his own. */
void node_pool_prepare(struct node_pool *p, const struct addr *to);
/* A connection, now the caller's (its owner still to be set); NULL: there is none. */
struct http_client *node_pool_take(struct node_pool *p);
/* Takes a connection back that is in no use any more. Nulls the pointer. */
void node_pool_put(struct node_pool *p, struct http_client **client);

#endif
