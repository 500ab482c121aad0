/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp_out.h"

#include <string.h>

#include "base/block.h"
#include "base/counter.h"
#include "wire/chunk.h"
#include "wire/conn.h"
#include "wire/crc32c.h"
#include "wire/hello.h"

enum {
    SOCK_BYTES = 64 * 1024,  /* in the socket's queue before frames wait here */
    PUMP_BYTES = 1024 * 1024 /* of one connection in one turn */
};

void mcp_out_init(struct mcp_out *o, struct sock *sock,
                  void (*emptied)(void *owner, struct mcp_lane *lane), void *owner)
{
    *o = (struct mcp_out){.sock = sock, .emptied = emptied, .owner = owner};
    mcp_out_negotiated(o, WIRE_SINCE_BASE, WIRE_MAX_FRAME_BYTES);
}

void mcp_out_fini(struct mcp_out *o)
{
    buf_fini(&o->control);
}

void mcp_out_negotiated(struct mcp_out *o, uint32_t features, uint32_t max_frame_bytes)
{
    o->with_crc = (features & WIRE_SINCE_CRC32C) != 0;
    o->with_chunks = (features & WIRE_SINCE_CHUNK) != 0;
    o->frame_max = max_frame_bytes - (o->with_crc ? WIRE_CRC_BYTES : 0);
    o->piece_max = o->with_chunks ? wire_piece_bytes_max(max_frame_bytes, o->with_crc) : SIZE_MAX;
}

/* --- frames to the socket ------------------------------------------------------------------------
 */

static void encode_crc(const uint8_t header[WIRE_HEADER_BYTES], struct slice payload,
                       uint8_t crc[WIRE_CRC_BYTES])
{
    uint32_t of_header = wire_crc32c(0, slice_of(header, WIRE_HEADER_BYTES));

    wire_crc32c_encode(wire_crc32c(of_header, payload), crc);
}

static void encode_header(const struct mcp_out *o, enum wire_opcode opcode, uint32_t session,
                          size_t length, uint8_t header[WIRE_HEADER_BYTES])
{
    const struct mcp_header h = {
        .version = WIRE_VERSION,
        .opcode = (uint8_t)opcode,
        .session_id = session,
        .length = (uint32_t)(length + (o->with_crc ? WIRE_CRC_BYTES : 0)),
    };

    wire_header_encode(&h, header);
    counter_add(COUNTER_MCP_FRAMES_OUT, 1);
    counter_add(COUNTER_BYTES_TO_CLIENTS, (int64_t)(WIRE_HEADER_BYTES + h.length));
}

static void put_frame(struct mcp_out *o, enum wire_opcode opcode, uint32_t session,
                      struct slice payload)
{
    uint8_t header[WIRE_HEADER_BYTES];
    uint8_t crc[WIRE_CRC_BYTES];
    struct slice pieces[3];
    size_t count = 2;

    if (o->failed) {
        return;
    }
    encode_header(o, opcode, session, payload.len, header);
    pieces[0] = slice_of(header, sizeof(header));
    pieces[1] = payload;
    if (o->with_crc) {
        encode_crc(header, payload, crc);
        pieces[count++] = slice_of(crc, sizeof(crc));
    }
    (void)sock_writev(o->sock, pieces, count); /* out of memory breaks it, which it says itself */
}

/* Whether the socket has enough to do. */
static bool is_full(const struct mcp_out *o)
{
    if (sock_unsent(o->sock) >= SOCK_BYTES) {
        sock_flush(o->sock);
    }
    return sock_unsent(o->sock) >= SOCK_BYTES;
}

/* Whether what is to be sent has to wait. */
static bool has_backlog(const struct mcp_out *o)
{
    return o->waiting || is_full(o);
}

static void wait_for_socket(struct mcp_out *o)
{
    if (!o->waiting) {
        o->waiting = true;
        sock_notify_sent(o->sock);
    }
}

void mcp_out_fail(struct mcp_out *o)
{
    o->failed = true;
    wait_for_socket(o); /* which tells the owner */
}

/* --- lanes ---------------------------------------------------------------------------------------
 */

bool mcp_lane_is_empty(const struct mcp_lane *lane)
{
    return lane->frames.count == 0;
}

bool mcp_lane_is_spent(const struct mcp_lane *lane)
{
    return lane->balance <= (int64_t)lane->charged_bytes;
}

static size_t left(const struct mcp_out_frame *f)
{
    return f->len - f->gone;
}

static bool may_go(const struct mcp_lane *lane)
{
    const struct mcp_out_frame *first = mcp_out_frame_list_first(&lane->frames);

    return first != NULL && (first->is_free || lane->begun || lane->balance > 0);
}

/* Whether `f` will wait for credit, when those before it have been charged. */
static bool is_held_behind(const struct mcp_out_frame *f, bool begun, int64_t balance)
{
    return !f->is_free && !begun && balance <= 0;
}

bool mcp_lane_holds_last(const struct mcp_lane *lane)
{
    int64_t balance = lane->balance;
    bool begun = lane->begun;
    bool held = false;

    for (const struct mcp_out_frame *f = mcp_out_frame_list_first(&lane->frames); f != NULL;
         f = mcp_out_frame_list_next(&lane->frames, f)) {
        held = held || is_held_behind(f, begun, balance);
        balance -= f->is_free ? 0 : (int64_t)left(f);
        begun = false;
    }
    return held;
}

static void enter_ring(struct mcp_out *o, struct mcp_lane *lane)
{
    if (!mcp_lane_list_has(lane) && may_go(lane)) {
        mcp_lane_list_push(&o->ring, lane);
        o->ready_bytes += lane->charged_bytes + lane->free_bytes;
        wait_for_socket(o);
    }
}

static void leave_ring(struct mcp_out *o, struct mcp_lane *lane)
{
    if (mcp_lane_list_has(lane)) {
        mcp_lane_list_remove(&o->ring, lane);
        o->ready_bytes -= lane->charged_bytes + lane->free_bytes;
    }
}

/* `n` bytes more (or fewer) wait in the lane. */
static void count_waiting(struct mcp_out *o, struct mcp_lane *lane, bool is_free, int64_t n)
{
    size_t *of_kind = is_free ? &lane->free_bytes : &lane->charged_bytes;

    *of_kind = (size_t)((int64_t)*of_kind + n);
    o->free_bytes = (size_t)((int64_t)o->free_bytes + (is_free ? n : 0));
    if (mcp_lane_list_has(lane)) {
        o->ready_bytes = (size_t)((int64_t)o->ready_bytes + n);
    }
}

static size_t block_bytes(size_t len)
{
    return offsetof(struct mcp_out_frame, payload) + len;
}

static void remove_frame(struct mcp_out *o, struct mcp_lane *lane, struct mcp_out_frame *f)
{
    mcp_out_frame_list_remove(&lane->frames, f);
    count_waiting(o, lane, f->is_free, -(int64_t)left(f));
    block_put(f, block_bytes(f->len));
}

static void add_frame(struct mcp_out *o, struct mcp_lane *lane, enum wire_opcode opcode,
                      bool is_free, struct slice payload)
{
    /* What a frame cannot say nobody put here. */
    struct mcp_out_frame *f = block_get(block_bytes(payload.len));

    if (f == NULL) {
        mcp_out_fail(o);
        return;
    }
    f->link = (struct list_link){0};
    f->gone = 0;
    f->len = (uint32_t)payload.len;
    f->opcode = (uint8_t)opcode;
    f->is_free = is_free;
    if (payload.len > 0) {
        memcpy(f->payload, payload.ptr, payload.len);
    }
    mcp_out_frame_list_push(&lane->frames, f);
    count_waiting(o, lane, is_free, (int64_t)payload.len);
    enter_ring(o, lane);
    if (!mcp_lane_list_has(lane)) {
        counter_add(COUNTER_MCP_PARTS_HELD, 1);
    }
}

/* The next frame of a payload of which `rest` is left; what is counted is charged. */
static void put_piece(struct mcp_out *o, struct mcp_lane *lane, enum wire_opcode opcode,
                      bool is_free, struct slice *rest)
{
    struct slice piece = wire_piece_take(rest, o->piece_max);

    put_frame(o, rest->len > 0 ? WIRE_OP_CHUNK : opcode, lane->session, piece);
    lane->begun = rest->len > 0;
    counter_add(COUNTER_MCP_CHUNKS_OUT, lane->begun);
    lane->balance -= is_free ? 0 : (int64_t)piece.len;
    lane->moved_ms = loop_now_ms(sock_loop(o->sock));
}

static void put(struct mcp_out *o, struct mcp_lane *lane, enum wire_opcode opcode, bool is_free,
                struct slice rest)
{
    if (lane->frames.count > 0 || (!is_free && lane->balance <= 0) || has_backlog(o)) {
        add_frame(o, lane, opcode, is_free, rest);
        return;
    }
    do {
        put_piece(o, lane, opcode, is_free, &rest);
    } while (rest.len > 0 && !is_full(o));
    if (rest.len > 0) {
        add_frame(o, lane, opcode, is_free, rest);
    }
}

void mcp_out_part(struct mcp_out *o, struct mcp_lane *lane, struct slice payload)
{
    put(o, lane, WIRE_OP_RESPONSE, false, payload);
}

void mcp_out_aside(struct mcp_out *o, struct mcp_lane *lane, enum wire_opcode opcode,
                   struct slice payload)
{
    put(o, lane, opcode, true, payload);
}

/* --- dropping ------------------------------------------------------------------------------------
 */

void mcp_lane_fini(struct mcp_out *o, struct mcp_lane *lane)
{
    struct mcp_out_frame *f;

    leave_ring(o, lane);
    while ((f = mcp_out_frame_list_first(&lane->frames)) != NULL) {
        remove_frame(o, lane, f);
    }
    lane->begun = false;
}

size_t mcp_out_drop(struct mcp_out *o, struct mcp_lane *lane)
{
    size_t count = lane->frames.count;
    bool begun = lane->begun;

    mcp_lane_fini(o, lane);
    if (begun) {
        mcp_out_aside(o, lane, WIRE_OP_CHUNK, SLICE("")); /* its pieces are worth nothing */
    }
    counter_add(COUNTER_MCP_PARTS_DROPPED, (int64_t)count);
    return count;
}

size_t mcp_out_drop_held(struct mcp_out *o, struct mcp_lane *lane)
{
    struct mcp_out_frame *f = mcp_out_frame_list_first(&lane->frames);
    int64_t balance = lane->balance;
    bool begun = lane->begun;
    size_t count = 0;

    while (f != NULL) {
        struct mcp_out_frame *next = mcp_out_frame_list_next(&lane->frames, f);

        if (is_held_behind(f, begun, balance)) {
            remove_frame(o, lane, f);
            count++;
        } else {
            balance -= f->is_free ? 0 : (int64_t)left(f);
        }
        begun = false;
        f = next;
    }
    counter_add(COUNTER_MCP_PARTS_DROPPED, (int64_t)count);
    return count;
}

/* --- control -------------------------------------------------------------------------------------
 */

void mcp_out_control(struct mcp_out *o, enum wire_opcode opcode, uint32_t session,
                     struct slice payload)
{
    uint8_t header[WIRE_HEADER_BYTES];
    uint8_t crc[WIRE_CRC_BYTES];

    if (!has_backlog(o)) {
        put_frame(o, opcode, session, payload);
        return;
    }
    encode_header(o, opcode, session, payload.len, header);
    buf_append(&o->control, slice_of(header, sizeof(header)));
    buf_append(&o->control, payload);
    if (o->with_crc) {
        encode_crc(header, payload, crc);
        buf_append(&o->control, slice_of(crc, sizeof(crc)));
    }
    wait_for_socket(o);
    if (buf_failed(&o->control)) {
        mcp_out_fail(o);
    }
}

size_t mcp_out_control_bytes(const struct mcp_out *o)
{
    return buf_len(&o->control) + o->free_bytes;
}

size_t mcp_out_unsent(const struct mcp_out *o)
{
    return sock_unsent(o->sock) + o->ready_bytes + buf_len(&o->control);
}

/* --- what has waited -----------------------------------------------------------------------------
 */

static void put_control(struct mcp_out *o)
{
    if (buf_len(&o->control) > 0 && !o->failed) {
        (void)sock_write(o->sock, buf_slice(&o->control)); /* a failure breaks it */
        buf_release(&o->control);
    }
}

/* One frame of the lane whose turn it is. How many bytes of payload. */
static size_t put_next(struct mcp_out *o)
{
    struct mcp_lane *lane = mcp_lane_list_first(&o->ring);
    struct mcp_out_frame *f = mcp_out_frame_list_first(&lane->frames);
    struct slice rest = slice_of(f->payload + f->gone, left(f));
    size_t before = rest.len;

    put_piece(o, lane, (enum wire_opcode)f->opcode, f->is_free, &rest);
    leave_ring(o, lane);
    count_waiting(o, lane, f->is_free, -(int64_t)(before - rest.len));
    f->gone = f->len - (uint32_t)rest.len;
    if (rest.len == 0) {
        remove_frame(o, lane, f);
    }
    enter_ring(o, lane); /* at its end */
    if (mcp_lane_is_empty(lane)) {
        o->emptied(o->owner, lane);
    }
    return before - rest.len;
}

void mcp_out_sent(struct mcp_out *o)
{
    size_t sent = 0;

    put_control(o);
    while (o->ring.count > 0 && sent < PUMP_BYTES && !is_full(o)) {
        sent += put_next(o) + WIRE_HEADER_BYTES;
    }
    o->waiting = false;
    if (o->ring.count > 0) {
        wait_for_socket(o);
    }
}

void mcp_out_finish(struct mcp_out *o)
{
    put_control(o);
    while (o->ring.count > 0) {
        (void)put_next(o);
    }
}

void mcp_out_credit(struct mcp_out *o, struct mcp_lane *lane, uint32_t bytes)
{
    lane->balance += bytes;
    lane->moved_ms = loop_now_ms(sock_loop(o->sock));
    enter_ring(o, lane);
}
