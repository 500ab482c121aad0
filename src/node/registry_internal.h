/* SPDX-License-Identifier: Apache-2.0 */
/* The registry as its own files see it: registry.c, and follow.c, which is about several of them.
 */
#ifndef MCP_NODE_REGISTRY_INTERNAL_H
#define MCP_NODE_REGISTRY_INTERNAL_H

#include <stdatomic.h>

#include "base/list.h"
#include "node/registry.h"

LIST_DECLARE(refresh_list, struct nodes_refresh, link);

/* What the leader keeps of a follower. */
struct follower {
    struct nodes *leader;
    struct nodes *set;
    struct nodes_refresh refresh;
    uint64_t refreshing; /* the number of the request that runs; 0: none */
};

struct nodes {
    struct loop *loop;
    struct node_limits limits;
    char *instance;
    nodes_cb changed;
    void *owner;
    struct node **list;
    size_t count;
    uint64_t last_id;
    struct refresh_list waiting;

    /* A leader's. */
    struct follower **followers;
    size_t follower_count;
    _Atomic bool asked; /* by any thread: a follower has something for it */

    /* A follower's. The two atomic numbers, written by one side each, count its requests to read
     * the catalogues. */
    struct nodes *leader;
    bool changed_since; /* a node may have other models than when it asked last */
    _Atomic uint64_t wanted;
    _Atomic uint64_t granted;
    _Atomic bool told; /* by the leader: there is news */
};

/* The leader's thread. */
void follower_add(struct nodes *leader, struct nodes *set);
void followers_publish(struct nodes *leader, struct node *n);
void followers_fini(struct nodes *leader);
/* A follower's: `r`, which waits, is to be woken when the leader has read the catalogues. */
void follower_refresh(struct nodes *set, struct nodes_refresh *r);

#endif
