/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections to one node, newest first out. A connection the node closes while it is idle
 * leaves by itself. Embedded in the node; the loop's thread only. */
#ifndef MCP_NODE_POOL_H
#define MCP_NODE_POOL_H

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
};

LIST_DECLARE(pooled_list, struct pooled, link);

struct node_pool {
    struct loop *loop;
    size_t max_idle;
    uint64_t max_idle_ms;
    struct pooled_list idle;
};

void node_pool_init(struct node_pool *p, struct loop *loop, size_t max_idle, uint64_t max_idle_ms);
/* Closes what is idle. */
void node_pool_fini(struct node_pool *p);
/* An idle connection, now the caller's (its owner still to be set); NULL: there is none. */
struct http_client *node_pool_take(struct node_pool *p);
/* Takes an idle connection back; beyond max_idle the oldest is closed. Nulls the pointer. */
void node_pool_put(struct node_pool *p, struct http_client **client);

#endif
