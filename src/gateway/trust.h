/* SPDX-License-Identifier: Apache-2.0 */
/* Which peers are proxies that may say for whom they speak (`trusted_proxies`), and who asks when
 * they do. Part of the configuration: never changes once made, read from any thread. */
#ifndef MCP_GATEWAY_TRUST_H
#define MCP_GATEWAY_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/ip.h"
#include "reactor/addr.h"

struct http_head;

struct trust {
    struct ip_net *nets;
    size_t count;
    bool has_unix; /* whoever comes by a unix socket */
};

/* One of the list: an address, a network, or "unix". 0, MCP_EARGUMENT or MCP_ENOMEM. */
int trust_add(struct trust *t, struct slice text, struct err *e);
void trust_fini(struct trust *t);
bool trust_same(const struct trust *a, const struct trust *b);

static inline bool trust_is_empty(const struct trust *t)
{
    return t->count == 0 && !t->has_unix;
}

bool trust_has(const struct trust *t, const struct addr *peer);
/* Anybody's address is among them. */
bool trust_has_all(const struct trust *t);

/* The client of a request, as it is written in logs and counted by: the peer; where that is
 * trusted, whom the headers name nearest to us that is not. */
void trust_client(const struct trust *t, const struct addr *peer, const struct http_head *head,
                  char client[ADDR_TEXT_MAX]);

#endif
