/* SPDX-License-Identifier: Apache-2.0 */
/* What an MCP user negotiates, as the seed decides, and the frames it then speaks: its own are
 * written, those of the gateway read and held against what was agreed on. */
#ifndef MCP_TEST_VIRTUAL_TERMS_H
#define MCP_TEST_VIRTUAL_TERMS_H

#include "wire/chunk.h"
#include "wire/conn.h"
#include "wire/hello.h"
#include "world.h"

/* An exchange, as its client sees it. */
struct terms_lane {
    bool open;
    bool cancelled; /* CANCEL was sent */
    bool acked;
    bool has_part;   /* of the answer, or a piece */
    int64_t balance; /* at least what the gateway has */
};

struct terms {
    struct wire_hello hello;
    bool is_on; /* else the base profile */
    bool is_welcome;
    bool is_away; /* GOAWAY came */
    uint32_t features;
    struct wire_conn conn;
    struct wire_chunks chunks;
    struct terms_lane lanes[SESSIONS_MAX]; /* sessions from 1 on */
};

struct terms_ops {
    /* A whole payload of RESPONSE; whether its exchange goes on is the user's business. */
    void (*part)(void *owner, uint32_t session, struct slice payload);
    void (*beat)(void *owner, uint32_t session, struct slice payload);
    void (*welcome)(void *owner);
    /* Whether the user still listens. */
    bool (*listens)(void *owner);
};

void terms_init(struct terms *t, bool is_on);
void terms_fini(struct terms *t);
/* HELLO, where it is on. Whether requests may follow at once. */
bool terms_greet(struct terms *t, struct buf *out);
/* A frame of the user's. A REQUEST may go in pieces, and opens its lane. */
void terms_say(struct terms *t, struct buf *out, enum wire_opcode opcode, uint32_t session,
               struct slice payload);
/* Bytes came; calls `ops`, and writes what is to be said to `out`: credit, now and then CANCEL. */
void terms_hear(struct terms *t, struct slice in, const struct terms_ops *ops, void *owner,
                struct buf *out);
/* The exchange on that session is over for the user. Whether it was cancelled. */
bool terms_close(struct terms *t, uint32_t session);

#endif
