/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pool.h"

#include "base/block.h"
#include "base/counter.h"

/* What was used within this time is likely to be wanted again: under load, connections come and go
 * in bursts. */
enum { IDLE_AFTER_MS = 1000, PREPARE_MS = 5000 };

void node_pool_init(struct node_pool *p, struct loop *loop, size_t max_idle, uint64_t max_idle_ms,
                    _Atomic size_t *idle_count)
{
    *p = (struct node_pool){
        .loop = loop, .max_idle = max_idle, .max_idle_ms = max_idle_ms, .idle_count = idle_count};
}

void node_pool_limit(struct node_pool *p, size_t max_idle, uint64_t max_idle_ms)
{
    p->max_idle = max_idle;
    p->max_idle_ms = max_idle_ms;
}

static void pooled_free(void *e)
{
    block_put(e, sizeof(struct pooled));
}

static struct http_client *pooled_unlink(struct pooled *e)
{
    struct http_client *client = e->client;

    pooled_list_remove(&e->pool->unused, e);
    timer_cancel(e->pool->loop, &e->age);
    if (e->idle) {
        (void)atomic_fetch_sub_explicit(e->pool->idle_count, 1, memory_order_relaxed);
    }
    /* Buried, not freed: this may run inside the entry's own callback. */
    loop_bury(e->pool->loop, e, pooled_free);
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
    struct pooled *e = owner;
    struct node_pool *p = e->pool;
    uint64_t age_ms = loop_now_ms(p->loop) - e->since_ms;

    if (age_ms >= p->max_idle_ms) {
        pooled_evict(e);
        return;
    }
    e->idle = true;
    timer_arm(p->loop, &e->age, p->max_idle_ms - age_ms);
    if (atomic_fetch_add_explicit(p->idle_count, 1, memory_order_relaxed) >= p->max_idle) {
        pooled_evict(pooled_list_first(&p->unused)); /* the oldest, maybe this one */
    }
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

/* It counts as unused from now on. */
static void keep(struct pooled *e)
{
    struct node_pool *p = e->pool;

    e->since_ms = loop_now_ms(p->loop);
    timer_init(&e->age, on_age, e);
    timer_arm(p->loop, &e->age,
              p->max_idle_ms < IDLE_AFTER_MS ? p->max_idle_ms : (uint64_t)IDLE_AFTER_MS);
    pooled_list_push(&p->unused, e);
    http_client_set_owner(e->client, &pooled_ops, e);
}

/* --- one that is made ahead ------------------------------------------------------------------- */

static void give_up(void *owner)
{
    struct pooled *e = owner;

    timer_cancel(e->pool->loop, &e->age);
    e->pool->preparing = NULL;
    http_client_close(&e->client);
    loop_bury(e->pool->loop, e, pooled_free);
}

static void on_prepared(void *owner)
{
    struct pooled *e = owner;

    timer_cancel(e->pool->loop, &e->age);
    e->pool->preparing = NULL;
    counter_add(COUNTER_NODE_PREPARED, 1);
    keep(e);
}

static void on_not_prepared(void *owner, enum http_failure why, int error, const char *text)
{
    (void)why;
    (void)error;
    (void)text;
    give_up(owner);
}

static const struct http_client_ops preparing_ops = {
    .connected = on_prepared,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_not_prepared,
};

void node_pool_prepare(struct node_pool *p, const struct addr *to)
{
    struct pooled *e;

    if (p->max_idle == 0 || p->unused.count > 0 || p->preparing != NULL) {
        return;
    }
    e = block_get_zeroed(sizeof(*e));
    if (e == NULL) {
        return;
    }
    e->pool = p;
    timer_init(&e->age, give_up, e);
    e->client = http_client_connect(p->loop, to, &preparing_ops, e);
    if (e->client == NULL) {
        block_put(e, sizeof(*e));
        return;
    }
    counter_add(COUNTER_NODE_CONNECTS, 1);
    timer_arm(p->loop, &e->age, PREPARE_MS);
    p->preparing = e;
}

/* ---------------------------------------------------------------------------------------------- */

void node_pool_evict(struct node_pool *p)
{
    struct pooled *e;

    if (p->preparing != NULL) {
        give_up(p->preparing);
    }
    while ((e = pooled_list_first(&p->unused)) != NULL) {
        pooled_evict(e);
    }
}

void node_pool_fini(struct node_pool *p)
{
    struct pooled *e;

    if (p->preparing != NULL) {
        give_up(p->preparing);
    }
    while ((e = pooled_list_first(&p->unused)) != NULL) {
        struct http_client *client = pooled_unlink(e);

        http_client_close(&client);
    }
}

struct http_client *node_pool_take(struct node_pool *p)
{
    struct pooled *e = pooled_list_last(&p->unused);

    return e == NULL ? NULL : pooled_unlink(e);
}

void node_pool_put(struct node_pool *p, struct http_client **client)
{
    struct pooled *e = p->max_idle == 0 ? NULL : block_get_zeroed(sizeof(*e));

    if (e == NULL) {
        http_client_close(client);
        return;
    }
    e->pool = p;
    e->client = *client;
    *client = NULL;
    keep(e);
}
