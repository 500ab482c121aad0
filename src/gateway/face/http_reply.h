/* SPDX-License-Identifier: Apache-2.0 */
/* The reply side of one HTTP exchange: the node's answer relayed, or native parts written as NDJSON
 * or one JSON object; errors in the shape the client expects; back-pressure, and the end of a
 * client that does not read. Belongs to the connection's request. */
#ifndef MCP_GATEWAY_FACE_HTTP_REPLY_H
#define MCP_GATEWAY_FACE_HTTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/exchange.h"
#include "gateway/face/http_wait.h"
#include "gateway/face/routes.h"
#include "gateway/face/shape.h"
#include "http/io/server.h"
#include "reactor/loop.h"

enum { HTTP_EXCHANGE_MAGIC = 0x68747870 };

struct http_exchange {
    uint32_t magic;
    struct sub *sub;
    struct http_request *request;
    const struct route *route;
    struct exchange *exchange; /* NULL: over */
    enum shape_stream stream;
    struct slice origin;  /* of a page that may read the reply; the exchange's; empty: none */
    bool has_wishes;      /* the request has headers of the gateway's own */
    bool body_is_encoded; /* Content-Encoding: passed on as it came */
    bool body_is_zstd;    /* read for the model's name first */
    uint64_t unsent_us; /* when the oldest bytes not yet written were read from the node; 0: none */
    unsigned broken_status;  /* what its broken body is answered with; 0: it is not */
    int64_t stall_delivered; /* http_reply_delivered when the stall timer was armed */
    struct timer stall;
    struct http_wait wait;
};

/* With its exchange, which is not started; the request's owner is set. NULL: out of memory. */
struct http_exchange *http_exchange_new(struct sub *sub, struct http_request *q,
                                        const struct route *route);
/* The reply begins as an event stream, before the node's answer does. */
void http_exchange_begin_events(struct http_exchange *h);
/* Callbacks of the server. */
void http_exchange_gone(void *owner);
void http_exchange_drained(void *owner);
void http_exchange_sent(void *owner);

#endif
