/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.1 connection to a node, carrying one request at a time. Belongs to who made it. Callbacks come from the loop and never after
 * http_client_close. No time limits of its own: the caller has the timers. */
#ifndef MCP_HTTP_IO_CLIENT_H
#define MCP_HTTP_IO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "http/parse/message.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct http_client;

enum http_failure {
    HTTP_FAIL_CONNECT,  /* no connection; `error` is an errno */
    HTTP_FAIL_STALE,    /* closed before any byte of the response came */
    HTTP_FAIL_CUT,      /* closed or reset inside the response */
    HTTP_FAIL_GARBAGE,  /* not HTTP, or its framing is broken */
    HTTP_FAIL_NOMEM
};

struct http_client_ops {
    void (*connected)(void *owner); /* may be NULL */
    void (*head)(void *owner, const struct http_head *head);
    void (*body)(void *owner, struct slice bytes);
    /* The response is complete. `reusable`: the connection may carry another request (the request was sent whole, keep-alive). */
    void (*end)(void *owner, bool reusable);
    /* The connection is of no use any more; only http_client_close is left to call. While no request is out it means: the idle connection closed. */
    void (*failed)(void *owner, enum http_failure why, int error, const char *text);
    void (*drained)(void *owner); /* uploads: unsent output fell below the low mark; may be NULL */
};

struct http_client *http_client_connect(struct loop *loop, const struct addr *to,
                                        const struct http_client_ops *ops, void *owner);
/* Hands the idle connection to another owner (out of the pool, into the pool). */
void http_client_set_owner(struct http_client *c, const struct http_client_ops *ops, void *owner);
/* Sends a request: `head` is the whole head with its blank line, then the body pieces, copied or taken. `is_head`: it is a HEAD request. Queued until
 * connected. False: out of memory. `more`: the body goes on with http_client_body; http_client_body_end ends it. */
bool http_client_send(struct http_client *c, struct slice head, const struct slice *pieces, size_t count,
                      bool is_head, bool more);
bool http_client_body(struct http_client *c, struct slice bytes); /* written as given: the caller does chunk framing where it announced that */
void http_client_body_end(struct http_client *c);
size_t http_client_unsent(const struct http_client *c);
bool http_client_over_high(const struct http_client *c);
/* Stops and restarts reading the response (back-pressure). */
void http_client_pause(struct http_client *c);
void http_client_resume(struct http_client *c);
bool http_client_got_bytes(const struct http_client *c); /* of the running response */
uint64_t http_client_read_us(const struct http_client *c); /* loop_clock_us when the bytes now handed out were read */
void http_client_close(struct http_client **c);

#endif
