/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes a registry has. The leader's are those of the configuration, a follower's those of
 * the leader's roster. A new list is made whole before the old one goes; a node stays the same
 * object as long as its share does. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "node/call.h"
#include "node/poll.h"
#include "node/registry_internal.h"
#include "node/share.h"

/* Takes over the reference. NULL: out of memory; it is released. */
static struct node *node_new(struct nodes *set, struct node_share *share)
{
    struct node *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        node_share_unref(&share);
        return NULL;
    }
    n->magic = NODE_MAGIC;
    n->id = share->id;
    n->set = set;
    n->share = share;
    n->spec = &share->spec;
    n->kind = share->spec.kind;
    node_pool_init(&n->pool, set->loop, set->limits.pool_idle, set->limits.pool_idle_ms,
                   &share->idle);
    return n;
}

static void node_destroy(void *ptr)
{
    struct node *n = ptr;

    catalogue_fini(&n->catalogue);
    residency_fini(&n->residency);
    node_share_unref(&n->share);
    n->magic = 0;
    free(n);
}

static void node_free(struct node *n)
{
    node_poll_free(&n->poll);
    node_calls_drop(n);
    node_pool_fini(&n->pool);
    node_destroy(n);
}

void nodes_bury(struct nodes *set, struct node *n)
{
    struct node **at = &set->retired;

    while (*at != n) {
        at = &(*at)->next_retired;
    }
    *at = n->next_retired;
    loop_bury(set->loop, n, node_destroy); /* its last call's end is still being told */
}

static void retire(struct nodes *set, struct node *n)
{
    node_poll_free(&n->poll);
    n->retired = true;
    n->next_retired = set->retired;
    set->retired = n;
    node_pool_limit(&n->pool, 0, 0);
    node_pool_fini(&n->pool);
    if (n->calls == 0) {
        nodes_bury(set, n);
    }
}

static bool is_among(const struct node *n, struct node *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == n) {
            return true;
        }
    }
    return false;
}

/* A list that was not used after all: its new nodes go. */
static void drop_list(struct nodes *set, struct node **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_among(list[i], set->list, set->count)) {
            node_free(list[i]);
        }
    }
    free(list);
}

static void use_list(struct nodes *set, struct node **list, size_t count,
                     const struct node_limits *limits)
{
    struct node **old = set->list;
    size_t old_count = set->count;

    set->limits = *limits;
    set->list = list;
    set->count = count;
    for (size_t i = 0; i < count; i++) {
        node_pool_limit(&list[i]->pool, limits->pool_idle, limits->pool_idle_ms);
    }
    for (size_t i = 0; i < old_count; i++) {
        if (!is_among(old[i], list, count)) {
            retire(set, old[i]);
        }
    }
    free(old);
}

void members_fini(struct nodes *set)
{
    for (size_t i = 0; i < set->count; i++) {
        node_free(set->list[i]);
    }
    free(set->list);
    while (set->retired != NULL) {
        struct node *n = set->retired;

        set->retired = n->next_retired;
        n->retired = false; /* its calls end here, not one by one */
        node_free(n);
    }
}

/* --- the leader ------------------------------------------------------------------------------- */

/* A node for these options: one of the set's that is not in `list` yet, or a new one. */
static struct node *find_or_make(struct nodes *set, const struct node_options *o,
                                 struct node *const *list, size_t count, struct err *e)
{
    struct node_share *share = node_share_new(set->last_id + 1, o, e);
    struct node *n;

    if (share == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < set->count; i++) {
        if (node_spec_same(set->list[i]->spec, &share->spec) &&
            !is_among(set->list[i], list, count)) {
            node_share_unref(&share);
            return set->list[i];
        }
    }
    n = node_new(set, share);
    if (n != NULL) {
        n->poll = node_poll_new(n);
        if (n->poll != NULL) {
            set->last_id++;
            return n;
        }
        node_free(n);
    }
    (void)err_set(e, MCP_ENOMEM, "out of memory");
    return NULL;
}

/* `list` is used, or dropped. */
static int lead(struct nodes *set, struct node **list, size_t count,
                const struct node_limits *limits, struct err *e)
{
    int rv = roster_publish(&set->roster, list, count, limits);

    if (rv != MCP_OK) {
        drop_list(set, list, count);
        return err_set(e, rv, "out of memory");
    }
    use_list(set, list, count, limits);
    for (size_t i = 0; set->started && i < count; i++) {
        if (list[i]->state == NODE_STARTING) {
            node_poll_now(list[i]->poll);
        }
    }
    followers_tell(set);
    nodes_wake_waiting(set); /* one that has retired is not waited for */
    return MCP_OK;
}

int nodes_configure(struct nodes *set, const struct node_options *options, size_t count,
                    const struct node_limits *limits, struct err *e)
{
    struct node **list = calloc(count + 1, sizeof(struct node *));

    ASSERT(set->leader == NULL);
    if (list == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = find_or_make(set, &options[i], list, i, e);
        if (list[i] == NULL) {
            drop_list(set, list, i);
            return e->code;
        }
    }
    return lead(set, list, count, limits, e);
}

int nodes_add(struct nodes *set, const struct node_options *options, struct err *e)
{
    struct node **list = calloc(set->count + 2, sizeof(struct node *));
    size_t count = 0;

    ASSERT(set->leader == NULL);
    if (list == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    for (; count < set->count; count++) {
        list[count] = set->list[count];
    }
    list[count] = find_or_make(set, options, list, count, e);
    if (list[count] == NULL) {
        drop_list(set, list, count);
        return e->code;
    }
    return lead(set, list, count + 1, &set->limits, e);
}

/* --- a follower ------------------------------------------------------------------------------- */

static struct node *find_or_follow(struct nodes *set, struct node_share *share)
{
    struct node *n;

    for (size_t i = 0; i < set->count; i++) {
        if (set->list[i]->share == share) {
            return set->list[i];
        }
    }
    n = node_new(set, node_share_ref(share));
    if (n != NULL) {
        node_share_take(share, n);
    }
    return n;
}

int members_take(struct nodes *set)
{
    struct roster_copy roster;
    struct node **list;
    int rv = MCP_OK;

    if (set->roster_version == atomic_load(&set->leader->roster.version)) {
        return MCP_OK;
    }
    if (roster_copy(&set->leader->roster, &roster) != MCP_OK) {
        return MCP_ENOMEM;
    }
    list = calloc(roster.count + 1, sizeof(struct node *));
    for (size_t i = 0; list != NULL && i < roster.count; i++) {
        list[i] = find_or_follow(set, roster.shares[i]);
        if (list[i] == NULL) {
            drop_list(set, list, i);
            list = NULL;
        }
    }
    if (list == NULL) {
        rv = MCP_ENOMEM;
    } else {
        use_list(set, list, roster.count, &roster.limits);
        set->roster_version = roster.version;
    }
    roster_copy_fini(&roster);
    return rv;
}
