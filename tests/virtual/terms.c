/* SPDX-License-Identifier: Apache-2.0 */
#include "terms.h"

#include <string.h>

#include "base/check.h"
#include "wire/frame.h"

/* --- what is offered */

void terms_init(struct terms *t, bool is_on)
{
    static const uint32_t windows[] = {0, 1, 1000, WIRE_WINDOW_BYTES};
    const struct wire_config config = {.role = WIRE_CLIENT, .max_frame_bytes = 16 << 20};

    memset(t, 0, sizeof(*t));
    t->is_on = is_on;
    t->features = WIRE_SINCE_BASE;
    wire_conn_init(&t->conn, &config);
    wire_chunks_init(&t->chunks, &(struct wire_chunks_config){.max_payload_bytes = 256 << 20,
                                                              .no_memory = MCP_ENOMEM});
    wire_hello_init(&t->hello);
    if (!is_on) {
        return;
    }
    for (uint32_t bit = WIRE_SINCE_ACK; bit <= WIRE_SINCE_CHUNK; bit <<= 1) {
        t->hello.features |= one_in(2) ? bit : 0;
    }
    t->hello.window_bytes = windows[pick(4)];
    if ((t->hello.features & WIRE_SINCE_CHUNK) != 0 && one_in(2)) {
        t->hello.max_frame_bytes = WIRE_HELLO_FRAME_BYTES_MIN;
        t->conn.config.max_frame_bytes = WIRE_HELLO_FRAME_BYTES_MIN;
    }
}

void terms_fini(struct terms *t)
{
    wire_chunks_fini(&t->chunks);
    wire_conn_fini(&t->conn);
}

bool terms_greet(struct terms *t, struct buf *out)
{
    struct buf body = {0};

    if (!t->is_on) {
        return true;
    }
    assert_true(wire_hello_append(&body, &t->hello));
    assert_true(wire_frame_append(out, WIRE_OP_HELLO, 0, buf_slice(&body)));
    buf_fini(&body);
    wire_conn_greeted(&t->conn);
    return false;
}

/* --- saying */

static void frame(struct terms *t, struct buf *out, enum wire_opcode opcode, uint32_t session,
                  struct slice payload)
{
    bool crc = (t->features & WIRE_SINCE_CRC32C) != 0;
    size_t behind = crc ? WIRE_CRC_BYTES : 0;
    size_t begin = buf_len(out);
    uint8_t bytes[WIRE_CRC_BYTES];

    assert_true(wire_header_append(out, opcode, session, payload.len + behind) &&
                buf_append(out, payload));
    if (crc) {
        wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(out), begin)), bytes);
        assert_true(buf_append(out, slice_of(bytes, sizeof(bytes))));
    }
}

static struct terms_lane *lane_of(struct terms *t, uint32_t session)
{
    return session >= 1 && session <= SESSIONS_MAX ? &t->lanes[session - 1] : NULL;
}

/* Nothing waits for credit without end. */
static void grant(struct terms *t, struct buf *out, uint32_t session)
{
    struct terms_lane *lane = lane_of(t, session);
    uint32_t n = (uint32_t)pick(3000) + 1;
    uint8_t bytes[4];

    if ((t->features & WIRE_SINCE_CREDIT) != 0 && lane->balance <= 0) {
        n += (uint32_t)-lane->balance;
        wire_put_u32(bytes, n);
        lane->balance += n;
        frame(t, out, WIRE_OP_CREDIT, session, slice_of(bytes, sizeof(bytes)));
    }
}

void terms_say(struct terms *t, struct buf *out, enum wire_opcode opcode, uint32_t session,
               struct slice payload)
{
    struct terms_lane *lane = lane_of(t, session);

    while (opcode == WIRE_OP_REQUEST && (t->features & WIRE_SINCE_CHUNK) != 0 && payload.len > 1 &&
           one_in(2)) {
        size_t n = (size_t)pick(payload.len - 1) + 1;

        frame(t, out, WIRE_OP_CHUNK, session, slice_first(payload, n));
        payload = slice_skip(payload, n);
    }
    frame(t, out, opcode, session, payload);
    if (opcode == WIRE_OP_REQUEST && lane != NULL && !lane->open) {
        *lane = (struct terms_lane){.open = true, .balance = t->hello.window_bytes};
        grant(t, out, session);
    }
}

bool terms_close(struct terms *t, uint32_t session)
{
    struct terms_lane *lane = lane_of(t, session);
    bool cancelled = lane->cancelled;

    *lane = (struct terms_lane){0};
    return cancelled;
}

/* --- hearing */

static void hear_welcome(struct terms *t, const struct wire_event *ev)
{
    struct wire_welcome w;
    struct err e = {0};

    assert_int_equal(wire_welcome_read(&w, &t->hello, ev->payload, &e), 0);
    assert_int_equal(w.features, t->hello.features);
    assert_true(w.window_bytes <= t->hello.window_bytes);
    t->is_welcome = true;
    t->features = w.features;
    wire_conn_negotiated(&t->conn, w.features);
}

/* A frame of an answer: what is counted was begun with credit. */
static void hear_frame(struct terms *t, const struct wire_event *ev, bool begins)
{
    struct terms_lane *lane = lane_of(t, ev->session);

    if (lane == NULL || !lane->open || deal_is_error(ev->payload)) {
        return;
    }
    if ((t->features & WIRE_SINCE_ACK) != 0) {
        assert_true(lane->acked);
    }
    if ((t->features & WIRE_SINCE_CREDIT) != 0) {
        assert_true(!begins || lane->balance > 0);
        lane->balance -= (int64_t)ev->payload.len;
    }
    lane->has_part = true;
}

static void hear_response(struct terms *t, const struct wire_event *ev, const struct terms_ops *ops,
                          void *owner)
{
    bool begins = !wire_chunks_collecting(&t->chunks, ev->session);
    struct buf whole = {0};
    struct err e = {0};

    hear_frame(t, ev, begins);
    if (wire_chunks_last(&t->chunks, ev->session, ev->payload, &whole, &e) == WIRE_CHUNK_ALONE) {
        ops->part(owner, ev->session, ev->payload);
    } else {
        ops->part(owner, ev->session, buf_slice(&whole));
    }
    buf_fini(&whole);
}

static void hear_chunk(struct terms *t, const struct wire_event *ev)
{
    bool begins = !wire_chunks_collecting(&t->chunks, ev->session);
    struct err e = {0};

    assert_true(ev->payload.len <= WIRE_PIECE_BYTES_MAX);
    assert_true(ev->payload.len > 0 || !begins); /* an empty one takes something back */
    hear_frame(t, ev, begins);
    assert_true(wire_chunks_piece(&t->chunks, ev->session, ev->payload, 0, &e) <
                WIRE_CHUNK_REFUSED);
}

static void hear_ack(struct terms *t, const struct wire_event *ev)
{
    struct terms_lane *lane = lane_of(t, ev->session);
    struct buf node = {0};
    struct wire_ack ack;

    assert_int_equal(wire_ack_read(&ack, ev->payload, &node, NULL), 0);
    assert_true(ack.attempt > 0);
    assert_true(ack.running == (ack.position == WIRE_ACK_UNKNOWN));
    assert_true(ack.running || ack.node.len == 0);
    if (lane != NULL) {
        assert_true(lane->open && !lane->has_part);
        lane->acked = lane->acked || ack.running;
    }
    buf_fini(&node);
}

static void hear_event(struct terms *t, const struct wire_event *ev, const struct terms_ops *ops,
                       void *owner)
{
    assert_true(t->is_welcome || ev->kind == WIRE_EVENT_WELCOME); /* nothing overtakes it */
    switch (ev->kind) {
    case WIRE_EVENT_WELCOME:
        hear_welcome(t, ev);
        ops->welcome(owner);
        break;
    case WIRE_EVENT_ACK:
        hear_ack(t, ev);
        break;
    case WIRE_EVENT_CHUNK:
        hear_chunk(t, ev);
        break;
    case WIRE_EVENT_RESPONSE:
        hear_response(t, ev, ops, owner);
        break;
    case WIRE_EVENT_HEARTBEAT:
        ops->beat(owner, ev->session, ev->payload);
        break;
    default:
        assert_int_equal(ev->kind, WIRE_EVENT_GOAWAY);
        assert_false(t->is_away);
        t->is_away = true;
        break;
    }
}

/* Credit; and some are cancelled. */
static void say_more(struct terms *t, struct buf *out)
{
    for (uint32_t session = 1; session <= SESSIONS_MAX; session++) {
        struct terms_lane *lane = lane_of(t, session);

        if (!lane->open) {
            continue;
        }
        grant(t, out, session);
        if ((t->features & WIRE_SINCE_CANCEL) != 0 && world.plan.clients_leave &&
            !lane->cancelled && one_in(20)) {
            lane->cancelled = true;
            frame(t, out, WIRE_OP_CANCEL, session, SLICE(""));
        }
    }
}

void terms_hear(struct terms *t, struct slice in, const struct terms_ops *ops, void *owner,
                struct buf *out)
{
    struct wire_event ev;
    ptrdiff_t used;

    while (ops->listens(owner) && (used = wire_conn_recv(&t->conn, in, 0, &ev)) > 0) {
        in = slice_skip(in, (size_t)used);
        hear_event(t, &ev, ops, owner);
    }
    if (ops->listens(owner) && t->is_welcome) {
        say_more(t, out);
    }
}
