/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/sub.h"
#include "reactor/sock.h"

struct mcp_face {
    struct sub *sub;
    struct mcp_conn_list conns;
    uint64_t last_number; /* of a connection; as those of exchanges, unlike any other's */
    bool draining;
};

static void on_closed(void *owner, struct mcp_conn *c)
{
    struct mcp_face *f = owner;

    mcp_conn_list_remove(&f->conns, c);
    counter_add(COUNTER_OPEN_MCP, -1);
    sub_closed(f->sub);
}

void mcp_face_accept(struct mcp_face *f, int fd, const struct addr *peer)
{
    struct sock *sock = sock_adopt(f->sub->loop, fd, NULL, NULL); /* owned before it tells */

    if (sock == NULL) {
        counter_add(COUNTER_CONN_MCP, 1);
        sub_closed(f->sub);
        return;
    }
    (void)mcp_face_take(f, sock, peer);
}

bool mcp_face_take(struct mcp_face *f, struct sock *sock, const struct addr *client)
{
    struct mcp_conn *c = NULL;

    counter_add(COUNTER_CONN_MCP, 1);
    f->last_number += f->sub->exchange_step;
    if (f->draining) {
        sock_close(&sock, false);
    } else {
        c = mcp_conn_new(f->sub, sock, f->last_number, client, on_closed, f);
    }
    if (c == NULL) {
        sub_closed(f->sub);
        return false;
    }
    counter_add(COUNTER_OPEN_MCP, 1);
    mcp_conn_list_push(&f->conns, c);
    return true;
}

struct mcp_face *mcp_face_new(struct sub *sub)
{
    struct mcp_face *f = xcalloc(1, sizeof(*f));

    f->sub = sub;
    f->last_number = sub->last_exchange;
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
    free(f);
}

void mcp_face_reconfigured(struct mcp_face *f)
{
    for (struct mcp_conn *c = mcp_conn_list_first(&f->conns); c != NULL;
         c = mcp_conn_list_next(&f->conns, c)) {
        mcp_conn_judge_again(c);
    }
}

void mcp_face_drain(struct mcp_face *f)
{
    struct mcp_conn *c = mcp_conn_list_first(&f->conns);

    f->draining = true;
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

void mcp_face_walk(const struct mcp_face *f, void (*cb)(void *owner, const struct mcp_conn *c),
                   void *owner)
{
    for (const struct mcp_conn *c = mcp_conn_list_first(&f->conns); c != NULL;
         c = mcp_conn_list_next(&f->conns, c)) {
        cb(owner, c);
    }
}

size_t mcp_face_held(const struct mcp_face *f)
{
    size_t count = 0;

    for (const struct mcp_conn *c = mcp_conn_list_first(&f->conns); c != NULL;
         c = mcp_conn_list_next(&f->conns, c)) {
        count += mcp_conn_held(c);
    }
    return count;
}

void mcp_face_drain_over(struct mcp_face *f)
{
    struct mcp_conn *c = mcp_conn_list_first(&f->conns);

    while (c != NULL) {
        struct mcp_conn *next = mcp_conn_list_next(&f->conns, c);

        mcp_conn_drain_over(c);
        c = next;
    }
}
