/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pool.h"

#include <stdlib.h>

#include "base/counter.h"

void node_pool_init(struct node_pool *p, struct loop *loop, size_t max_idle, uint64_t max_idle_ms)
{
    *p = (struct node_pool){.loop = loop, .max_idle = max_idle, .max_idle_ms = max_idle_ms};
}

static struct http_client *pooled_unlink(struct pooled *e)
{
    struct http_client *client = e->client;

    pooled_list_remove(&e->pool->idle, e);
    timer_cancel(e->pool->loop, &e->age);
    /* Buried, not freed: this may run inside the entry's own callback. */
    loop_bury(e->pool->loop, e, free);
    return client;
}

static void pooled_evict(struct pooled *e)
{
    struct http_client *client = pooled_unlink(e);

    counter_add(COUNTER_NODE_POOL_EVICTED, 1);
    http_client_close(&client);
}

static void on_age(void *owner)
{
    pooled_evict(owner);
}

static void on_failed(void *owner, enum http_failure why, int error, const char *text)
{
    (void)why;
    (void)error;
    (void)text;
    pooled_evict(owner);
}

/* No request is out, so only `failed` can come. */
static void on_head(void *owner, const struct http_head *head)
{
    (void)owner;
    (void)head;
}

static void on_body(void *owner, struct slice bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_end(void *owner, bool reusable)
{
    (void)owner;
    (void)reusable;
}

static const struct http_client_ops pooled_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
};

void node_pool_fini(struct node_pool *p)
{
    struct pooled *e;

    while ((e = pooled_list_first(&p->idle)) != NULL) {
        struct http_client *client = pooled_unlink(e);

        http_client_close(&client);
    }
}

struct http_client *node_pool_take(struct node_pool *p)
{
    struct pooled *e = pooled_list_last(&p->idle);

    return e == NULL ? NULL : pooled_unlink(e);
}

void node_pool_put(struct node_pool *p, struct http_client **client)
{
    struct pooled *e = p->max_idle == 0 ? NULL : calloc(1, sizeof(*e));

    if (e == NULL) {
        http_client_close(client);
        return;
    }
    if (p->idle.count >= p->max_idle) {
        pooled_evict(pooled_list_first(&p->idle));
    }
    e->pool = p;
    e->client = *client;
    *client = NULL;
    timer_init(&e->age, on_age, e);
    timer_arm(p->loop, &e->age, p->max_idle_ms);
    pooled_list_push(&p->idle, e);
    http_client_set_owner(e->client, &pooled_ops, e);
}
