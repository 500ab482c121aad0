/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a node: http://host[:port][/path], unix:PATH, or what OLLAMA_HOST may hold (host,
 * host:port, :port, [v6]:port, a bare v6 address). Sans-IO; slices borrow the text. */
#ifndef MCP_HTTP_PARSE_URL_H
#define MCP_HTTP_PARSE_URL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

struct url {
    struct slice host; /* without brackets; 127.0.0.1 where the text names none; the socket's path
                          for unix */
    unsigned port;     /* 80 where http:// gives none, 11434 without a scheme; 0 for unix */
    struct slice path; /* without slashes at the end; "" for the root */
    bool is_unix;
    bool is_ipv6;
};

/* 0, or MCP_EARGUMENT with what was expected (https, user:pass@, query, fragment, bad ports are
 * refused by name). Spaces and quotes around the text are dropped, as Ollama does. */
MUST_CHECK int url_parse(struct url *u, struct slice text, struct err *e);

/* The path of a request's target: all before its query. */
struct slice url_target_path(struct slice target);

/* Appends a piece of a path with its %XX taken apart; what is no such escape stays as it is. False:
 * out of memory. */
bool url_unescape(struct slice text, struct buf *out);

#endif
