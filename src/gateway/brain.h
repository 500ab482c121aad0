/* SPDX-License-Identifier: Apache-2.0 */
/* The one scheduler (sched/sched.h) of all loops, behind a mutex that is held for the time of a
 * decision. The main reactor tells it of the nodes and of time; each loop that owns exchanges, a
 * `home`, of those that come and go. What is decided for one that waits lies at its home, which is
 * called for it; ids only, no pointers. Where every request would run at once on the only node
 * there is nothing to decide, and it is not asked (brain_schedules). */
#ifndef MCP_GATEWAY_BRAIN_H
#define MCP_GATEWAY_BRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "reactor/loop.h"
#include "sched/sched.h"

struct brain;
struct config;
struct node;
struct nodes;

/* What nodes speak, and requests want spoken: for sched_job.speaks. */
enum { BRAIN_SPEAKS_OLLAMA = 1, BRAIN_SPEAKS_OPENAI = 2 };

struct brain_home {
    struct brain *brain; /* NULL: it has none, nothing is scheduled */
    struct loop *loop;
    loop_cb
        decided; /* on the loop: brain_take has something. While it has requests that wait it
                    looks by itself too, now and then: there may have been no memory to call it */
    void *owner;
    uint32_t index;
    struct task task;

    /* Guarded by the brain's lock. */
    struct sched_decision *inbox; /* a ring, oldest first; room for all that wait */
    size_t inbox_first;
    size_t inbox_count;
    size_t inbox_room; /* a power of two, or 0 */
    size_t waiting;    /* those decided but not taken too */
    bool rung;
};

/* What becomes of a ticket. */
enum brain_leaving {
    BRAIN_WAITED, /* no decision was taken for it */
    BRAIN_NOW,    /* it was granted */
    BRAIN_LATER   /* the same; the node may still be at it: after queue.cancel_grace */
};

/* --- the main reactor's thread --- */

/* Start-up: ends the process when memory is out. */
struct brain *brain_new(struct loop *loop, const struct config *config);
/* After its homes are gone. */
void brain_free(struct brain **b);
/* Other limits, slots and nodes from now on; the configuration stays the caller's until another
 * one is given. */
void brain_configure(struct brain *b, const struct config *config, struct nodes *nodes);
/* There are other nodes. */
void brain_nodes_changed(struct brain *b, struct nodes *nodes);
/* One of them is another now: its state, kind or models. */
void brain_node_changed(struct brain *b, const struct node *n);

/* The gateway itself is to have a node load a model: sched_load and sched_loaded (sched.h), by any
 * spelling of the name. */
bool brain_load(struct brain *b, const struct node *n, struct slice model, uint64_t context,
                bool now);
void brain_loaded(struct brain *b, const struct node *n, struct slice model, bool ok);

/* Appends what waits and runs as JSON. False: out of memory. */
bool brain_page(struct brain *b, struct nodes *nodes, struct buf *out);

/* --- any thread --- */

/* Whether there is anything to decide. */
bool brain_schedules(const struct brain *b);
/* Start-up, the loop not running yet; and when all its tickets are given back. */
void brain_home_init(struct brain_home *h, struct brain *b, struct loop *loop, loop_cb decided,
                     void *owner);
void brain_home_fini(struct brain_home *h);
/* The loop's thread, from here on. A request comes; and what it got is given back, which ends its
 * ticket. */
enum sched_verdict brain_arrive(struct brain_home *h, const struct sched_job *job,
                                struct sched_answer *out);
/* sched_rate. */
bool brain_rate(struct brain_home *h, struct slice tenant, uint32_t rate_per_min,
                uint64_t *retry_after_us);
/* The node that served a session last, as far as it is remembered; 0: none. Several sessions may
 * share a place, and the latest has it. */
uint64_t brain_session_node(struct brain *b, uint64_t session);
void brain_session_served(struct brain *b, uint64_t session, uint64_t node_id);
void brain_leave(struct brain_home *h, uint64_t ticket, enum brain_leaving how,
                 const struct sched_outcome *outcome);
/* The model that its call had to load is loaded. */
void brain_started(struct brain_home *h, uint64_t ticket);
/* The next decision. False: there is none. */
bool brain_take(struct brain_home *h, struct sched_decision *out);
/* Where it stands in the queue. False: not in it any more. */
bool brain_look(struct brain_home *h, uint64_t ticket, struct sched_answer *out);
/* A node could not be reached: nothing goes there until the main reactor says that it is up. */
void brain_node_lost(struct brain_home *h, uint64_t node_id);

#endif
