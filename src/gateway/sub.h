/* SPDX-License-Identifier: Apache-2.0 */
/* A sub reactor: one loop with the client connections it was handed, its own connections to the
 * nodes, and every exchange on them from start to end. In mode `main-sub` each has a thread of its
 * own; in mode `single` there is one, on the main reactor's loop. Made and ended by the main
 * reactor (gateway.c); what lies under "any thread" is what the two tell each other, everything
 * else is the loop's thread's. */
#ifndef MCP_GATEWAY_SUB_H
#define MCP_GATEWAY_SUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/list.h"
#include "gateway/batch.h"
#include "gateway/body_memory.h"
#include "gateway/config.h"
#include "gateway/exchange.h"
#include "gateway/flight.h"
#include "gateway/proxied.h"
#include "gateway/trace.h"
#include "gateway/turns.h"
#include "node/registry.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct http_face;
struct mcp_face;
struct recorder;
struct route_book;
struct sock;

/* A connection on its way from the main reactor. */
struct handoff {
    struct list_link link;
    int fd;
    enum exchange_face face;
    struct addr peer;
};

LIST_DECLARE(handoff_list, struct handoff, link);

struct sub {
    struct loop *loop;
    struct config *config;
    struct nodes *nodes;        /* follows the main reactor's; in mode single it is that one */
    struct body_memory *bodies; /* the process's */
    struct route_book *routes;  /* the process's */
    struct recorder *recorder;  /* the process's; NULL: there is none */
    struct turns turns;
    const char *instance;         /* the process's */
    const struct addr *http_addr; /* where HTTP is listened on; NULL: nowhere */
    struct exchange_list running;
    uint64_t last_exchange; /* number, for request ids: */

    uint64_t exchange_step; /* counts in steps, so that no two sub reactors give the same */
    struct mcp_face *mcp;
    struct http_face *http;
    struct proxied_list proxied; /* not yet a face's */
    struct trace_ring trace;
    struct sub *siblings; /* all sub reactors, this one among them */
    size_t sibling_count;
    struct batch_shared *batch_shared;
    struct batch_sub batch;
    struct flight_sub flights;
    size_t shadows; /* copies that run (route_shadow.h) */
    bool draining;
    bool hurried; /* a second signal */
    struct timer drain_limit;
    struct timer drain_poll;
    uint64_t drain_idle_ms; /* since the last exchange ended */
    loop_cb on_drained;
    void *on_drained_owner;

    /* Any thread. */
    struct counters counters;
    struct config *_Atomic next_config; /* to be used from the next turn on; NULL: none */
    _Atomic size_t open;                /* connections it was handed and that have not closed */
    pthread_mutex_t lock;               /* guards the next two */
    struct handoff_list handed;
    bool handed_posted;
};

/* What all of them share, and where a drained one says so (on its own thread). */
struct sub_options {
    struct config *config;
    struct body_memory *bodies;
    struct route_book *routes;
    struct recorder *recorder;
    struct brain *brain;
    const char *instance;
    const struct addr *http_addr;
    unsigned index; /* of `count` */
    unsigned count;
    struct sub *siblings;
    struct batch_shared *batch_shared;
    loop_cb on_drained;
    void *on_drained_owner;
};

/* Start-up: ends the process when memory is out. `nodes` and `loop` stay the caller's. */
void sub_init(struct sub *s, struct loop *loop, struct nodes *nodes, const struct sub_options *o);
/* After every exchange has ended. Connections that are left are dropped, those on their way too. */
void sub_fini(struct sub *s);

/* Any thread: another configuration, from its next turn on. */
void sub_use(struct sub *s, struct config *config);
/* Any thread: a connection for it; takes the descriptor. */
void sub_hand(struct sub *s, enum exchange_face face, int fd, const struct addr *peer);
/* Idle connections close and `on_drained` is called once the others have; what runs on after
 * `drain_timeout` ends as shutting_down. Again: it ends now, but for a moment in which clients that
 * read are told. */
void sub_drain(struct sub *s);
/* A connection that turned out to be of that client (proxied.h); false: it is closed. */
bool sub_take_sock(struct sub *s, enum exchange_face face, struct sock *sock,
                   const struct addr *client);
/* A connection has closed (for the faces). */
void sub_closed(struct sub *s);

#endif
