/* SPDX-License-Identifier: Apache-2.0 */
/* The admin face as its own files see it: admin.c, the listener and most pages; admin_nodes.c, what
 * is done to nodes; admin_asks.c, what the loops are asked; admin_record.c, what real traffic is
 * like. */
#ifndef MCP_GATEWAY_FACE_ADMIN_INTERNAL_H
#define MCP_GATEWAY_FACE_ADMIN_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "gateway/fleet.h"
#include "gateway/reload.h"
#include "gateway/sub_ask.h"
#include "http/io/server.h"

struct gateway;
struct admin_face;

/* A request that waits: for its body, or for what it asked for. */
struct admin_wait {
    struct list_link link;
    struct admin_face *face;
    struct gateway *gateway;
    struct http_request *request;
    /* Its body is complete; NULL: nobody wants it. */
    void (*told)(struct admin_wait *w);
    /* The client has left: who would answer forgets it. NULL: nobody would. */
    void (*drop)(struct admin_wait *w);
    /* The client has taken what it had not. NULL: nobody wants to know. */
    void (*drained)(struct admin_wait *w);
    struct buf rest; /* what follows the path of the page */
    struct buf body; /* at most 64 KiB, else failed */
    struct reload_asker reload;
    struct sub_ask *ask;
    struct fleet_asker fleet;
    struct buf name; /* of the node */
};

/* NULL: out of memory, and answered so. */
struct admin_wait *admin_wait_new(struct admin_face *f, struct http_request *q);
/* Nobody is there to be answered any more. */
void admin_wait_free(struct admin_wait *w);
/* Answers with `body` and frees both. */
void admin_wait_reply(struct admin_wait *w, unsigned status, struct buf *body);
/* {"error":text} */
void admin_wait_refuse(struct admin_wait *w, unsigned status, struct slice text);

/* POST /admin/nodes; POST /admin/nodes/NAME/cordon (drain, uncordon); DELETE /admin/nodes/NAME. */
void admin_nodes_add(struct admin_wait *w);
void admin_nodes_act(struct admin_wait *w);
void admin_nodes_remove(struct admin_wait *w);

/* GET /admin/requests/ID, GET /admin/sessions. */
void admin_asks_request(struct admin_face *f, struct http_request *q, struct slice id);
void admin_asks_sessions(struct admin_face *f, struct http_request *q, struct slice rest);

/* GET /admin/record: an answer without an end. */
void admin_record(struct admin_face *f, struct http_request *q, struct slice rest);

#endif
