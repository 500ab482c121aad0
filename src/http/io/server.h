/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x connections of clients: keep-alive, pipelining (requests answered in order, at most one read ahead), HTTP/1.0, HEAD, Expect: 100-continue,
 * chunked and Content-Length framing. Malformed input is answered here (400, 431, 405...) in the shape the handler's `bad` gives and closes.
 * One `struct http_request` is one request with its reply; it belongs to the connection and ends with `http_reply_end`, `http_reply_abort` or `gone`.
 * Loop's thread only; callbacks never come from inside a call. */
#ifndef MCP_HTTP_IO_SERVER_H
#define MCP_HTTP_IO_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/parse/message.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct http_server; /* what one listener's connections share; owned by the face */
struct http_request;

struct http_server_ops {
    /* A request's head is complete. Called once per request; the handler sets its own object with http_request_set_owner, and may reply at once
     * (a body still coming is then read and dropped, or the connection closed behind the reply where it is long). */
    void (*request)(void *server_owner, struct http_request *q, const struct http_head *head);
    void (*body)(void *request_owner, struct slice bytes);
    void (*body_end)(void *request_owner); /* also for requests without a body */
    /* The client left (FIN, RST, half-close) before the reply was over; the last call for this request, which is gone afterwards. */
    void (*gone)(void *request_owner);
    void (*drained)(void *request_owner); /* unsent output fell to the low mark; may be NULL */
    void (*sent)(void *request_owner);    /* http_reply_notify_sent; may be NULL */
    /* The body of the server's own error replies (status >= 400, plain reason); NULL: text/plain as Go's net/http. */
    void (*bad)(void *server_owner, unsigned status, const char *reason);
};

struct http_server_limits {
    uint64_t head_timeout_ms; /* for a head to come once its first byte came */
    uint64_t body_timeout_ms; /* without a byte of the body */
    uint64_t idle_timeout_ms; /* keep-alive without a request */
};

struct http_server *http_server_new(struct loop *loop, const struct http_server_ops *ops, void *owner,
                                    const struct http_server_limits *limits);
/* Closes idle connections at once; running requests end as `gone` is NOT called: end them first. */
void http_server_free(struct http_server **s);
/* A connection from a listener; takes the descriptor. */
void http_server_accept(struct http_server *s, int fd, const struct addr *peer);
/* No new requests: idle connections close, others after their reply, which gets Connection: close. */
void http_server_drain(struct http_server *s);
size_t http_server_open(const struct http_server *s); /* connections */

void http_request_set_owner(struct http_request *q, void *owner);
const struct addr *http_request_peer(const struct http_request *q);
/* Stops and restarts reading the request's body (streamed uploads). */
void http_request_pause(struct http_request *q);
void http_request_resume(struct http_request *q);
/* Sends 100 Continue where the client asked for it; call when the body is wanted. Idempotent. */
void http_request_continue(struct http_request *q);

enum { HTTP_LENGTH_CHUNKED = -1, HTTP_LENGTH_NONE = -2 }; /* NONE: no body and no Content-Length (204, 304) */

/* The reply. `headers` without framing ones (Content-Length, Transfer-Encoding, Connection, Date are added here).
 * A chunked reply to HTTP/1.0 goes unchunked until the connection's end. For HEAD body bytes are dropped. */
void http_reply_head(struct http_request *q, unsigned status, const struct http_header *headers,
                     size_t count, int64_t length);
/* One chunk (or bytes of the announced length). Copied. */
void http_reply_body(struct http_request *q, struct slice bytes);
/* The same in pieces, as one chunk. */
void http_reply_bodyv(struct http_request *q, const struct slice *pieces, size_t count);
/* Over; q is gone. */
void http_reply_end(struct http_request **q);
/* Over without a proper end, so that the client sees that the answer is cut: the connection closes behind what is queued, without the last chunk. */
void http_reply_abort(struct http_request **q);
/* head + body + end in one. */
void http_reply_simple(struct http_request **q, unsigned status, struct slice content_type, struct slice body);
size_t http_reply_unsent(const struct http_request *q);
bool http_reply_over_high(const struct http_request *q);
uint64_t http_reply_written(const struct http_request *q); /* bytes of this connection the kernel took so far */
void http_reply_notify_sent(struct http_request *q);
bool http_reply_started(const struct http_request *q);

#endif
