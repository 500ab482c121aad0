/* SPDX-License-Identifier: Apache-2.0 */
/* What the registries of several loops tell each other about one node. One of them, the leader,
 * polls and decides about its state; the others follow: they take what it publishes, and report
 * what they notice. Reference counted: each node of each registry, and the roster, hold it. Any
 * thread. */
#ifndef MCP_NODE_SHARE_H
#define MCP_NODE_SHARE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/node.h"

struct node_share {
    _Atomic size_t users;
    uint64_t id; /* of the node, on every registry; this and the next never change */
    struct node_spec spec;

    _Atomic size_t calls;      /* running, of all registries, detached ones too */
    _Atomic size_t idle;       /* connections (pool.h) */
    _Atomic uint64_t heard_ms; /* loop time of the last byte of an answer to one of them */
    _Atomic bool changed;      /* somebody said that it has other models; not read yet */

    pthread_mutex_t lock; /* guards the rest */
    uint64_t version;     /* of what follows, from 1 */
    enum node_kind kind;
    enum node_state state;
    enum node_service service;
    uint64_t cordons; /* how often it was cordoned */
    size_t knowing;   /* followers that know of the latest, and begin no call any more */
    bool has_addr;
    struct addr addr;
    char version_text[64];
    char why_down[NODE_WHY_MAX];
    struct catalogue catalogue;
    struct residency residency;

    /* From followers. */
    bool reported_down;
    bool reported_changed;
    bool reported_for_good;
    char reported_why[NODE_WHY_MAX];
};

/* With one reference. NULL: MCP_EARGUMENT with what is wrong with the URL, or MCP_ENOMEM. */
struct node_share *node_share_new(uint64_t id, const struct node_options *o, struct err *e);
struct node_share *node_share_ref(struct node_share *s);
void node_share_unref(struct node_share **s);

/* The leader's thread. True: something has changed since it was last published. */
bool node_share_publish(struct node_share *s, const struct node *n);
/* A follower's thread: brings `n` up to what was published. */
void node_share_take(struct node_share *s, struct node *n);

/* The leader's thread: no call to the cordoned node runs, and `followers` registries begin none. */
bool node_share_is_drained(struct node_share *s, size_t followers);

/* A follower's: a connection failed; or its models may be others now (for good: read them). */
void node_share_report_down(struct node_share *s, const char *why);
void node_share_report_changed(struct node_share *s, bool for_good);
/* The leader's: the models were read; unless somebody has said so since that began, nothing is new.
 */
void node_share_settle(struct node_share *s, const struct node *n);
/* The leader's: does what was reported to its own node. */
void node_share_take_reports(struct node_share *s, struct node *n);

#endif
