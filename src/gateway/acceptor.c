/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/acceptor.h"

#include <stdlib.h>

#include "base/check.h"
#include "gateway/gateway.h"
#include "gateway/sub.h"
#include "reactor/listener.h"

struct acceptor {
    struct gateway *gateway;
    enum exchange_face face;
    struct listener *listener; /* NULL: closed */
    struct addr addr;
    size_t turn;
};

/* Of those with equally few, the next one in turn. */
static struct sub *least_loaded(struct acceptor *a)
{
    struct gateway *g = a->gateway;
    struct sub *best = NULL;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < g->sub_count; i++) {
        struct sub *s = &g->subs[(a->turn + i) % g->sub_count];
        size_t open = atomic_load_explicit(&s->open, memory_order_relaxed);

        if (open < least) {
            least = open;
            best = s;
        }
    }
    a->turn++;
    return best;
}

static void on_accept(void *owner, int fd, const struct addr *peer)
{
    struct acceptor *a = owner;

    sub_hand(least_loaded(a), a->face, fd, peer);
}

struct acceptor *acceptor_new(struct gateway *g, enum exchange_face face, const struct addr *at,
                              struct err *e)
{
    struct acceptor *a = xcalloc(1, sizeof(*a));

    a->gateway = g;
    a->face = face;
    a->listener = listener_new(g->loop, at, on_accept, a, e);
    if (a->listener == NULL) {
        free(a);
        return NULL;
    }
    a->addr = *listener_addr(a->listener);
    return a;
}

void acceptor_close(struct acceptor *a)
{
    listener_free(&a->listener);
}

void acceptor_free(struct acceptor **ap)
{
    struct acceptor *a = *ap;

    if (a == NULL) {
        return;
    }
    *ap = NULL;
    acceptor_close(a);
    free(a);
}

const struct addr *acceptor_addr(const struct acceptor *a)
{
    return &a->addr;
}
