/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x connections of clients: keep-alive, pipelining (answered in order; the next request is
 * not looked at before the reply is over), HTTP/1.0, HEAD, Expect: 100-continue, chunked and
 * Content-Length framing. What is malformed or late is answered here (400, 405, 408, 417, 431, 500,
 * 501, 505) as Go's net/http does, or by the handler's `broken`; it is counted as HTTP_BAD, and
 * closes the connection.
 * One `struct http_request` is one request with its reply; it belongs to the connection and ends
 * with http_reply_end, _abort or _simple, or with `gone`. Loop's thread only; callbacks come from
 * the loop, never from inside a call. Bytes are counted here (BYTES_FROM_CLIENTS, _TO_CLIENTS). */
#ifndef MCP_HTTP_IO_SERVER_H
#define MCP_HTTP_IO_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "http/parse/message.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct http_server; /* what one listener's connections share; owned by the face */
struct http_request;
struct sock;

/* `request`, `body`, `body_end` and `gone` are needed, the others may be NULL. */
struct http_server_ops {
    /* A request's head is complete; `head` stays valid until the reply is over. The handler sets
     * its own object with http_request_set_owner, or replies at once (a body still coming is then
     * read and dropped up to 1 MiB; the connection closes behind the reply where it is longer). An
     * absolute-form target comes as its path, its host in `head->host`. */
    void (*request)(void *server_owner, struct http_request *q, const struct http_head *head);
    void (*body)(void *request_owner, struct slice bytes);
    void (*body_end)(void *request_owner); /* also for requests without a body */
    /* What has come of a chunk is handed over, and so many bytes of it are still to come, as its
     * header says. May be NULL. */
    void (*announced)(void *request_owner, uint64_t bytes);
    /* The client left (FIN, RST, half-close), or was too slow with its body or broke its framing
     * once the reply had begun. The last call for this request, which is gone afterwards: only
     * http_request_peer may still be called. */
    void (*gone)(void *request_owner);
    void (*drained)(void *request_owner); /* unsent output fell to the low mark */
    /* What was queued when http_reply_notify_sent was called is written; not after the reply's end.
     */
    void (*sent)(void *request_owner);
    /* The body came too late or breaks its framing, and no reply has begun: the handler replies,
     * now or later, with this status and `reason`, a text for people; no more of the body comes,
     * and the connection closes behind the reply. NULL: it is answered here, and `gone` follows. */
    void (*broken)(void *request_owner, unsigned status, const char *reason);
    /* A connection given to http_server_accept has ended: for gauges. The one callback that may
     * come from inside a call. */
    void (*closed)(void *server_owner);
};

struct http_server_limits {   /* 0: none */
    uint64_t head_timeout_ms; /* for a head to come once its first byte came */
    uint64_t body_timeout_ms; /* without a byte of the body, while it is being read */
    uint64_t idle_timeout_ms; /* keep-alive without a request, or without a byte taken of a reply */
};

/* Out of memory ends the process: for start-up. `ops` outlives the server. */
struct http_server *http_server_new(struct loop *loop, const struct http_server_ops *ops,
                                    void *owner, const struct http_server_limits *limits);
/* Closes every connection; what is queued is still written. No callback comes from here or
 * afterwards, not even `gone`: end running requests first. */
void http_server_free(struct http_server **s);
/* A connection from a listener; takes the descriptor. */
void http_server_accept(struct http_server *s, int fd, const struct addr *peer);
/* The same for a socket of which the first bytes were read already; takes it. False: it is closed.
 */
bool http_server_take(struct http_server *s, struct sock *sock, const struct addr *peer);
/* No new requests: idle connections close, others after their reply, which gets Connection: close.
 */
void http_server_drain(struct http_server *s);
size_t http_server_open(const struct http_server *s); /* connections */

/* A connection as it is now. */
struct http_conn_view {
    const struct addr *peer;
    bool idle;           /* no request has begun */
    uint64_t idle_us;    /* since when, by loop_now_us; where it is */
    void *request_owner; /* of the request that it has; NULL: none */
    size_t unsent_bytes;
};
typedef void (*http_conn_view_cb)(void *owner, const struct http_conn_view *v);
void http_server_walk(const struct http_server *s, http_conn_view_cb cb, void *owner);

void http_request_set_owner(struct http_request *q, void *owner);
const struct addr *http_request_peer(const struct http_request *q);
/* Stops and restarts reading the request's body (streamed uploads). */
void http_request_pause(struct http_request *q);
void http_request_resume(struct http_request *q);
/* Sends 100 Continue where the client waits for it; call when the body is wanted. Idempotent. */
void http_request_continue(struct http_request *q);

/* NONE: no body and no Content-Length (204, 304, answers to HEAD of unknown length). */
enum { HTTP_LENGTH_CHUNKED = -1, HTTP_LENGTH_NONE = -2, HTTP_REPLY_PIECES_MAX = 8 };

/* The reply. `headers` without framing ones (Content-Length, Transfer-Encoding, Connection and Date
 * are added here). A chunked reply to HTTP/1.0 goes unchunked until the connection's end. Body
 * bytes are dropped for HEAD and HTTP_LENGTH_NONE. */
void http_reply_head(struct http_request *q, unsigned status, const struct http_header *headers,
                     size_t count, int64_t length);
/* One chunk (or bytes of the announced length). Copied. */
void http_reply_body(struct http_request *q, struct slice bytes);
/* The same in pieces (HTTP_REPLY_PIECES_MAX at most), as one chunk. */
void http_reply_bodyv(struct http_request *q, const struct slice *pieces, size_t count);
/* Over; q is gone. Fewer bytes than announced close the connection. */
void http_reply_end(struct http_request **q);
/* Over without a proper end, so that the client sees that the answer is cut: the connection closes
 * behind what is queued, without the last chunk (by RST where only the end of the connection would
 * have ended the reply). */
void http_reply_abort(struct http_request **q);
/* head + body + end in one. */
void http_reply_simple(struct http_request **q, unsigned status, struct slice content_type,
                       struct slice body);
size_t http_reply_unsent(const struct http_request *q);
bool http_reply_over_high(const struct http_request *q);
/* Bytes of this connection the client took so far: see sock_delivered; a system call. */
int64_t http_reply_delivered(const struct http_request *q);
void http_reply_notify_sent(struct http_request *q);
bool http_reply_started(const struct http_request *q);

#endif
