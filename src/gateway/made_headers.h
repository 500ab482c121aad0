/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a request to a node that is not an HTTP client's own: its type, the exchange's id,
 * and what an MCP client said to be traced under. Pure. */
#ifndef MCP_GATEWAY_MADE_HEADERS_H
#define MCP_GATEWAY_MADE_HEADERS_H

#include <stddef.h>

#include "http/parse/message.h"

struct exchange;

enum { MADE_HEADERS_MAX = 3 };

/* How many; the slices are the exchange's. */
size_t made_headers(const struct exchange *x, struct http_header headers[MADE_HEADERS_MAX]);

#endif
