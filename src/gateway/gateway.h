/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway as a whole: one loop, the nodes, the faces, and every exchange that runs. Made and
 * run by gateway_run. */
#ifndef MCP_GATEWAY_GATEWAY_H
#define MCP_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/err.h"
#include "gateway/config.h"
#include "gateway/exchange.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct admin_face;
struct http_face;
struct mcp_face;

enum { GATEWAY_INSTANCE_BYTES = 16, GATEWAY_EXIT_LISTEN = 3 };

struct gateway {
    struct loop *loop;
    const struct config *config;
    struct nodes *nodes;
    struct counters counters;
    struct exchange_list running;
    uint64_t started_us;    /* wall clock */
    uint64_t body_bytes;    /* request bodies held */
    uint64_t last_exchange; /* number, for request ids */
    bool draining;
    bool hurried; /* a second signal */
    bool banner_shown;
    struct timer drain_limit;
    struct timer drain_poll;
    uint64_t drain_idle_ms; /* since the last exchange ended */
    char instance[2 * GATEWAY_INSTANCE_BYTES +
                  1]; /* random; part of request ids, known to no client */
    struct mcp_face *mcp;
    struct http_face *http;
    struct admin_face *admin;
};

/* Listens, prints the banner, serves until SIGTERM or SIGINT. Returns the exit code: 0, 1, or
 * GATEWAY_EXIT_LISTEN where an address cannot be listened on. */
int gateway_run(const struct config *config);

#define GATEWAY_NO_BODY_MEMORY "the memory for request bodies is used up"

/* Takes `n` more bytes of request body memory; false: the limit is reached (counted). */
bool gateway_body_take(struct gateway *g, size_t n);
void gateway_body_give(struct gateway *g, size_t n);

/* Listeners open, every node polled once, at least one up. */
bool gateway_ready(const struct gateway *g);

#endif
