/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/chunk.h"

#include <stdlib.h>

#include "mcp/error.h"
#include "wire/crc32c.h"

void wire_chunks_init(struct wire_chunks *c, const struct wire_chunks_config *config)
{
    *c = (struct wire_chunks){.config = *config};
}

/* --- the table -----------------------------------------------------------------------------------
 */

/* As in wire/session.c: peers choose the ids, the seed keeps them from choosing the buckets. */
static struct wire_chunk **bucket_of(const struct wire_chunks *c, uint32_t session)
{
    uint64_t h = session ^ c->config.hash_seed;

    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    h ^= h >> 33;
    return &c->buckets[h % WIRE_CHUNK_BUCKETS];
}

static struct wire_chunk *look_up(const struct wire_chunks *c, uint32_t session)
{
    struct wire_chunk *s = c->buckets == NULL ? NULL : *bucket_of(c, session);

    while (s != NULL && s->session != session) {
        s = s->hash_next;
    }
    return s;
}

/* NULL: out of memory. */
static struct wire_chunk *add(struct wire_chunks *c, uint32_t session)
{
    struct wire_chunk **bucket;
    struct wire_chunk *s;

    if (c->buckets == NULL) {
        c->buckets = calloc(WIRE_CHUNK_BUCKETS, sizeof(struct wire_chunk *));
    }
    s = c->buckets == NULL ? NULL : calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    bucket = bucket_of(c, session);
    s->session = session;
    s->hash_next = *bucket;
    *bucket = s;
    wire_chunk_list_push(&c->collecting, s);
    return s;
}

static void let_go(const struct wire_chunks *c, struct wire_chunk *s)
{
    if (s->held_bytes > 0) {
        c->config.let_go(c->config.arg, s->held_bytes);
        s->held_bytes = 0;
    }
}

/* Nothing is known of the session afterwards. */
static void forget(struct wire_chunks *c, struct wire_chunk *s)
{
    struct wire_chunk **at = bucket_of(c, s->session);

    while (*at != s) {
        at = &(*at)->hash_next;
    }
    *at = s->hash_next;
    wire_chunk_list_remove(s->discarding ? &c->discarding : &c->collecting, s);
    let_go(c, s);
    buf_fini(&s->collected);
    free(s);
}

void wire_chunks_fini(struct wire_chunks *c)
{
    struct wire_chunk *s;

    while ((s = wire_chunk_list_first(&c->collecting)) != NULL ||
           (s = wire_chunk_list_first(&c->discarding)) != NULL) {
        forget(c, s);
    }
    free(c->buckets);
    c->buckets = NULL;
}

/* --- time ----------------------------------------------------------------------------------------
 */

/* The clock of pieces: it stands while we do not read. */
static uint64_t clock_ms(const struct wire_chunks *c, uint64_t now_ms)
{
    return (c->paused ? c->paused_ms : now_ms) - c->stood_ms;
}

void wire_chunks_paused(struct wire_chunks *c, uint64_t now_ms)
{
    if (!c->paused) {
        c->paused = true;
        c->paused_ms = now_ms;
    }
}

void wire_chunks_resumed(struct wire_chunks *c, uint64_t now_ms)
{
    if (c->paused) {
        c->paused = false;
        c->stood_ms += now_ms - c->paused_ms;
    }
}

/* --- pieces --------------------------------------------------------------------------------------
 */

/* Its pieces go, and what follows is discarded. False: too many sessions are like this. */
static bool discard(struct wire_chunks *c, struct wire_chunk *s)
{
    if (c->discarding.count >= WIRE_CHUNK_DISCARDING_MAX) {
        return false;
    }
    let_go(c, s);
    buf_release(&s->collected);
    wire_chunk_list_remove(&c->collecting, s);
    s->discarding = true;
    wire_chunk_list_push(&c->discarding, s);
    return true;
}

static enum wire_chunk_verdict refuse(struct wire_chunks *c, struct wire_chunk *s, struct err *e)
{
    if (!discard(c, s)) {
        err_set(e, MCP_EBAD_REQUEST, "CHUNKs of more than %d refused requests",
                WIRE_CHUNK_DISCARDING_MAX);
        return WIRE_CHUNK_CLOSE;
    }
    return WIRE_CHUNK_REFUSED;
}

/* Holds what the buffer has grown by. */
static int hold(struct wire_chunks *c, struct wire_chunk *s, struct err *e)
{
    size_t more = s->collected.cap - s->held_bytes;
    int rv = 0;

    if (c->config.hold != NULL && more > 0) {
        rv = c->config.hold(c->config.arg, more, e);
        s->held_bytes += rv == 0 ? more : 0;
    }
    return rv;
}

/* 0, or the code of the refusal. */
static int collect(struct wire_chunks *c, struct wire_chunk *s, struct slice piece, struct err *e)
{
    size_t most = c->config.max_payload_bytes;

    /* The limit may have been lowered since. */
    if (piece.len > most || buf_len(&s->collected) > most - piece.len) {
        return err_set(e, MCP_ETOO_LARGE, "a payload in pieces is over the limit of %zu bytes",
                       most);
    }
    if (!buf_append_of(&s->collected, piece, most)) {
        return err_set(e, c->config.no_memory, "out of memory");
    }
    return hold(c, s, e);
}

enum wire_chunk_verdict wire_chunks_piece(struct wire_chunks *c, uint32_t session,
                                          struct slice piece, uint64_t now_ms, struct err *e)
{
    struct wire_chunk *s = look_up(c, session);
    bool first = s == NULL;
    bool discarded = s != NULL && s->discarding;

    if (piece.len == 0) {
        if (s != NULL) {
            forget(c, s);
        }
        return first || discarded ? WIRE_CHUNK_NOTHING : WIRE_CHUNK_DROPPED;
    }
    if (discarded) {
        return WIRE_CHUNK_NOTHING;
    }
    if (first) {
        s = add(c, session);
        if (s == NULL) { /* the rest could not be told from a new payload */
            err_set(e, c->config.no_memory, "out of memory");
            return WIRE_CHUNK_CLOSE;
        }
    }
    if (collect(c, s, piece, e) != 0) {
        return refuse(c, s, e);
    }
    s->piece_ms = clock_ms(c, now_ms);
    wire_chunk_list_remove(&c->collecting, s);
    wire_chunk_list_push(&c->collecting, s);
    return first ? WIRE_CHUNK_BEGUN : WIRE_CHUNK_KEPT;
}

enum wire_chunk_verdict wire_chunks_last(struct wire_chunks *c, uint32_t session,
                                         struct slice piece, struct buf *whole, struct err *e)
{
    struct wire_chunk *s = look_up(c, session);
    enum wire_chunk_verdict verdict = WIRE_CHUNK_WHOLE;

    if (s == NULL) {
        return WIRE_CHUNK_ALONE;
    }
    if (s->discarding) {
        verdict = WIRE_CHUNK_NOTHING;
    } else if (collect(c, s, piece, e) != 0) {
        verdict = WIRE_CHUNK_REFUSED;
    } else {
        buf_move(whole, &s->collected);
    }
    forget(c, s);
    return verdict;
}

enum wire_chunk_verdict wire_chunks_lost(struct wire_chunks *c, uint32_t session, bool last,
                                         struct err *e)
{
    struct wire_chunk *s = look_up(c, session);
    bool discarded = s != NULL && s->discarding;

    if (last && s != NULL) {
        forget(c, s);
    }
    if (discarded || last) {
        return discarded ? WIRE_CHUNK_NOTHING : WIRE_CHUNK_REFUSED;
    }
    if (s == NULL && (s = add(c, session)) == NULL) {
        err_set(e, c->config.no_memory, "out of memory");
        return WIRE_CHUNK_CLOSE;
    }
    return refuse(c, s, e);
}

bool wire_chunks_refuse(struct wire_chunks *c, uint32_t session)
{
    struct wire_chunk *s = look_up(c, session);

    return s == NULL || s->discarding || discard(c, s);
}

bool wire_chunks_drop(struct wire_chunks *c, uint32_t session)
{
    struct wire_chunk *s = look_up(c, session);

    if (s == NULL || s->discarding) {
        return false;
    }
    forget(c, s);
    return true;
}

bool wire_chunks_collecting(const struct wire_chunks *c, uint32_t session)
{
    const struct wire_chunk *s = look_up(c, session);

    return s != NULL && !s->discarding;
}

/* --- pieces that do not go on --------------------------------------------------------------------
 */

uint64_t wire_chunks_deadline_ms(const struct wire_chunks *c)
{
    const struct wire_chunk *s = wire_chunk_list_first(&c->collecting);

    return s == NULL || c->paused ? 0 : s->piece_ms + c->stood_ms + WIRE_CHUNK_STALL_MS;
}

enum wire_chunk_verdict wire_chunks_stalled(struct wire_chunks *c, uint64_t now_ms,
                                            uint32_t *session, struct err *e)
{
    struct wire_chunk *s = wire_chunk_list_first(&c->collecting);

    if (s == NULL || clock_ms(c, now_ms) < s->piece_ms + WIRE_CHUNK_STALL_MS) {
        return WIRE_CHUNK_NOTHING;
    }
    *session = s->session;
    err_set(e, MCP_EBAD_REQUEST, "no further piece of the payload for %d s",
            WIRE_CHUNK_STALL_MS / 1000);
    return refuse(c, s, e);
}

/* --- sending -------------------------------------------------------------------------------------
 */

size_t wire_piece_bytes_max(uint32_t max_frame_bytes, bool crc)
{
    size_t most = max_frame_bytes - (crc ? (uint32_t)WIRE_CRC_BYTES : 0);

    return most < WIRE_PIECE_BYTES_MAX ? most : WIRE_PIECE_BYTES_MAX;
}

struct slice wire_piece_take(struct slice *rest, size_t piece_bytes_max)
{
    struct slice piece = slice_first(*rest, piece_bytes_max);

    *rest = slice_skip(*rest, piece.len);
    return piece;
}
