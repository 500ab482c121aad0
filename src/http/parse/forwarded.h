/* SPDX-License-Identifier: Apache-2.0 */
/* Who proxies say a request came from: the values of Forwarded (RFC 7239) and X-Forwarded-For, hop
 * by hop from the left, where the client may have written what it liked, to the right, where the
 * proxy nearest to us wrote. Sans-IO; borrows the value. */
#ifndef MCP_HTTP_PARSE_FORWARDED_H
#define MCP_HTTP_PARSE_FORWARDED_H

#include <stdbool.h>

#include "base/ip.h"
#include "base/slice.h"

enum { FORWARDED_NAME_MAX = 64 };

enum forwarded_kind {
    FORWARDED_IP,
    FORWARDED_NAME,    /* an obfuscated identifier: "_x", by which its proxy knows it again */
    FORWARDED_UNKNOWN, /* "unknown", nobody, or nothing that can be read */
};

struct forwarded_hop {
    enum forwarded_kind kind;
    struct ip ip;
    char name[FORWARDED_NAME_MAX + 1];
};

/* The next hop of the value, which is moved past it; false: there are no more. A value that breaks
 * the grammar ends with a hop that is unknown: what follows cannot be told apart any more. */
bool forwarded_next(struct slice *value, struct forwarded_hop *hop);
bool x_forwarded_for_next(struct slice *value, struct forwarded_hop *hop);

#endif
