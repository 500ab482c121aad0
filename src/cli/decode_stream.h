/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one MCP connection, read by a bystander: frames out, whoever sent them, with what is
 * wrong about each. What HELLO and WELCOME agree on is followed: CRCs are checked, pieces (CHUNK)
 * put together. Sans-IO; belongs to who embeds it, one thread. Out of memory ends the program. */
#ifndef MCP_CLI_DECODE_STREAM_H
#define MCP_CLI_DECODE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "wire/frame.h"

/* Which way bytes went. ANY: not known; frames say so themselves where only one way is possible. */
enum decode_way { DECODE_TO_SERVER, DECODE_TO_CLIENT, DECODE_ANY, DECODE_WAYS };

enum { DECODE_TEXT_MAX = 128 };

struct decode_item {
    enum decode_way way;
    uint64_t offset; /* of the first byte, among those that went its way */
    bool is_frame;   /* false: `error` alone, about what cannot be read as a frame */
    struct mcp_header header;
    const struct wire_opcode_info *opcode; /* NULL: unknown */
    struct slice payload;                  /* without CRC; of the last piece: all of them */
    bool is_piece;                         /* a CHUNK; more follows */
    size_t gathered_bytes;                 /* with the pieces before */
    bool is_json;                          /* what the payload is by its opcode and codec */
    char error[DECODE_TEXT_MAX];           /* "": none */
};

typedef void (*decode_cb)(void *owner, const struct decode_item *item);

struct decode_pieces;

struct decode_half {
    struct buf bytes; /* not decoded yet */
    uint64_t offset;  /* of those */
    bool agreed;      /* HELLO or WELCOME went this way */
    bool ended;       /* cannot be read on */
    struct decode_pieces *pieces;
};

struct decode_stream {
    struct decode_half halves[DECODE_WAYS];
    bool crc;     /* agreed on */
    bool no_json; /* another codec was agreed on */
    decode_cb cb;
    void *owner;
};

void decode_stream_init(struct decode_stream *s, decode_cb cb, void *owner);
void decode_stream_fini(struct decode_stream *s);
/* The next bytes that went this way; calls back for each frame that is complete. */
void decode_stream_feed(struct decode_stream *s, enum decode_way way, struct slice bytes);
/* What follows is not known (`why`): nothing of it is decoded. */
void decode_stream_lost(struct decode_stream *s, enum decode_way way, const char *why);
/* The end: says what is incomplete. */
void decode_stream_end(struct decode_stream *s);

#endif
