/* SPDX-License-Identifier: Apache-2.0 */
/* What an MCP connection sends (protocol.md sections 6 and 7): frames go straight to the socket as
 * long as it takes them; where it does not, they wait here, so that heartbeats, errors and the like
 * go between frames ahead of data, sessions take turns, parts that are cancelled need not be sent,
 * and those without credit wait without holding up others. Embedded in the connection; the loop's
 * thread.
 *
 * A lane is one exchange's output, in order. Where frames wait in it, it is READY (in the ring:
 * waits for the socket) or HELD (its next part waits for credit). */
#ifndef MCP_GATEWAY_FACE_MCP_OUT_H
#define MCP_GATEWAY_FACE_MCP_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "reactor/sock.h"
#include "wire/frame.h"

/* Little, as most parts are. */
struct mcp_out_frame {
    struct list_link link;
    uint32_t gone; /* of the payload: sent in pieces */
    uint32_t len;
    uint8_t opcode; /* enum wire_opcode */
    bool is_free;   /* neither counted nor held */
    char payload[];
};

LIST_DECLARE(mcp_out_frame_list, struct mcp_out_frame, link);

struct mcp_lane {
    struct list_link link; /* in the ring */
    uint32_t session;
    struct mcp_out_frame_list frames;
    int64_t balance;      /* of credit; charged as frames go to the socket */
    size_t charged_bytes; /* that wait here and will be charged */
    size_t free_bytes;    /* that wait here and will not */
    bool begun;           /* its first frame has gone in part */
    uint64_t moved_ms;    /* when credit came, or a frame went to the socket */
};

LIST_DECLARE(mcp_lane_list, struct mcp_lane, link);

struct mcp_out {
    struct sock *sock;
    bool with_crc;
    bool with_chunks;
    size_t frame_max;   /* longest payload of a frame that the client takes */
    size_t piece_max;   /* longest payload that goes as one frame */
    struct buf control; /* whole frames ahead of data */
    struct mcp_lane_list ring;
    size_t ready_bytes; /* payloads of the lanes in it */
    size_t free_bytes;  /* of all lanes: answers that a client can have made without end */
    bool waiting;       /* for the socket: `sent` is asked for */
    bool failed;        /* a frame is missing: no other follows, the connection is to be closed */
    /* All of a lane has gone to the socket, later than in the call that put it there. */
    void (*emptied)(void *owner, struct mcp_lane *lane);
    void *owner;
};

/* The base profile, to a client that takes frames of the usual size. */
void mcp_out_init(struct mcp_out *o, struct sock *sock,
                  void (*emptied)(void *owner, struct mcp_lane *lane), void *owner);
/* Lanes are emptied by their owners before. */
void mcp_out_fini(struct mcp_out *o);
/* From the next frame on: bits of enum wire_feature, and the client's max_frame. */
void mcp_out_negotiated(struct mcp_out *o, uint32_t features, uint32_t max_frame_bytes);

/* Out of memory: a frame that is to be sent cannot be made. */
void mcp_out_fail(struct mcp_out *o);

/* A frame that goes ahead of data. */
void mcp_out_control(struct mcp_out *o, enum wire_opcode opcode, uint32_t session,
                     struct slice payload);
/* A part of the lane's answer: counted, and held where there is no credit. */
void mcp_out_part(struct mcp_out *o, struct mcp_lane *lane, struct slice payload);
/* An ACK, or the error that ends the exchange: in its place, neither counted nor held. */
void mcp_out_aside(struct mcp_out *o, struct mcp_lane *lane, enum wire_opcode opcode,
                   struct slice payload);

/* What has not been sent of the lane is dropped (a started frame is completed, an unfinished part
 * taken back); how many parts. */
size_t mcp_out_drop(struct mcp_out *o, struct mcp_lane *lane);
/* The same for those only that credit holds back. */
size_t mcp_out_drop_held(struct mcp_out *o, struct mcp_lane *lane);
/* Frees without a word, for a connection that ends. */
void mcp_lane_fini(struct mcp_out *o, struct mcp_lane *lane);

/* CREDIT came: the lane's parts may go. */
void mcp_out_credit(struct mcp_out *o, struct mcp_lane *lane, uint32_t bytes);
/* Nothing of it waits. */
bool mcp_lane_is_empty(const struct mcp_lane *lane);
/* What waits in it uses up the credit: no more should be made. */
bool mcp_lane_is_spent(const struct mcp_lane *lane);
/* Its last frame waits for credit that is not there. */
bool mcp_lane_holds_last(const struct mcp_lane *lane);

/* Bytes that wait for the socket, its own included; those without credit are not. */
size_t mcp_out_unsent(const struct mcp_out *o);
/* Of those, what the client made us say: heartbeats and errors that wait here. */
size_t mcp_out_control_bytes(const struct mcp_out *o);
/* The socket has sent what it had: more goes there. */
void mcp_out_sent(struct mcp_out *o);
/* Everything that may be sent goes to the socket, whatever that takes; for a close. */
void mcp_out_finish(struct mcp_out *o);

#endif
