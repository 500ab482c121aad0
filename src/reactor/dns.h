/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in DNS itself (not in /etc/hosts): the addresses of a name, or those of the servers of a
 * service. Blocking, by the C library's resolver: for loop_offload. Reading a message is pure. */
#ifndef MCP_REACTOR_DNS_H
#define MCP_REACTOR_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"
#include "reactor/addr.h"

enum { DNS_FOUND_MAX = 1024, DNS_NAME_MAX = 256 };

struct dns_question {
    const char *name;
    bool is_service;           /* its SRV records; else its addresses */
    unsigned port;             /* of the addresses; a service says its own */
    const struct addr *server; /* NULL: those of /etc/resolv.conf, with its search list */
};

struct dns_found {
    struct addr *at; /* as they came; cut at DNS_FOUND_MAX */
    size_t count;
    uint32_t ttl_s; /* the shortest; UINT32_MAX: there was none */
};

/* IPv4 addresses of a name, else IPv6 ones: a server with both is not found twice. 0 with at least
 * one address; MCP_ECONNECT with why there is none, MCP_ENOMEM. */
MUST_CHECK int dns_ask(const struct dns_question *q, struct dns_found *out, struct err *e);
void dns_found_fini(struct dns_found *f);

/* Adds the addresses that a message holds: those of its answer, whoever owns them (an alias is
 * followed by the server), or of `owner` among what was sent along. MCP_EBAD_REQUEST: it is none.
 */
MUST_CHECK int dns_read_addresses(struct slice message, const char *owner, unsigned port,
                                  struct dns_found *out);

struct dns_service {
    char target[DNS_NAME_MAX];
    unsigned port;
};
/* The `at`-th server that a message names for a service. False: there are no more. A root as the
 * target, which says that there is no service, is left out. */
bool dns_read_service(struct slice message, size_t at, struct dns_service *out, uint32_t *ttl_s);

#endif
