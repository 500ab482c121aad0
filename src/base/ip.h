/* SPDX-License-Identifier: Apache-2.0 */
/* An IP address without a port, and networks of them (CIDR). IPv4 is kept as ::ffff:a.b.c.d, so
 * that an address is the same however a listener or a proxy says it. Plain values; no names, no
 * zones. */
#ifndef MCP_BASE_IP_H
#define MCP_BASE_IP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

enum { IP_BYTES = 16, IP_TEXT_MAX = 48 };

struct ip {
    unsigned char bytes[IP_BYTES];
};

struct ip_net {
    struct ip base;
    unsigned bits; /* of the 128 */
};

/* "192.0.2.1" or "2001:db8::1". False: anything else. */
bool ip_read(struct slice text, struct ip *ip);
/* As it is usually written; IPv4 in four numbers. */
void ip_format(const struct ip *ip, char out[IP_TEXT_MAX]);

/* An address, or one with a prefix: "10.0.0.0/8", "fd00::/8". 0, or MCP_EARGUMENT with what is
 * wrong with it. */
int ip_net_read(struct slice text, struct ip_net *net, struct err *e);
bool ip_net_has(const struct ip_net *net, const struct ip *ip);

#endif
