/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: payloads in pieces, beside a plain model of them. Input: pairs of an operation
 * with its session, and a length. What is collected is what came; what is held is given back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "mcp/error.h"
#include "wire/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 8, MOST = 1000, SHARED = 3000, PIECE_MAX = 255 };

enum doing { NOTHING, COLLECTING, DISCARDING };

struct model {
    enum doing doing;
    size_t len;
    uint64_t piece_ms;
};

static struct model sessions[SESSIONS];
static size_t held;

static int hold(void *arg, size_t bytes, struct err *e)
{
    (void)arg;
    if (held + bytes > SHARED) {
        return err_set(e, MCP_EQUEUE_FULL, "full");
    }
    held += bytes;
    return MCP_OK;
}

static void let_go(void *arg, size_t bytes)
{
    (void)arg;
    ASSERT(bytes <= held);
    held -= bytes;
}

/* The n-th byte of a session's payload. */
static char byte_at(uint32_t session, size_t n)
{
    return (char)(session * 31 + n * 7);
}

static struct slice piece_of(const struct model *m, uint32_t session, size_t len,
                             char out[PIECE_MAX])
{
    for (size_t i = 0; i < len; i++) {
        out[i] = byte_at(session, (m->doing == COLLECTING ? m->len : 0) + i);
    }
    return slice_of(out, len);
}

static void check_whole(uint32_t session, const struct buf *whole, size_t len)
{
    struct slice got = buf_slice(whole);

    ASSERT(got.len == len);
    for (size_t i = 0; i < len; i++) {
        ASSERT(got.ptr[i] == byte_at(session, i));
    }
}

static void do_piece(struct wire_chunks *c, uint32_t session, size_t len, uint64_t now_ms)
{
    struct model *m = &sessions[session];
    char bytes[PIECE_MAX];
    struct err e = {0};
    struct slice piece = piece_of(m, session, len, bytes);
    enum wire_chunk_verdict verdict = wire_chunks_piece(c, session, piece, now_ms, &e);

    switch (verdict) {
    case WIRE_CHUNK_NOTHING:
        ASSERT(m->doing == DISCARDING || (m->doing == NOTHING && len == 0));
        m->doing = len == 0 ? NOTHING : m->doing;
        break;
    case WIRE_CHUNK_BEGUN:
    case WIRE_CHUNK_KEPT:
        ASSERT(m->doing == (verdict == WIRE_CHUNK_BEGUN ? NOTHING : COLLECTING));
        *m = (struct model){COLLECTING, (verdict == WIRE_CHUNK_BEGUN ? 0 : m->len) + len, now_ms};
        ASSERT(m->len <= MOST);
        break;
    case WIRE_CHUNK_DROPPED:
        ASSERT(m->doing == COLLECTING && len == 0);
        m->doing = NOTHING;
        break;
    default:
        ASSERT(verdict == WIRE_CHUNK_REFUSED && m->doing != DISCARDING);
        ASSERT(e.code == MCP_ETOO_LARGE || e.code == MCP_EQUEUE_FULL);
        m->doing = DISCARDING;
        break;
    }
}

static void do_last(struct wire_chunks *c, uint32_t session, size_t len)
{
    struct model *m = &sessions[session];
    char bytes[PIECE_MAX];
    struct buf whole = {0};
    struct err e = {0};
    struct slice piece = piece_of(m, session, len, bytes);

    switch (wire_chunks_last(c, session, piece, &whole, &e)) {
    case WIRE_CHUNK_NOTHING:
        ASSERT(m->doing == DISCARDING);
        break;
    case WIRE_CHUNK_ALONE:
        ASSERT(m->doing == NOTHING);
        break;
    case WIRE_CHUNK_WHOLE:
        ASSERT(m->doing == COLLECTING);
        check_whole(session, &whole, m->len + len);
        break;
    default:
        ASSERT(m->doing == COLLECTING && e.code != 0);
        break;
    }
    m->doing = NOTHING;
    buf_fini(&whole);
}

static void do_stalled(struct wire_chunks *c, uint64_t now_ms)
{
    struct err e = {0};
    uint32_t session;

    while (wire_chunks_stalled(c, now_ms, &session, &e) == WIRE_CHUNK_REFUSED) {
        ASSERT(sessions[session].doing == COLLECTING &&
               now_ms >= sessions[session].piece_ms + WIRE_CHUNK_STALL_MS);
        sessions[session].doing = DISCARDING;
    }
    ASSERT(wire_chunks_deadline_ms(c) == 0 || wire_chunks_deadline_ms(c) > now_ms);
}

static void do_one(struct wire_chunks *c, unsigned what, uint32_t session, size_t len,
                   uint64_t now_ms)
{
    struct model *m = &sessions[session];

    switch (what) {
    case 0:
    case 1:
    case 2:
        do_piece(c, session, len, now_ms);
        break;
    case 3:
        do_last(c, session, len);
        break;
    case 4:
        ASSERT(wire_chunks_drop(c, session) == (m->doing == COLLECTING));
        m->doing = m->doing == COLLECTING ? NOTHING : m->doing;
        break;
    case 5:
        ASSERT(wire_chunks_refuse(c, session));
        m->doing = m->doing == COLLECTING ? DISCARDING : m->doing;
        break;
    default:
        do_stalled(c, now_ms);
        break;
    }
    ASSERT(wire_chunks_collecting(c, session) == (m->doing == COLLECTING));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct wire_chunks_config config = {
        .max_payload_bytes = MOST, .hold = hold, .let_go = let_go, .no_memory = MCP_EINTERNAL};
    struct wire_chunks c;
    uint64_t now_ms = 1;

    memset(sessions, 0, sizeof(sessions));
    held = 0;
    wire_chunks_init(&c, &config);
    for (size_t i = 0; i + 1 < size; i += 2) {
        now_ms += (data[i] & 0xc0) == 0xc0 ? (uint64_t)data[i + 1] * 300 : 1;
        do_one(&c, data[i] >> 3 & 7, data[i] & 7, data[i + 1], now_ms);
    }
    wire_chunks_fini(&c);
    ASSERT(held == 0);
    return 0;
}
