/* SPDX-License-Identifier: Apache-2.0 */
#include "node/roster.h"

#include <stdlib.h>

#include "base/err.h"
#include "node/share.h"

static void release(struct node_share **shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        node_share_unref(&shares[i]);
    }
    free(shares);
}

void roster_init(struct roster *r)
{
    *r = (struct roster){0};
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail for a default mutex */
}

void roster_fini(struct roster *r)
{
    release(r->shares, r->count);
    (void)pthread_mutex_destroy(&r->lock); /* nobody holds it any more */
}

int roster_publish(struct roster *r, struct node *const *nodes, size_t count,
                   const struct node_limits *limits)
{
    struct node_share **shares = calloc(count + 1, sizeof(struct node_share *));
    struct node_share **old;
    size_t old_count;

    if (shares == NULL) {
        return MCP_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        shares[i] = node_share_ref(nodes[i]->share);
    }
    (void)pthread_mutex_lock(&r->lock);
    old = r->shares;
    old_count = r->count;
    r->shares = shares;
    r->count = count;
    r->limits = *limits;
    (void)atomic_fetch_add(&r->version, 1);
    (void)pthread_mutex_unlock(&r->lock);
    release(old, old_count);
    return MCP_OK;
}

int roster_copy(struct roster *r, struct roster_copy *out)
{
    (void)pthread_mutex_lock(&r->lock);
    *out = (struct roster_copy){
        .version = atomic_load(&r->version),
        .shares = calloc(r->count + 1, sizeof(struct node_share *)),
        .limits = r->limits,
    };
    for (; out->shares != NULL && out->count < r->count; out->count++) {
        out->shares[out->count] = node_share_ref(r->shares[out->count]);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return out->shares == NULL ? MCP_ENOMEM : MCP_OK;
}

void roster_copy_fini(struct roster_copy *c)
{
    release(c->shares, c->count);
    *c = (struct roster_copy){0};
}
