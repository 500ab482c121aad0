/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges of the gateway's own, without a client: they stand for several that share an answer, or
 * copy one. Whoever makes one says what is asked and for whom, then has this fill in what a face
 * would have read. */
#ifndef MCP_GATEWAY_INNER_H
#define MCP_GATEWAY_INNER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "http/parse/message.h"

struct exchange;
struct exchange_sink;
struct sub;

/* exchange_new. */
struct exchange *inner_new(struct sub *sub, const struct exchange_sink *sink, void *owner);

/* RELAY: the head that it has over HTTP; X-Request-Id is added. Copied. */
struct inner_head {
    struct slice method;
    struct slice path;
    const struct http_header *headers;
    size_t header_count;
};

/* Its body, JSON of an HTTP request, is in it already. `head` is read where it is not `native`.
 * False: out of memory, of body_memory too, and exchange_refuse is all that is left to do. */
bool inner_fill(struct exchange *x, const struct inner_head *head, struct slice model);

#endif
