/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes there are, in which order, and the limits to them: what the leader of several
 * registries tells the others. Written by its thread, read by any. */
#ifndef MCP_NODE_ROSTER_H
#define MCP_NODE_ROSTER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "node/node.h"

struct roster {
    _Atomic uint64_t version; /* of the rest; 0: nothing was published */
    pthread_mutex_t lock;     /* guards the rest */
    struct node_share **shares;
    size_t count;
    struct node_limits limits;
};

void roster_init(struct roster *r);
void roster_fini(struct roster *r);

/* MCP_ENOMEM: as it was. */
int roster_publish(struct roster *r, struct node *const *nodes, size_t count,
                   const struct node_limits *limits);

/* A copy, with references of its own. */
struct roster_copy {
    uint64_t version;
    struct node_share **shares;
    size_t count;
    struct node_limits limits;
};
int roster_copy(struct roster *r, struct roster_copy *out); /* MCP_ENOMEM */
void roster_copy_fini(struct roster_copy *c);

#endif
