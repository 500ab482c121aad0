/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of a node, in the form requests use it. Never changes once made; any
 * thread. */
#ifndef MCP_NODE_SPEC_H
#define MCP_NODE_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "http/parse/message.h"

enum node_kind { NODE_KIND_UNKNOWN, NODE_KIND_OLLAMA, NODE_KIND_OPENAI };

struct node_options {
    const char *url;
    enum node_kind kind;               /* UNKNOWN: found by polling */
    const char *name;                  /* NULL: host and port of the URL */
    const char *api_key;               /* NULL: none */
    const struct http_header *headers; /* sent with every request */
    size_t header_count;
    const char *source; /* where it stands in the configuration; NULL: under its name */
};

struct node_spec {
    char *name;
    char *source;
    char *url;
    char *host; /* to look up; the path for unix sockets */
    unsigned port;
    bool is_unix;
    char *host_header;   /* value of Host */
    char *prefix;        /* path of the URL, "" or "/x" */
    char *extra_headers; /* "Name: value\r\n"...: credentials and configured headers */
    enum node_kind kind;
};

/* MCP_EARGUMENT with what is wrong with the URL, MCP_ENOMEM; `s` then holds nothing. */
int node_spec_init(struct node_spec *s, const struct node_options *o, struct err *e);
void node_spec_fini(struct node_spec *s);
bool node_spec_same(const struct node_spec *a, const struct node_spec *b);

#endif
