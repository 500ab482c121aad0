/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request to one node, from connecting to the end of its answer: takes a connection from
 * the node's pool or makes one, sends once more on a fresh one when a pooled one had closed, keeps
 * the time limits, and returns the connection. Belongs to who started it until `end`, `failed`,
 * node_call_cancel or node_call_detach. Callbacks come from the loop, never from inside a call.
 *
 * time limit   from                            to                       failing as
 * connect      start on a new connection       connected                MCP_ENODE_UNAVAILABLE
 * first byte   request sent (of an upload: the first byte of the answer MCP_EUPSTREAM_ERROR
 *              latest byte, or its end)
 * idle         each byte of the answer         next one                 MCP_ESTREAM_INTERRUPTED
 * The last two do not run while the call is paused. What keeps us from connecting and says nothing
 * about the node (no port or descriptor is left) is MCP_EQUEUE_FULL. */
#ifndef MCP_NODE_CALL_H
#define MCP_NODE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "http/parse/message.h"
#include "node/node.h"

struct node_call;

enum { NODE_CALL_PIECES_MAX = 16 };

/* What to send. Slices must live until the first byte of the answer or the end of the call. */
struct node_call_request {
    struct slice method;
    struct slice path;                 /* with its query; the node's own prefix is put before it */
    const struct http_header *headers; /* end-to-end; Host, framing, credentials and what
                                          the node's configuration sets are left out */
    size_t header_count;
    const struct slice *pieces; /* the body */
    size_t piece_count;
    bool has_body;
    bool once;             /* always a fresh connection, never sent twice */
    bool upload;           /* the body follows with node_call_body; implies once */
    int64_t upload_length; /* -1: chunked */
    bool is_head;
    bool reads_little; /* as node_call_read_little */
    bool patient;      /* the limit to the first byte holds between bytes too, where it is longer */
    bool
        is_poll; /* that there is no connection is told to the owner alone; he decides what it means
                  */
    uint64_t connect_timeout_ms; /* 0: the configured one */
};

struct node_call_ops {
    void (*head)(void *owner, const struct http_head *head);
    void (*body)(void *owner, struct slice bytes);
    void (*end)(void *owner);
    /* `sent_nothing`: the node cannot have seen the request (not even on a pooled connection that
     * closed before the one that failed); another node may be tried.
     * `text` does not name the node. */
    void (*failed)(void *owner, int code, const char *text, bool sent_nothing);
    void (*drained)(void *owner); /* uploads; may be NULL */
    /* For who wants to know: a new connection stands; the pooled one had closed, and the request
     * goes out once more on a new one. May be NULL. */
    void (*connected)(void *owner);
    void (*again)(void *owner);
};

/* NULL: MCP_ENOMEM, or MCP_EQUEUE_FULL where no descriptor is left for a connection. */
struct node_call *node_call_start(struct node *n, const struct node_call_request *request,
                                  const struct node_call_ops *ops, void *owner, struct err *e);
bool node_call_body(struct node_call *c, struct slice bytes); /* false: out of memory */
void node_call_body_end(struct node_call *c);
bool node_call_over_high(const struct node_call *c);
void node_call_pause(struct node_call *c);
void node_call_resume(struct node_call *c);
/* The owner may pause behind any part: no more is read ahead than a few KiB. */
void node_call_read_little(struct node_call *c, bool little);
/* Closes the connection at once, so that the node stops working. Nulls the pointer. */
void node_call_cancel(struct node_call **c);
/* The owner has all it needs: the rest of the answer is read and dropped (at most 5 s), so that the
 * connection can be used again. Nulls the pointer. */
void node_call_detach(struct node_call **c);
/* The node ends: its detached calls are closed; others must have ended before. */
void node_calls_drop(struct node *n);
bool node_call_is_pooled(const struct node_call *c); /* on a connection used before */
struct node *node_call_node(const struct node_call *c);
uint64_t node_call_read_us(const struct node_call *c); /* when the bytes now handed out were read */

#endif
