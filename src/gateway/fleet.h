/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes the gateway has and what people want of them: those of the configuration and those
 * added while it runs; which of them are cordoned, and which models they are to load before they
 * serve again. What was done by hand is kept in the state directory and holds after a restart too.
 * The main reactor's thread only.
 *
 * a node      entered by                              left by
 * serving     the start; all its models are loaded    fleet_cordon
 * cordoned    fleet_cordon                            fleet_uncordon
 * warming     fleet_uncordon                          its models are loaded, or given up;
 * fleet_cordon */
#ifndef MCP_GATEWAY_FLEET_H
#define MCP_GATEWAY_FLEET_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "gateway/config.h"
#include "gateway/discovery.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct brain;
struct fleet;

/* UNKNOWN: no such node. CONFLICT: it cannot be done to this one. */
enum fleet_result { FLEET_OK, FLEET_INVALID, FLEET_UNKNOWN, FLEET_CONFLICT, FLEET_NO_MEMORY };

struct fleet_options {
    struct nodes *nodes; /* the leading registry, still empty */
    struct brain *brain; /* is told of loads; NULL: none */
    discovery_ask_fn ask;
    loop_cb looked; /* nodes were looked up by name, well or not */
    void *owner;
};

/* Start-up. Reads what was kept; NULL with an error where that cannot be read. */
struct fleet *fleet_new(const struct fleet_options *o, const struct config *c, struct err *e);
/* Before the registry goes. */
void fleet_free(struct fleet **f);
/* The nodes of this configuration, and those that were added, from now on; it holds a reference to
 * it. Names that stand for several (dns_url.h) are looked up. As nodes_configure. */
int fleet_use(struct fleet *f, struct config *c, struct err *e);
/* Appends [{"name","url","nodes","error"}]: those names. A failure is sticky. */
void fleet_names(const struct fleet *f, struct buf *out);
/* `n` is in another state. */
void fleet_node_changed(struct fleet *f, const struct node *n);

/* What is wrong goes to `e`. */
enum fleet_result fleet_cordon(struct fleet *f, struct slice name, struct err *e);
enum fleet_result fleet_uncordon(struct fleet *f, struct slice name, struct err *e);
/* `json`: {"url":...} with any of name, kind, api_key and resident; `name` gets what it is called
 * (of the fleet, until it is removed). A name that stands for several is no node, and they come
 * when they are found. */
enum fleet_result fleet_add(struct fleet *f, struct slice json, struct slice *name, struct err *e);
/* One that was added; what runs there goes on. */
enum fleet_result fleet_remove(struct fleet *f, struct slice name, struct err *e);

/* Who waits until what was done is kept. */
struct fleet_asker {
    struct list_link link;
    void (*done)(void *owner, const char *why_not); /* NULL: it is */
    void *owner;
};
void fleet_keep(struct fleet *f, struct fleet_asker *asker);
void fleet_forget(struct fleet *f, struct fleet_asker *asker);

#endif
