/* SPDX-License-Identifier: Apache-2.0 */
/* The registry as its own files see it: registry.c; members.c, which is about which nodes there
 * are; and follow.c, which is about several registries. */
#ifndef MCP_NODE_REGISTRY_INTERNAL_H
#define MCP_NODE_REGISTRY_INTERNAL_H

#include <stdatomic.h>

#include "base/list.h"
#include "node/registry.h"
#include "node/roster.h"

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
    nodes_cb news; /* NULL: nobody watches */
    void *watcher;
    struct node **list;
    size_t count;
    struct node *retired;    /* those with calls that run on */
    uint64_t roster_version; /* that `list` was made from */
    struct refresh_list waiting;

    /* A leader's. */
    uint64_t last_id;
    bool started;
    struct roster roster;
    struct follower **followers;
    size_t follower_count;
    _Atomic bool asked; /* by any thread: a follower has something for it */
    _Atomic bool expecting;

    /* A follower's. The two atomic numbers, written by one side each, count its requests to read
     * the catalogues. */
    struct nodes *leader;
    bool changed_since; /* a node may have other models than when it asked last */
    _Atomic uint64_t wanted;
    _Atomic uint64_t granted;
    _Atomic bool told; /* by the leader: there is news */
};

/* members.c. A follower's: brings its nodes up to the leader's roster. MCP_ENOMEM: as it was. */
int members_take(struct nodes *set);
void members_fini(struct nodes *set);
/* registry.c: who waits for the catalogues is woken if there is nothing to wait for any more. */
void nodes_wake_waiting(struct nodes *set);

/* The leader's thread. */
void follower_add(struct nodes *leader, struct nodes *set);
void followers_publish(struct nodes *leader, struct node *n);
void followers_tell(struct nodes *leader); /* that the roster is another one */
void followers_fini(struct nodes *leader);
/* A follower's: `r`, which waits, is to be woken when the leader has read the catalogues. */
void follower_refresh(struct nodes *set, struct nodes_refresh *r);

#endif
