/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of a call: writes down what it is told, and acts in one of the callbacks. */
#ifndef MCP_TESTS_NODE_CALLER_H
#define MCP_TESTS_NODE_CALLER_H

#include "node/call.h"
#include "node_peer.h"

enum { CALLER_BODY_BYTES = 4096 };

struct caller {
    struct node_call *call; /* NULL once it is not ours any more */
    char told[64]; /* 'h'ead, 'b'ody (once for a run of them), 'e'nd, 'f'ailed, 'd'rained */
    unsigned status;
    char body[CALLER_BODY_BYTES];
    size_t body_len;
    int code;
    char text[256];
    bool sent_nothing;
    char act_in; /* in this callback: */
    char act;    /* 'c'ancel, 'd'etach, 'p'ause */
};

extern const struct node_call_ops caller_ops;

/* Starts it; NULL in c->call where it cannot be. */
void caller_start(struct caller *c, struct node *n, const struct node_call_request *request);
/* GET /x */
void caller_get(struct caller *c, struct node *n);
/* Waits until told so, exactly. */
void caller_wait(struct caller *c, const char *told);
/* It ended as failed, with that code. */
void assert_failed(const struct caller *c, int code, bool sent_nothing, const char *text);

/* A call that goes well, on a connection number `conn` of the peer. */
void call_once(struct peer *p, struct node *n, size_t conn);

#endif
