/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet as its own files see it: fleet.c, what is done to nodes; fleet_nodes.c, which nodes
 * there are; fleet_state.c, what is kept. */
#ifndef MCP_GATEWAY_FLEET_INTERNAL_H
#define MCP_GATEWAY_FLEET_INTERNAL_H

#include <yyjson.h>

#include "gateway/fleet.h"
#include "gateway/state_file.h"
#include "gateway/warm.h"

LIST_DECLARE(fleet_asker_list, struct fleet_asker, link);

/* What is known of a node by its name; also of one that is not there, where people said something
 * of it. */
struct fleet_node {
    struct fleet *fleet;
    char *name;
    bool present;
    bool cordoned;
    struct warm warm;
};

struct fleet {
    struct nodes *nodes;
    struct brain *brain; /* NULL: none */
    struct discovery *discovery;
    loop_cb looked;
    void *owner;
    struct config *config; /* NULL: none was used yet */
    struct fleet_node **list;
    size_t count;
    struct config_node **added;
    size_t added_count;
    struct state_file *state;
    struct fleet_asker_list waiting;
};

struct fleet_node *fleet_find(const struct fleet *f, struct slice name); /* NULL: none */
/* NULL: out of memory. */
struct fleet_node *fleet_find_or_make(struct fleet *f, struct slice name);
void fleet_node_free(struct fleet_node *n);
/* What says of a node of that name, or of several, what they are; NULL: nothing does. */
const struct config_node *fleet_source(const struct fleet *f, const struct config *c,
                                       struct slice name);
/* Has the registry be what it should: the nodes of `c` and the added ones. */
int fleet_apply(struct fleet *f, const struct config *c, struct err *e);
/* The registry's node of that name does what people want of it. */
void fleet_serve(struct fleet *f, struct fleet_node *known);
/* A node from the members of an object; NULL with what is wrong, or MCP_ENOMEM. */
struct config_node *fleet_node_read(yyjson_val *object, struct err *e);
void fleet_node_drop(struct config_node *n);
/* Writes what is to be kept. */
void fleet_save(struct fleet *f);
/* Reads it at the start. 0, or a negative code with what is wrong. */
int fleet_load(struct fleet *f, struct err *e);

#endif
