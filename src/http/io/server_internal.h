/* SPDX-License-Identifier: Apache-2.0 */
/* The connection as server.c (reading, states) and reply.c (writing) see it.
 * The timer is left where it is when a limit moves away, and armed anew when it fires too early.
 *
 * state   entered when                       timer                            left to
 * IDLE    accepted; reply and request over   idle_timeout                     HEAD
 * HEAD    first byte of a request            head_timeout from that byte      BODY
 * BODY    head complete                      body_timeout since last byte,    REPLY, DRAIN
 *                                            none while paused
 * REPLY   request complete, or broken        none (the handler's)             IDLE
 * DRAIN   reply over, the body still comes   body_timeout since last byte     IDLE
 * CLOSED  from all: conn_close; freed at the end of the turn */
#ifndef MCP_HTTP_IO_SERVER_INTERNAL_H
#define MCP_HTTP_IO_SERVER_INTERNAL_H

#include "base/list.h"
#include "http/io/server.h"
#include "reactor/sock.h"

enum conn_state {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_REPLY,
    CONN_DRAIN,
    CONN_CLOSED,
};

enum {
    CONN_MAGIC = 0x68636f6e,
    REQUEST_MAGIC = 0x68726571,
    DRAIN_BYTES_MAX = 1024 * 1024,
    CHUNKED_LONG_BYTES = 65536
};

enum reply_framing {
    REPLY_NOT_STARTED,
    REPLY_LENGTH,
    REPLY_CHUNKED,
    REPLY_UNTIL_CLOSE,
    REPLY_WITHOUT_BODY,
};

enum ending { END_GENTLY, END_NOW, END_RESET };

struct http_request {
    unsigned magic;
    struct http_conn *conn;
    void *owner;
    struct http_head head;
    uint64_t body_bytes; /* of the request, read so far */
    bool paused;
    bool continue_sent;

    enum reply_framing framing;
    uint64_t reply_left; /* REPLY_LENGTH: bytes to come */
    bool close;          /* the connection ends with this reply */
    bool notify;         /* `sent` is owed */
};

struct http_conn {
    unsigned magic;
    enum conn_state state;
    struct http_server *server;
    struct list_link link;
    struct loop *loop;
    struct sock *sock;
    struct addr peer;
    struct http_parser *parser;
    struct http_request *request;
    struct timer timer;
    uint64_t due_us;        /* when the state's time is over; UINT64_MAX: it has no limit */
    uint64_t timer_us;      /* when the timer fires: not behind due_us */
    struct task again;      /* goes on with `held` */
    struct buf held;        /* read, and not to be looked at yet */
    size_t drained_bytes;   /* of the body in CONN_DRAIN */
    int64_t idle_delivered; /* sock_delivered when it was last looked at; -1: not while idle */
    bool feeding;
    bool reading; /* the socket is not paused */
};

LIST_DECLARE(conn_list, struct http_conn, link);

struct http_server {
    struct loop *loop;
    const struct http_server_ops *ops;
    void *owner;
    struct http_server_limits limits;
    struct conn_list conns;
    struct buf head;       /* of the reply being written */
    struct buf date;       /* its line */
    uint64_t date_over_us; /* loop_now_us when another second begins */
    bool draining;
};

/* The only way a connection ends. A request of it must be gone. */
void conn_close(struct http_conn *c, enum ending how);
/* The reply is over and the request freed: what follows it on the connection. */
void conn_reply_over(struct http_conn *c);
/* Stops reading where there is nothing to do with what would be read, and starts again. */
void conn_update_reading(struct http_conn *c);
void conn_arm_body_timer(struct http_conn *c);
void request_free(struct http_request *q);

/* Writes a reply of the server's own; the caller closes. */
void reply_bad(struct http_conn *c, unsigned status, const char *reason);

#endif
