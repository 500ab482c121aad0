/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler of all loops as its own files see it: brain.c, which is about requests and time;
 * brain_nodes.c; and brain_page.c, which shows it. */
#ifndef MCP_GATEWAY_BRAIN_INTERNAL_H
#define MCP_GATEWAY_BRAIN_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/brain.h"
#include "gateway/config.h"
#include "node/registry.h"

enum { BRAIN_BELLS = 16 };

/* A node as the scheduler was told of it last, to tell it so again with one thing changed. */
struct known_node {
    uint64_t id;
    bool up;
    bool cordoned;
    unsigned speaks;
    uint32_t slots;
    uint64_t memory_bytes;
    bool reloads; /* a model was in its memory first with one context, then with another */
    struct catalogue catalogue;
    struct residency residency;
};

enum { BRAIN_SESSIONS = 8192 };

struct seen_session {
    _Atomic uint64_t session; /* 0: none */
    _Atomic uint64_t node_id;
};

/* A ticket that ends later. */
struct late_leave {
    uint64_t due_us;
    uint64_t ticket;
    struct sched_outcome outcome;
};

struct brain {
    struct loop *loop; /* the main reactor's */
    struct timer tick;
    const struct config *config; /* the gateway's */
    bool has_work;               /* by it and the number of nodes */
    _Atomic bool schedules;
    struct seen_session sessions[BRAIN_SESSIONS]; /* by any thread; by what they are called */

    pthread_mutex_t lock; /* guards the rest */
    struct sched *sched;
    uint64_t now_us; /* of the latest call */
    struct brain_home **homes;
    size_t home_count;
    struct known_node *nodes;
    size_t node_count;
    struct late_leave *late; /* a ring, oldest first */
    size_t late_first;
    size_t late_count;
    size_t late_room; /* a power of two, or 0 */
    uint64_t grace_us;
    uint64_t due_us; /* the tick is armed for, or has been asked to be */
    bool poked;      /* that was asked */
};

/* What is done behind the lock. */
struct brain_after {
    const struct loop *here; /* the loop whose thread this is */
    struct brain_home *bells[BRAIN_BELLS];
    size_t bell_count;
    bool poke;
};

/* Takes the lock; the time. And what was decided meanwhile goes home. */
uint64_t brain_enter(struct brain *b, uint64_t now_us);
void brain_go(struct brain *b, struct brain_after *after);

/* brain_nodes.c */
void brain_nodes_fini(struct brain *b);

#endif
