/* SPDX-License-Identifier: Apache-2.0 */
/* Telling an HTTP client that its request waits for its turn: in headers of the answer, and where
 * that is an event stream and the wait is long, by comments in it. The first one comes late, as
 * with it goes the status: an error that comes behind it is an event of the stream. */
#ifndef MCP_GATEWAY_FACE_HTTP_WAIT_H
#define MCP_GATEWAY_FACE_HTTP_WAIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "http/parse/message.h"
#include "reactor/loop.h"

struct http_exchange;

enum { HTTP_WAIT_HEADERS = 3, HTTP_WAIT_VALUE_MAX = 24 };

struct http_wait {
    struct timer timer;
    bool spoke;      /* the reply has begun with a comment */
    bool swallows;   /* what the node answers does not fit behind that */
    unsigned status; /* of it */
    struct buf said; /* by the node */
};

void http_wait_init(struct http_exchange *h);
void http_wait_fini(struct http_exchange *h);
/* It is queued, or its place is another. */
void http_wait_queued(struct http_exchange *h);
/* The headers of a reply to one that was queued. */
size_t http_wait_headers(const struct http_exchange *h, struct http_header *headers,
                         char values[HTTP_WAIT_HEADERS][HTTP_WAIT_VALUE_MAX]);
/* The node's head is here. True: the reply has its own already. */
bool http_wait_takes_head(struct http_exchange *h, const struct http_head *head);
/* Its body. True: it does not go on. */
bool http_wait_takes_bytes(struct http_exchange *h, struct slice bytes);

#endif
