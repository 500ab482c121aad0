/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/gateway.h"
#include "reactor/listener.h"

struct mcp_face {
    struct gateway *gateway;
    struct listener *listener; /* NULL: draining */
    struct addr addr;
    struct mcp_conn_list conns;
};

static void on_closed(void *owner, struct mcp_conn *c)
{
    struct mcp_face *f = owner;

    mcp_conn_list_remove(&f->conns, c);
    counter_add(COUNTER_OPEN_MCP, -1);
}

static void on_accept(void *owner, int fd, const struct addr *peer)
{
    struct mcp_face *f = owner;
    struct mcp_conn *c = mcp_conn_new(f->gateway, fd, peer, on_closed, f);

    counter_add(COUNTER_CONN_MCP, 1);
    if (c != NULL) {
        counter_add(COUNTER_OPEN_MCP, 1);
        mcp_conn_list_push(&f->conns, c);
    }
}

struct mcp_face *mcp_face_new(struct gateway *g, const struct addr *at, struct err *e)
{
    struct mcp_face *f = xcalloc(1, sizeof(*f));

    f->gateway = g;
    f->listener = listener_new(g->loop, at, on_accept, f, e);
    if (f->listener == NULL) {
        free(f);
        return NULL;
    }
    f->addr = *listener_addr(f->listener);
    return f;
}

void mcp_face_free(struct mcp_face **face)
{
    struct mcp_face *f = *face;
    struct mcp_conn *c;

    if (f == NULL) {
        return;
    }
    *face = NULL;
    while ((c = mcp_conn_list_first(&f->conns)) != NULL) {
        mcp_conn_close(c);
    }
    if (f->listener != NULL) {
        listener_free(&f->listener);
    }
    free(f);
}

void mcp_face_drain(struct mcp_face *f)
{
    struct mcp_conn *c = mcp_conn_list_first(&f->conns);

    listener_free(&f->listener);
    while (c != NULL) {
        struct mcp_conn *next = mcp_conn_list_next(&f->conns, c);

        mcp_conn_drain(c);
        c = next;
    }
}

size_t mcp_face_open(const struct mcp_face *f)
{
    return f->conns.count;
}

const struct addr *mcp_face_addr(const struct mcp_face *f)
{
    return &f->addr;
}
