/* SPDX-License-Identifier: Apache-2.0 */
/* One model node: where it is, what it speaks, whether it is up and which models it has. Owned by
 * its `struct nodes`; the loop's thread only. On a registry that follows another (registry.h) what
 * polls find out comes from there.
 *
 * state     entered                                   left by
 * STARTING  made                                      the first poll: UP or DOWN, or REFUSED
 * UP        a poll got version and catalogue          a failed poll or connection: DOWN
 * DOWN      see UP; polled again after 0.1 s, doubling to 5 s     a good poll: UP
 * REFUSED   the node turned out to be this gateway    never
 * A node the configuration no longer names is retired: its state means nothing any more.
 * One that is cordoned (or warming) stays what it is and takes no new exchange. */
#ifndef MCP_NODE_NODE_H
#define MCP_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "http/parse/message.h"
#include "node/catalogue.h"
#include "node/pool.h"
#include "node/residency.h"
#include "node/spec.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

enum node_state { NODE_STARTING, NODE_UP, NODE_DOWN, NODE_REFUSED };
/* What people want of it. WARMING: it was cordoned, and loads its models before it serves again. */
enum node_service { NODE_SERVING, NODE_CORDONED, NODE_WARMING };

struct node_limits {
    uint64_t connect_timeout_ms;
    uint64_t first_byte_timeout_ms;
    uint64_t idle_timeout_ms; /* between bytes of an answer */
    size_t pool_idle;
    uint64_t pool_idle_ms;
};

struct node_call;
struct node_poll;
struct nodes;

struct node_share;

enum { NODE_MAGIC = 0x6e6f6465, NODE_WHY_MAX = 256 };

struct node {
    uint32_t magic;
    uint64_t id; /* never reused; 0 is no node */
    struct nodes *set;
    const struct node_spec *spec; /* of the share */
    bool retired; /* no longer in its set: takes no new call, and goes with the last that runs */
    struct node *next_retired;
    enum node_kind kind; /* what the node was found to be */
    enum node_state state;
    enum node_service service;
    bool has_addr;
    struct addr addr;
    struct catalogue catalogue;
    uint64_t catalogue_ms;       /* loop time it was read */
    bool catalogue_changed;      /* at the node, since the latest reading began */
    bool reads_soon;             /* that is to be read, whoever waits for it */
    struct residency residency;  /* of kind ollama; without users: not known */
    uint64_t residency_ms;       /* loop time it was asked for */
    char version[64];            /* what the node says of itself; "" unknown */
    char why_down[NODE_WHY_MAX]; /* for people; "" while up */
    struct node_pool pool;
    struct node_poll *poll; /* NULL on a registry that follows, and once retired */
    struct node_share *share;
    uint64_t seen_version; /* of what is shared, on a registry that follows */
    uint64_t seen_cordons;
    size_t calls; /* running on this loop, detached ones too */
    struct node_call *detached;
};

const char *node_kind_name(enum node_kind kind);
const char *node_state_name(enum node_state state);
const char *node_service_name(enum node_service service);

/* Whether an exchange may go there. */
static inline bool node_takes_work(const struct node *n)
{
    return n->state == NODE_UP && n->service == NODE_SERVING;
}

/* The state's only writers, but for what a follower takes over; they count, log and tell the set. A
 * repeated state is not a change. */
void node_mark_up(struct node *n);
void node_mark_down(struct node *n, const char *why);
void node_mark_refused(struct node *n);

/* Its models may be others now: a refresh reads them again, however fresh the catalogue is. */
void node_mark_changed(struct node *n);
/* They are, and stay as they are now: they are read at once. */
void node_read_soon(struct node *n);

/* A call on it begins and ends; a byte of an answer came. Polls count only for the loop that makes
 * them. On all loops together: how many run, and loop time of the last byte. */
void node_call_began(struct node *n, bool is_poll);
void node_call_ended(struct node *n, bool is_poll);
void node_heard(struct node *n, uint64_t now_ms);
size_t node_calls_everywhere(const struct node *n);
uint64_t node_heard_ms(const struct node *n);

#endif
