/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.1 connection to a node, carrying one request at a time. Belongs to who made it.
 * Callbacks come from the loop and never after http_client_close, which may be called from any of
 * them. No time limits of its own: the caller has the timers.
 *
 * state    entered by                                left by
 * IDLE     http_client_connect, end(reusable)        send; failed
 * BUSY     http_client_send (connected or not yet)   end; failed
 * SPENT    end(not reusable), failed                 close */
#ifndef MCP_HTTP_IO_CLIENT_H
#define MCP_HTTP_IO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/parse/message.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct http_client;

enum http_failure {
    HTTP_FAIL_CONNECT, /* no connection; `error` is an errno */
    HTTP_FAIL_STALE,   /* closed before any byte of the response came, or while idle */
    HTTP_FAIL_CUT,     /* closed or reset inside the response */
    HTTP_FAIL_GARBAGE, /* not HTTP, its framing is broken, or bytes nobody asked for; `text` says */
    HTTP_FAIL_NOMEM
};

struct http_client_ops {
    void (*connected)(void *owner); /* may be NULL */
    /* `head` stays valid until the next request is sent or the connection closed. */
    void (*head)(void *owner, const struct http_head *head);
    void (*body)(void *owner, struct slice bytes);
    /* The response is complete. `reusable`: the connection may carry another request (this one was
     * sent whole, keep-alive, nothing behind the response). */
    void (*end)(void *owner, bool reusable);
    /* The connection is of no use any more; only http_client_close is left to call. While no
     * request is out it means: the idle connection closed, or sent what nobody asked for (counted
     * here as NODE_BAD_ANSWER, as are bytes behind a response; other garbage is its owner's to
     * count). `text` may be NULL. */
    void (*failed)(void *owner, enum http_failure why, int error, const char *text);
    /* Uploads: unsent output fell below the low mark; may be NULL. */
    void (*drained)(void *owner);
};

/* NULL with errno: out of memory or of descriptors. A connection that cannot be made comes as
 * `failed`. */
struct http_client *http_client_connect(struct loop *loop, const struct addr *to,
                                        const struct http_client_ops *ops, void *owner);
/* Hands the idle connection to another owner (out of the pool, into the pool). */
void http_client_set_owner(struct http_client *c, const struct http_client_ops *ops, void *owner);
/* Sends a request: `head` is the whole head with its blank line, then the body pieces; all copied.
 * `is_head`: it is a HEAD request. Queued until connected. False: out of memory (`failed` follows).
 * `more`: the body goes on with http_client_body; http_client_body_end ends it. */
bool http_client_send(struct http_client *c, struct slice head, const struct slice *pieces,
                      size_t count, bool is_head, bool more);
/* Written as given: the caller does chunk framing where it announced that. Dropped once the
 * response is over. False: out of memory (`failed` follows). */
bool http_client_body(struct http_client *c, struct slice bytes);
void http_client_body_end(struct http_client *c);
size_t http_client_unsent(const struct http_client *c);
bool http_client_over_high(const struct http_client *c);
/* Stops and restarts reading the response (back-pressure). */
void http_client_pause(struct http_client *c);
void http_client_resume(struct http_client *c);
/* As sock_read_little; the next owner says anew. */
void http_client_read_little(struct http_client *c, bool little);
bool http_client_got_bytes(const struct http_client *c); /* of the last response */
/* loop_clock_us when the bytes now handed out were read from the socket. */
uint64_t http_client_read_us(const struct http_client *c);
/* At once. Nulls the pointer. */
void http_client_close(struct http_client **c);

#endif
