/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads in pieces (protocol.md section 6, `chunk`): those of one direction of one connection as
 * they arrive, collected per session; and how one is cut for sending. Sans-IO, embedded, one
 * thread. Pieces are told apart by session id alone: which sessions exist is the caller's business.
 *
 * state of a session  entered                               left by
 * none                at first
 * COLLECTING          a piece that is not empty             the last piece: whole; an empty piece,
 *                                                           wire_chunks_drop: none; refused
 * DISCARDING          refused: by the caller, for its size, the last piece or an empty one: none
 *                     for memory, 30 s without a piece; a
 *                     piece was lost */
#ifndef MCP_WIRE_CHUNK_H
#define MCP_WIRE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

enum {
    WIRE_PIECE_BYTES_MAX = 64 * 1024, /* of what is sent; larger ones are accepted */
    WIRE_CHUNK_STALL_MS = 30 * 1000,  /* between two pieces */
    WIRE_CHUNK_DISCARDING_MAX = 1024, /* sessions at once; ours: the protocol names no limit */
};

/* Memory shared with others: `bytes` more are held; 0, or the code of the refusal with its text in
 * `e`. */
typedef int (*wire_hold_fn)(void *arg, size_t bytes, struct err *e);
/* So many are no longer held: never more than were. */
typedef void (*wire_let_go_fn)(void *arg, size_t bytes);

struct wire_chunks_config {
    size_t max_payload_bytes; /* of a whole; may be changed at any time in wire_chunks.config */
    wire_hold_fn hold;        /* NULL: nothing is shared */
    wire_let_go_fn let_go;
    void *arg;
    int no_memory;      /* the code for out of memory: MCP_EINTERNAL to a client, else MCP_ENOMEM */
    uint64_t hash_seed; /* random: peers choose the ids */
};

enum wire_chunk_verdict {
    WIRE_CHUNK_NOTHING, /* discarded, or an empty piece behind nothing: nothing is to be done */
    WIRE_CHUNK_BEGUN, /* the first piece is kept: the caller occupies the session, or refuses it */
    WIRE_CHUNK_KEPT,  /* a further one is */
    WIRE_CHUNK_DROPPED, /* an empty piece: what was collected is gone; the session is free */
    WIRE_CHUNK_ALONE,   /* last: there were no pieces, the payload is whole as it came */
    WIRE_CHUNK_WHOLE,   /* last: the payload is in `whole` */
    WIRE_CHUNK_REFUSED, /* `e` is the answer; the rest is discarded; the session is free */
    WIRE_CHUNK_CLOSE,   /* `e` says why: what is discarded cannot be kept apart any more */
};

/* One session with pieces, or whose pieces are discarded. */
struct wire_chunk {
    uint32_t session;
    bool discarding;
    struct buf collected;
    size_t held_bytes; /* as told to `hold` */
    uint64_t piece_ms; /* the last one came, by the clock of pieces */
    struct wire_chunk *hash_next;
    struct list_link link;
};

LIST_DECLARE(wire_chunk_list, struct wire_chunk, link);

enum { WIRE_CHUNK_BUCKETS = 256 };

struct wire_chunks {
    struct wire_chunks_config config;
    struct wire_chunk **buckets;       /* NULL: there was never a piece */
    struct wire_chunk_list collecting; /* the one that waits longest for its next piece first */
    struct wire_chunk_list discarding;
    bool paused;
    uint64_t paused_ms; /* since when */
    uint64_t stood_ms;  /* the clock of pieces has stood still so long, by now */
};

/* Never fails; allocates nothing. */
void wire_chunks_init(struct wire_chunks *c, const struct wire_chunks_config *config);
/* Lets go of everything. */
void wire_chunks_fini(struct wire_chunks *c);

/* A CHUNK came: NOTHING, BEGUN, KEPT, DROPPED, REFUSED or CLOSE. Codes of `e`: MCP_ETOO_LARGE, that
 * of `hold`, no_memory; of CLOSE MCP_EBAD_REQUEST or no_memory. */
enum wire_chunk_verdict wire_chunks_piece(struct wire_chunks *c, uint32_t session,
                                          struct slice piece, uint64_t now_ms, struct err *e);
/* A REQUEST or RESPONSE came: NOTHING, ALONE, WHOLE or REFUSED. WHOLE moves the payload to `whole`
 * (which is released first), and nothing is held for it any more. Nothing is known of the session
 * afterwards. */
enum wire_chunk_verdict wire_chunks_last(struct wire_chunks *c, uint32_t session,
                                         struct slice piece, struct buf *whole, struct err *e);
/* A CHUNK came whose bytes were dropped, the first of its session perhaps, or (`last`) a REQUEST or
 * RESPONSE: the whole cannot be had any more. REFUSED: the caller has an answer for it; NOTHING: it
 * was discarded before; CLOSE. */
enum wire_chunk_verdict wire_chunks_lost(struct wire_chunks *c, uint32_t session, bool last,
                                         struct err *e);
/* The caller refuses what has BEGUN or goes on: the rest is discarded. False: as CLOSE. */
bool wire_chunks_refuse(struct wire_chunks *c, uint32_t session);
/* The session's pieces are not wanted and nothing more of them will come (CANCEL). False: there
 * were none. */
bool wire_chunks_drop(struct wire_chunks *c, uint32_t session);
/* Pieces are collected; false when they are discarded, too. */
bool wire_chunks_collecting(const struct wire_chunks *c, uint32_t session);

/* When wire_chunks_stalled has something to say; 0: nothing is collected, or we do not read. */
uint64_t wire_chunks_deadline_ms(const struct wire_chunks *c);
/* Refuses a session that has waited too long: REFUSED or CLOSE, its id in `session`; NOTHING: there
 * is none. Call until then. */
enum wire_chunk_verdict wire_chunks_stalled(struct wire_chunks *c, uint64_t now_ms,
                                            uint32_t *session, struct err *e);

/* We have stopped reading, and read again: the clock stands in between. Twice the same does
 * nothing. */
void wire_chunks_paused(struct wire_chunks *c, uint64_t now_ms);
void wire_chunks_resumed(struct wire_chunks *c, uint64_t now_ms);

/* How long the pieces of a payload may be for a receiver with that max_frame; `crc`: frames end in
 * a CRC. A payload of at most that size is sent alone. */
size_t wire_piece_bytes_max(uint32_t max_frame_bytes, bool crc);
/* Takes the next piece off `rest`. All but the last one go as CHUNK; `rest` is empty behind the
 * last, which is empty only where the payload is. */
struct slice wire_piece_take(struct slice *rest, size_t piece_bytes_max);

#endif
