/* SPDX-License-Identifier: Apache-2.0 */
/* Captures and digits that are damaged anywhere: what is read may be wrong, nothing else. */
#include "cli/decode_capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cli/decode_text.h"

enum { LINK_RAW = 101, SEGMENTS = 12, ROUNDS = 400, DAMAGES_MAX = 4 };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static void append_u32(struct buf *out, uint32_t value) /* as this machine has it */
{
    buf_append(out, slice_of(&value, sizeof(value)));
}

static void append_big(struct buf *out, uint32_t value, size_t bytes)
{
    while (bytes-- > 0) {
        buf_append_byte(out, (char)(value >> 8 * bytes));
    }
}

/* A packet with a segment of one direction of a connection. */
static void append_packet(struct buf *out, bool to_server, uint32_t seq, struct slice data)
{
    uint32_t length = 40 + (uint32_t)data.len;

    append_u32(out, 1700000000);
    append_u32(out, 0);
    append_u32(out, length);
    append_u32(out, length);
    append_big(out, 0x4500, 2);
    append_big(out, length, 2);
    append_big(out, 0, 4);
    append_big(out, 0x4006, 2);
    append_big(out, 0, 2);
    append_big(out, to_server ? 1 : 2, 4);
    append_big(out, to_server ? 2 : 1, 4);
    append_big(out, to_server ? 40000 : 8080, 2);
    append_big(out, to_server ? 8080 : 40000, 2);
    append_big(out, seq, 4);
    append_big(out, 0, 4);
    append_big(out, 0x5018, 2);
    append_big(out, 0, 4);
    append_big(out, 0, 2);
    buf_append(out, data);
}

static void make_capture(struct buf *out)
{
    static const char welcome[] =
        "{\"version\":1,\"codec\":\"json\",\"features\":[\"chunk\",\"crc32c\"]}";
    struct buf frames = {0};
    struct slice left;
    uint32_t seq = 1;

    append_u32(out, 0xa1b2c3d4);
    append_u32(out, 2 | 4 << 16);
    append_u32(out, 0);
    append_u32(out, 0);
    append_u32(out, 262144);
    append_u32(out, LINK_RAW);
    (void)wire_frame_append(&frames, WIRE_OP_WELCOME, 0, slice_str(welcome));
    (void)wire_frame_append(&frames, WIRE_OP_CHUNK, 1, SLICE("{\"response\":\"....\"abcd"));
    (void)wire_frame_append(&frames, WIRE_OP_RESPONSE, 1, SLICE(",\"done\":true}abcd"));
    (void)wire_frame_append(&frames, WIRE_OP_HEARTBEAT, 7, SLICE("pingabcd"));
    left = buf_slice(&frames);
    while (left.len > 0) {
        struct slice piece = slice_first(left, buf_len(&frames) / SEGMENTS);

        append_packet(out, false, seq, piece);
        append_packet(out, true, seq, piece);
        seq += (uint32_t)piece.len;
        left = slice_skip(left, piece.len);
    }
    buf_fini(&frames);
}

struct seen {
    size_t connections;
    size_t frames;
    size_t errors;
};

static void on_began(void *owner, const struct decode_connection *c)
{
    struct seen *seen = owner;

    assert_true(strlen(c->client) > 0 && strlen(c->server) > 0);
    seen->connections++;
}

static void on_item(void *owner, const struct decode_connection *c, uint64_t us,
                    const struct decode_item *item)
{
    struct seen *seen = owner;
    struct buf line = {0};

    assert_true(c->number > 0 && us < UINT64_MAX);
    seen->frames += item->is_frame;
    seen->errors += item->error[0] != '\0';
    if (item->is_frame && !item->is_piece) {
        (void)decode_json_line(item->payload, 20, &line);
        assert_true(buf_len(&line) <= 20 + 3);
    }
    buf_fini(&line);
}

static const struct decode_capture_ops ops = {.began = on_began, .item = on_item};

static int run(struct slice capture, uint16_t port, struct seen *seen)
{
    struct err e = {0};
    size_t others;

    *seen = (struct seen){0};
    return decode_capture(capture, port, &ops, seen, &others, &e);
}

static void test_whole(void **state)
{
    struct buf capture = {0};
    struct seen seen;

    (void)state;
    make_capture(&capture);
    assert_true(decode_is_capture(buf_slice(&capture)));
    assert_int_equal(run(buf_slice(&capture), 0, &seen), MCP_OK);
    assert_int_equal(seen.connections, 1);
    assert_int_equal(seen.frames, 2 * 4);
    buf_fini(&capture);
}

static void test_damaged(void **state)
{
    struct buf capture = {0};
    uint64_t random = 1;

    (void)state;
    make_capture(&capture);
    for (int round = 0; round < ROUNDS; round++) {
        struct buf copy = {0};
        struct seen seen;
        uint64_t damages = 1 + next_random(&random) % DAMAGES_MAX;

        assert_true(buf_append(&copy, buf_slice(&capture)));
        for (; damages > 0; damages--) {
            copy.data[next_random(&random) % buf_len(&copy)] = (char)next_random(&random);
        }
        copy.tail -= next_random(&random) % 3 == 0 ? next_random(&random) % buf_len(&copy) : 0;
        (void)run(buf_slice(&copy), round % 2 == 0 ? 0 : 8080, &seen);
        buf_fini(&copy);
    }
    buf_fini(&capture);
}

static void on_bytes(void *owner, enum decode_way way, struct slice bytes)
{
    assert_true(way < DECODE_WAYS && bytes.len > 0);
    decode_stream_feed(owner, way, bytes);
}

static void ignore(void *owner, const struct decode_item *item)
{
    (void)owner;
    assert_true(item->is_frame || item->error[0] != '\0');
}

static void test_any_text(void **state)
{
    static const char alphabet[] = "0001010203aAfF:><#- \n\txX,|";
    uint64_t random = 7;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct decode_stream stream;
        char text[200];
        struct err e = {0};

        for (size_t i = 0; i < sizeof(text); i++) {
            text[i] = alphabet[next_random(&random) % (sizeof(alphabet) - 1)];
        }
        decode_stream_init(&stream, ignore, NULL);
        if (decode_hex(slice_of(text, sizeof(text)), on_bytes, &stream, &e) != MCP_OK) {
            assert_int_equal(e.code, MCP_EARGUMENT);
        }
        decode_stream_end(&stream);
        decode_stream_fini(&stream);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_any_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
