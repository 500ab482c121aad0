/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway as a whole: the main reactor (listeners, admin, polls of the nodes, signals) and the
 * sub reactors, which own what clients and nodes say. The main reactor's thread only. */
#ifndef MCP_GATEWAY_GATEWAY_H
#define MCP_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/err.h"
#include "gateway/body_memory.h"
#include "gateway/config.h"
#include "gateway/recorder.h"
#include "gateway/sub.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct acceptor;
struct admin_face;
struct brain;
struct fleet;
struct reload;
struct route_book;
struct route_keeper;
struct sub_ask;
struct sub_thread;
struct watch;

enum { GATEWAY_INSTANCE_BYTES = 16, GATEWAY_EXIT_LISTEN = 3 };

struct gateway {
    struct loop *loop;
    struct config *config;
    struct nodes *nodes;
    struct fleet *fleet;      /* says which nodes those are */
    struct watch *watch;      /* NULL: not started */
    struct counters counters; /* of the main reactor's thread */
    struct body_memory bodies;
    struct recorder recorder;
    struct brain *brain;
    struct batch_shared batch_shared;
    bool draining;
    bool banner_due; /* once every node was polled */
    char instance[2 * GATEWAY_INSTANCE_BYTES +
                  1]; /* random; part of request ids, known to no client */
    struct acceptor *mcp;
    struct acceptor *http;
    struct admin_face *admin;
    struct reload *reload;
    struct route_keeper *route_keeper;
    struct route_book *routes; /* its */
    struct sub_ask *sub_asks;  /* that run */
    struct sub *subs;
    struct sub_thread **threads; /* of each sub; NULL: they run on `loop` */
    size_t sub_count;
    size_t drained_count;
    loop_cb on_stopped;
    void *on_stopped_owner;
};

/* A main reactor on a loop of the caller's, who has signals, banner and the process (process.h): 0,
 * or an exit code with what is wrong. `args`, of which reloads are made, and `g` stay where they
 * are until gateway_close; of `config` it keeps a reference. */
int gateway_open(struct gateway *g, struct config *config, const struct config_args *args,
                 struct loop *loop, struct err *e);
/* Begins to poll the nodes. */
void gateway_start(struct gateway *g);
/* Goes on with another configuration, of which it keeps a reference; `changed` gets the keys in
 * which they differ. MCP_EARGUMENT with what is wrong, such as a key that cannot change while it
 * runs; MCP_ENOMEM: nothing has changed. */
int gateway_use(struct gateway *g, struct config *config, struct buf *changed, struct err *e);
/* As SIGTERM does: no more connections, exchanges run on up to `drain_timeout`, then `stopped` is
 * called. Again: they end now. */
void gateway_stop(struct gateway *g, loop_cb stopped, void *owner);
/* After gateway_open, well or not, and not while its loop runs. Once it was started with threads of
 * its own: only when it has stopped. */
void gateway_close(struct gateway *g);

/* The sets that count for it, of each thread one; `sets` has room for 1 + sub_count. */
size_t gateway_counters(const struct gateway *g, const struct counters *sets[]);
/* Listeners open, every node polled once, at least one up. */
bool gateway_ready(const struct gateway *g);

#endif
