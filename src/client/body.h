/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of a REQUEST as the client sends it, and what the client must know of it. Pure. */
#ifndef MCP_CLIENT_BODY_H
#define MCP_CLIENT_BODY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct client_body {
    bool streams;    /* the answer ends at its top-level "done"; else its one part is the end */
    bool repeatable; /* may be sent again, on a new connection too */
};

/* Appends `json` to `out`, with the key (a JSON string; empty: none) put into `mcp` where it has
 * none of its own. 0, MCP_EBAD_REQUEST, MCP_EUNSUPPORTED_OP, MCP_ETOO_LARGE (over `most_bytes`),
 * MCP_ENOMEM. */
int client_body_make(struct client_body *body, struct buf *out, struct slice json,
                     struct slice auth_json, size_t most_bytes, struct err *e);

#endif
