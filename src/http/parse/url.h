/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a node: http://host[:port][/path], unix:PATH. Sans-IO; slices borrow the text. */
#ifndef MCP_HTTP_PARSE_URL_H
#define MCP_HTTP_PARSE_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

struct url {
    struct slice host; /* without brackets; the path of the socket for unix */
    unsigned port;     /* 80 where http:// gives none; 11434 for a bare host as in OLLAMA_HOST */
    struct slice path; /* without a trailing slash; "" for the root */
    bool is_unix;
    bool is_ipv6;
};

/* 0, or MCP_EARGUMENT with what was expected (https, user:pass@, query, fragment, bad ports are refused by name). */
int url_parse(struct url *u, struct slice text, struct err *e);

#endif
