/* SPDX-License-Identifier: Apache-2.0 */
#include "node/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "node/poll.h"
#include "node/registry_internal.h"
#include "node/share.h"

enum { CATALOGUE_FRESH_MS = 1000 };

struct nodes *nodes_new(struct loop *loop, const struct node_limits *limits, const char *instance,
                        nodes_cb changed, void *owner)
{
    struct nodes *set = xcalloc(1, sizeof(*set));

    set->loop = loop;
    set->limits = *limits;
    set->instance = xstrdup(instance);
    set->changed = changed;
    set->owner = owner;
    roster_init(&set->roster);
    return set;
}

void nodes_free(struct nodes **pset)
{
    struct nodes *set = *pset;

    if (set == NULL) {
        return;
    }
    *pset = NULL;
    followers_fini(set);
    members_fini(set);
    roster_fini(&set->roster);
    free(set->instance);
    free(set);
}

struct nodes *nodes_follow(struct nodes *leader, struct loop *loop)
{
    struct nodes *set = nodes_new(loop, &leader->limits, leader->instance, NULL, NULL);
    int rv;

    follower_add(leader, set);
    rv = members_take(set);
    ASSERT(rv == MCP_OK); /* start-up */
    return set;
}

void nodes_start(struct nodes *set)
{
    set->started = true;
    for (size_t i = 0; i < set->count; i++) {
        node_poll_now(set->list[i]->poll);
    }
}

struct loop *nodes_loop(const struct nodes *set)
{
    return set->loop;
}

const struct node_limits *nodes_limits(const struct nodes *set)
{
    return &set->limits;
}

const char *nodes_instance(const struct nodes *set)
{
    return set->instance;
}

size_t nodes_count(const struct nodes *set)
{
    return set->count;
}

struct node *nodes_at(struct nodes *set, size_t i)
{
    ASSERT(i < set->count);
    return set->list[i];
}

struct node *nodes_by_id(struct nodes *set, uint64_t id)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->list[i]->id == id) {
            return set->list[i];
        }
    }
    return NULL;
}

struct node *nodes_by_name(struct nodes *set, struct slice name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (slice_eq(slice_str(set->list[i]->spec->name), name)) {
            return set->list[i];
        }
    }
    return NULL;
}

void nodes_serve(struct nodes *set, struct node *n, enum node_service service)
{
    ASSERT(set->leader == NULL);
    n->service = service;
    followers_publish(set, n);
}

bool nodes_have_changed(const struct nodes *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->list[i]->state == NODE_UP && atomic_load(&set->list[i]->share->changed)) {
            return true;
        }
    }
    return false;
}

bool nodes_drained(const struct nodes *set, const struct node *n)
{
    const struct nodes *leader = set->leader != NULL ? set->leader : set;

    return node_share_is_drained(n->share, leader->follower_count); /* constant since the start */
}

static bool expects_first(const struct nodes *set)
{
    const struct nodes *leader = set->leader != NULL ? set->leader : set;

    return atomic_load(&leader->expecting) && nodes_up(set) == 0;
}

bool nodes_all_polled(const struct nodes *set)
{
    if (expects_first(set)) {
        return false;
    }
    for (size_t i = 0; i < set->count; i++) {
        if (set->list[i]->state == NODE_STARTING) {
            return false;
        }
    }
    return true;
}

size_t nodes_up(const struct nodes *set)
{
    size_t up = 0;

    for (size_t i = 0; i < set->count; i++) {
        up += set->list[i]->state == NODE_UP;
    }
    return up;
}

size_t nodes_serving(const struct nodes *set)
{
    size_t serving = 0;

    for (size_t i = 0; i < set->count; i++) {
        serving += node_takes_work(set->list[i]);
    }
    return serving;
}

static bool is_stale(const struct nodes *set, const struct node *n)
{
    return n->state == NODE_UP &&
           (n->catalogue_changed || loop_now_ms(set->loop) - n->catalogue_ms > CATALOGUE_FRESH_MS);
}

/* Nodes that are up and being read; and while none is up, those that may be: they were never
 * polled. */
static bool is_awaited(const struct nodes *set, const struct node *n)
{
    return node_poll_reading(n->poll) &&
           (n->state == NODE_UP || (n->state == NODE_STARTING && nodes_up(set) == 0));
}

void nodes_wake_waiting(struct nodes *set)
{
    struct nodes_refresh *r;

    if (set->leader == NULL && expects_first(set)) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        if (is_awaited(set, set->list[i])) {
            return;
        }
    }
    while ((r = refresh_list_pop(&set->waiting)) != NULL) {
        task_defer(set->loop, &r->task);
    }
}

void nodes_expect(struct nodes *set, bool more)
{
    ASSERT(set->leader == NULL);
    atomic_store(&set->expecting, more);
    nodes_wake_waiting(set);
}

void nodes_changed(struct nodes *set, struct node *n)
{
    if (set->leader != NULL) {
        return; /* its word is what counts, and it will tell */
    }
    followers_publish(set, n);
    set->changed(set->owner, n);
    nodes_wake_waiting(set); /* a node that went down is not waited for */
}

void nodes_refresh(struct nodes *set, struct nodes_refresh *r, loop_cb done, void *owner)
{
    task_init(&r->task, done, owner);
    refresh_list_push(&set->waiting, r);
    if (set->leader != NULL) {
        follower_refresh(set, r);
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        if (is_stale(set, set->list[i])) {
            node_poll_now(set->list[i]->poll);
        }
    }
    nodes_wake_waiting(set);
}

void nodes_refresh_cancel(struct nodes *set, struct nodes_refresh *r)
{
    if (refresh_list_has(r)) {
        refresh_list_remove(&set->waiting, r);
    }
    task_cancel(set->loop, &r->task);
}

void nodes_poll_ended(struct nodes *set, struct node *n)
{
    followers_publish(set, n);
    node_share_settle(n->share, n);
    /* It changed behind what was just read, and somebody may wait for just that. */
    if (n->state == NODE_UP && n->catalogue_changed &&
        (n->reads_soon || refresh_list_first(&set->waiting) != NULL)) {
        node_poll_now(n->poll);
    }
    nodes_wake_waiting(set);
}
