/* SPDX-License-Identifier: Apache-2.0 */
/* A node's address that stands for as many nodes as DNS knows under a name:
 * dns://NAME[:PORT][/PATH] for its addresses, srv://_SERVICE._tcp.NAME[/PATH] for the servers of a
 * service. Pure; slices borrow the text. */
#ifndef MCP_GATEWAY_DNS_URL_H
#define MCP_GATEWAY_DNS_URL_H

#include <stdbool.h>

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

struct dns_url {
    struct slice name;
    bool is_service;
    unsigned port;     /* 11434 where none is given; 0 for a service, whose records say it */
    struct slice path; /* that nodes found have before their own; without slashes at the end */
};

/* Whether the text is meant as one. */
bool dns_url_is(struct slice text);
/* 0, or MCP_EARGUMENT with what was expected. */
MUST_CHECK int dns_url_parse(struct dns_url *u, struct slice text, struct err *e);

#endif
