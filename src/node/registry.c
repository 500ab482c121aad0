/* SPDX-License-Identifier: Apache-2.0 */
#include "node/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "http/parse/url.h"
#include "node/call.h"
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
    return set;
}

static void node_free(struct node *n)
{
    bool leads = n->poll != NULL;

    node_poll_free(&n->poll);
    node_calls_drop(n);
    node_pool_fini(&n->pool);
    catalogue_fini(&n->catalogue);
    free(n->name);
    free(n->url);
    free(n->host);
    free(n->host_header);
    free(n->prefix);
    free(n->extra_headers);
    if (leads) {
        node_share_free(&n->share);
    }
    free(n);
}

void nodes_free(struct nodes **pset)
{
    struct nodes *set = *pset;

    if (set == NULL) {
        return;
    }
    *pset = NULL;
    followers_fini(set);
    for (size_t i = 0; i < set->count; i++) {
        node_free(set->list[i]);
    }
    free(set->list);
    free(set->instance);
    free(set);
}

static struct node *node_new(struct nodes *set, uint64_t id, struct node_share *share)
{
    struct node *n = xcalloc(1, sizeof(*n));

    n->magic = NODE_MAGIC;
    n->id = id;
    n->set = set;
    n->share = share;
    node_pool_init(&n->pool, set->loop, set->limits.pool_idle, set->limits.pool_idle_ms,
                   &share->idle);
    return n;
}

static char *copy_slice(struct slice s)
{
    char *copy = xcalloc(1, s.len + 1);

    memcpy(copy, s.ptr, s.len);
    return copy;
}

static char *take_text(struct buf *b)
{
    char *copy = copy_slice(buf_slice(b));

    buf_fini(b);
    return copy;
}

static void set_host_header(struct node *n, const struct url *u)
{
    struct buf b = {0};

    if (u->is_unix) {
        buf_append_str(&b, "localhost");
    } else if (u->is_ipv6) {
        buf_printf(&b, "[%s]:%u", n->host, u->port);
    } else {
        buf_printf(&b, "%s:%u", n->host, u->port);
    }
    n->host_header = take_text(&b);
}

static void set_extra_headers(struct node *n, const struct node_options *o)
{
    struct buf b = {0};

    if (o->api_key != NULL) {
        buf_printf(&b, "Authorization: Bearer %s\r\n", o->api_key);
    }
    for (size_t i = 0; i < o->header_count; i++) {
        buf_printf(&b, "%.*s: %.*s\r\n", SLICE_ARG(o->headers[i].name),
                   SLICE_ARG(o->headers[i].value));
    }
    n->extra_headers = take_text(&b);
}

int nodes_add(struct nodes *set, const struct node_options *o, struct err *e)
{
    struct url u;
    struct node *n;
    struct node **list;
    int rv = url_parse(&u, slice_str(o->url), e);

    if (rv != MCP_OK) {
        return rv;
    }
    list = realloc(set->list, (set->count + 1) * sizeof(struct node *));
    if (list == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    set->list = list;
    n = node_new(set, ++set->last_id, node_share_new());
    n->url = xstrdup(o->url);
    n->host = copy_slice(u.host);
    n->port = u.port;
    n->is_unix = u.is_unix;
    n->prefix = copy_slice(u.path);
    set_host_header(n, &u);
    n->name = xstrdup(o->name != NULL ? o->name : (u.is_unix ? o->url : n->host_header));
    set_extra_headers(n, o);
    n->configured_kind = o->kind;
    n->kind = o->kind;
    n->poll = node_poll_new(n);
    set->list[set->count++] = n;
    return MCP_OK;
}

static struct node *copy_node(struct nodes *set, const struct node *from)
{
    struct node *n = node_new(set, from->id, from->share);

    n->url = xstrdup(from->url);
    n->host = xstrdup(from->host);
    n->port = from->port;
    n->is_unix = from->is_unix;
    n->prefix = xstrdup(from->prefix);
    n->host_header = xstrdup(from->host_header);
    n->name = xstrdup(from->name);
    n->extra_headers = xstrdup(from->extra_headers);
    n->configured_kind = from->configured_kind;
    n->kind = from->kind;
    node_share_take(n->share, n);
    return n;
}

struct nodes *nodes_follow(struct nodes *leader, struct loop *loop)
{
    struct nodes *set = nodes_new(loop, &leader->limits, leader->instance, NULL, NULL);

    set->list = xcalloc(leader->count + 1, sizeof(struct node *));
    for (; set->count < leader->count; set->count++) {
        set->list[set->count] = copy_node(set, leader->list[set->count]);
    }
    follower_add(leader, set);
    return set;
}

void nodes_start(struct nodes *set)
{
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

bool nodes_all_polled(const struct nodes *set)
{
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

static bool is_stale(const struct nodes *set, const struct node *n)
{
    return n->state == NODE_UP &&
           (n->catalogue_changed || loop_now_ms(set->loop) - n->catalogue_ms > CATALOGUE_FRESH_MS);
}

/* Nodes that are up and being read; and while none is up, those that may be: they were never
 * polled. */
static bool is_awaited(const struct nodes *set, const struct node *n)
{
    return node_poll_running(n->poll) &&
           (n->state == NODE_UP || (n->state == NODE_STARTING && nodes_up(set) == 0));
}

static void wake_waiting(struct nodes *set)
{
    struct nodes_refresh *r;

    for (size_t i = 0; i < set->count; i++) {
        if (is_awaited(set, set->list[i])) {
            return;
        }
    }
    while ((r = refresh_list_pop(&set->waiting)) != NULL) {
        task_defer(set->loop, &r->task);
    }
}

void nodes_changed(struct nodes *set, struct node *n)
{
    if (set->leader != NULL) {
        return; /* its word is what counts, and it will tell */
    }
    followers_publish(set, n);
    set->changed(set->owner, n);
    wake_waiting(set); /* a node that went down is not waited for */
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
    wake_waiting(set);
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
    /* It changed behind what was just read, and somebody may wait for just that. */
    if (n->state == NODE_UP && n->catalogue_changed && refresh_list_first(&set->waiting) != NULL) {
        node_poll_now(n->poll);
    }
    wake_waiting(set);
}
