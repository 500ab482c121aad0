/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to a listener with `proxy_protocol`, until its PROXY header has said whose it is;
 * then it is the face's, from the client that was named. Only trusted proxies get so far. Belongs
 * to the sub reactor; the loop's thread only.
 *
 * state     entered              timer    left by
 * waiting   accepted, trusted    10 s     header: the face's; wrong, late, gone, drain: closed */
#ifndef MCP_GATEWAY_PROXIED_H
#define MCP_GATEWAY_PROXIED_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/list.h"
#include "gateway/config.h"
#include "gateway/exchange.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct sock;
struct sub;

struct proxied {
    unsigned magic;
    struct list_link link;
    struct sub *sub;
    enum exchange_face face;
    struct sock *sock; /* NULL: closed, or the face's */
    struct addr peer;
    struct buf held; /* of the header, while it is not whole */
    struct timer limit;
};

LIST_DECLARE(proxied_list, struct proxied, link);

/* Whether the connections of that face begin with a PROXY header. */
static inline bool proxied_is_wanted(const struct config *c, enum exchange_face face)
{
    return face == FACE_MCP ? c->mcp_proxied : c->http_proxied;
}

/* Takes the descriptor. */
void proxied_accept(struct sub *s, enum exchange_face face, int fd, const struct addr *peer);
/* Closes those that still wait. */
void proxied_drop_all(struct sub *s);

#endif
