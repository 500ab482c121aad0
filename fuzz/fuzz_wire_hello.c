/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: HELLO, WELCOME, ACK and GOAWAY of any bytes. What is read is within its limits,
 * and reads back the same once it is written. Input: which of the four, then the payload. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "wire/conn.h"
#include "wire/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wire_offer OFFER = {
    .codecs = 1 << WIRE_CODEC_JSON,
    .features = UINT32_MAX,
    .heartbeat_ms = WIRE_HEARTBEAT_MS,
    .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
    .window_bytes = WIRE_WINDOW_BYTES,
    .max_sessions = 4096,
    .server = "s",
};

static void check_welcome(const struct wire_hello *h)
{
    struct wire_welcome w, back;
    struct buf text = {0};
    struct err e;

    if (wire_negotiate(h, &OFFER, &w, &e) == 0) {
        ASSERT(w.window_bytes <= h->window_bytes);
        ASSERT(w.heartbeat_ms <= h->heartbeat_ms || w.heartbeat_ms == WIRE_HEARTBEAT_LEAST_MS);
        ASSERT((w.features & ~h->features) == 0 && wire_welcome_append(&text, &w));
        ASSERT(wire_welcome_read(&back, h, buf_slice(&text), &e) == 0);
        ASSERT(back.features == w.features && back.window_bytes == w.window_bytes);
        ASSERT(back.heartbeat_ms == w.heartbeat_ms && back.codec == w.codec);
    }
    buf_fini(&text);
}

static void hello(struct slice in)
{
    struct wire_hello h, back;
    struct buf text = {0};
    struct err e;

    if (wire_hello_read(&h, 0, in, &e) == 0) {
        ASSERT(h.max_frame_bytes >= WIRE_HELLO_FRAME_BYTES_MIN && h.heartbeat_ms > 0);
        ASSERT(h.window_bytes <= WIRE_WINDOW_BYTES_MAX && h.codec_count <= WIRE_CODEC_COUNT);
        ASSERT(wire_hello_append(&text, &h));
        ASSERT(wire_hello_read(&back, 0, buf_slice(&text), &e) == 0);
        ASSERT(back.features == h.features && back.window_bytes == h.window_bytes);
        ASSERT(slice_eq(back.auth, h.auth) && slice_eq(back.client, h.client));
        check_welcome(&h);
    } else {
        ASSERT(e.code == MCP_EBAD_REQUEST && e.text[0] != '\0');
    }
    buf_fini(&text);
}

static void welcome(struct slice in)
{
    struct wire_hello h;
    struct wire_welcome w;
    struct err e;

    wire_hello_init(&h);
    h.features = WIRE_SINCE_BASE | WIRE_SINCE_ACK | WIRE_SINCE_CHUNK;
    if (wire_welcome_read(&w, &h, in, &e) == 0) {
        ASSERT((w.features & ~h.features) == 0 && w.codec < WIRE_CODEC_COUNT);
        ASSERT(w.heartbeat_ms > 0 && w.max_frame_bytes >= WIRE_HELLO_FRAME_BYTES_MIN);
    } else {
        ASSERT(e.code < 0);
    }
}

static void ack(struct slice in)
{
    struct buf node = {0}, again = {0}, text = {0};
    struct wire_ack a, back;
    struct err e;

    if (wire_ack_read(&a, in, &node, &e) == 0) {
        ASSERT(wire_ack_append(&text, &a) &&
               wire_ack_read(&back, buf_slice(&text), &again, &e) == 0);
        ASSERT(back.running == a.running && back.position == a.position && back.eta_ms == a.eta_ms);
        ASSERT(back.attempt == a.attempt && slice_eq(back.node, a.node));
        ASSERT(slice_eq(back.model, a.model));
    }
    buf_fini(&node);
    buf_fini(&again);
    buf_fini(&text);
}

static void goaway(struct slice in)
{
    struct wire_goaway g, back;
    struct buf text = {0};
    struct err e;

    if (wire_goaway_read(&g, in, &e) == 0) {
        ASSERT(wire_goaway_append(&text, &g) && wire_goaway_read(&back, buf_slice(&text), &e) == 0);
        ASSERT(back.reason == g.reason && back.retry_after_ms == g.retry_after_ms);
    }
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const READERS[])(struct slice in) = {hello, welcome, ack, goaway};

    if (size > 0) {
        READERS[data[0] % 4](slice_of(data + 1, size - 1));
    }
    return 0;
}
