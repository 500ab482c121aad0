/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol, versions 1 and 2: what a proxy says in front of a connection's first byte
 * about the client it speaks for. Sans-IO.
 *
 * v1  "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n" (TCP6, UNKNOWN; at most 107 bytes)
 * v2  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | version, command | family, protocol | length (2) |
 *     source, destination, their ports | further fields, which are skipped */
#ifndef MCP_REACTOR_PROXY_HEADER_H
#define MCP_REACTOR_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/slice.h"

enum { PROXY_HEADER_BYTES_MAX = 4096 };

struct proxy_header {
    bool names_client; /* else the connection is the proxy's own (LOCAL), or of no known family */
    struct ip ip;
    unsigned port;
};

/* Reads it from the first bytes of a connection: how many it takes up, 0: more are needed, or
 * MCP_EBAD_REQUEST, as soon as that is certain. */
MUST_CHECK ptrdiff_t proxy_header_read(struct slice in, struct proxy_header *h, struct err *e);

#endif
