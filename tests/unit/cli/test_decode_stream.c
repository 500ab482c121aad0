/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/decode_packet.h"
#include "cli/decode_stream.h"
#include "wire/crc32c.h"

/* What was decoded, as text. */
static void on_item(void *owner, const struct decode_item *item)
{
    struct buf *seen = owner;

    buf_printf(seen, "%d %llu %s %u %zu %zu %.*s!%s\n", item->way, (unsigned long long)item->offset,
               item->opcode == NULL ? "?" : item->opcode->name, item->header.session_id,
               item->payload.len, item->gathered_bytes, SLICE_ARG(item->payload), item->error);
}

static void append_with_crc(struct buf *out, enum wire_opcode opcode, uint32_t session,
                            struct slice payload)
{
    size_t begin = buf_len(out);
    uint8_t crc[WIRE_CRC_BYTES];

    (void)wire_header_append(out, opcode, session, payload.len + WIRE_CRC_BYTES);
    buf_append(out, payload);
    wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(out), begin)), crc);
    buf_append(out, slice_of(crc, sizeof(crc)));
}

/* All that a server says on a connection: good frames, pieces, and one that is cut off. */
static void make_talk(struct buf *out)
{
    (void)wire_frame_append(out, WIRE_OP_WELCOME, 0,
                            SLICE("{\"codec\":\"json\",\"features\":[\"chunk\",\"crc32c\"]}"));
    append_with_crc(out, WIRE_OP_CHUNK, 1, SLICE("{\"response\":"));
    append_with_crc(out, WIRE_OP_RESPONSE, 2, SLICE("{\"done\":true}"));
    append_with_crc(out, WIRE_OP_HEARTBEAT, 0, SLICE(""));
    append_with_crc(out, WIRE_OP_CHUNK, 1, SLICE("\"Hi\""));
    append_with_crc(out, WIRE_OP_RESPONSE, 1, SLICE(",\"done\":true}"));
    append_with_crc(out, WIRE_OP_CHUNK, 7, SLICE("never ended"));
    append_with_crc(out, WIRE_OP_RESPONSE, 3, SLICE("{}"));
    out->data[out->tail - 1] ^= 1;
    (void)wire_header_append(out, WIRE_OP_RESPONSE, 4, 100);
    buf_append(out, SLICE("cut off"));
}

static const char wanted[] =
    "1 0 WELCOME 0 46 0 {\"codec\":\"json\",\"features\":[\"chunk\",\"crc32c\"]}!\n"
    "1 56 CHUNK 1 12 12 {\"response\":!\n"
    "1 82 RESPONSE 2 13 13 {\"done\":true}!\n"
    "1 109 HEARTBEAT 0 0 0 !\n"
    "1 123 CHUNK 1 4 16 \"Hi\"!\n"
    "1 141 RESPONSE 1 29 29 {\"response\":\"Hi\",\"done\":true}!\n"
    "1 168 CHUNK 7 11 11 never ended!\n";

static void check_split(struct slice talk, size_t first, size_t step)
{
    struct decode_stream s;
    struct buf seen = {0};
    size_t at = 0;

    decode_stream_init(&s, on_item, &seen);
    while (at < talk.len) {
        struct slice piece = slice_first(slice_skip(talk, at), at == 0 ? first : step);

        decode_stream_feed(&s, DECODE_TO_CLIENT, piece);
        at += piece.len;
    }
    decode_stream_end(&s);
    decode_stream_fini(&s);
    buf_append_byte(&seen, '\0');
    assert_non_null(strstr(seen.data, wanted));
    assert_non_null(strstr(seen.data, "1 193 RESPONSE 3 2 2 {}!its CRC is "));
    assert_non_null(
        strstr(seen.data, "!RESPONSE on session 4 ends after 7 of 100 bytes of its payload\n"));
    buf_fini(&seen);
}

static void test_every_split(void **state)
{
    struct buf talk = {0};
    struct slice all;

    (void)state;
    make_talk(&talk);
    all = buf_slice(&talk);
    check_split(all, all.len, all.len);
    check_split(all, 1, 1);
    for (size_t i = 1; i < all.len; i++) {
        check_split(all, i, all.len);
    }
    buf_fini(&talk);
}

/* Both ways are read apart; nothing is read on behind what is lost. */
static void test_ways(void **state)
{
    struct decode_stream s;
    struct buf frame = {0};
    struct buf seen = {0};

    (void)state;
    (void)wire_frame_append(&frame, WIRE_OP_HEARTBEAT, 5, SLICE("x"));
    decode_stream_init(&s, on_item, &seen);
    decode_stream_feed(&s, DECODE_TO_SERVER, slice_first(buf_slice(&frame), 3));
    decode_stream_feed(&s, DECODE_TO_CLIENT, buf_slice(&frame));
    decode_stream_feed(&s, DECODE_TO_SERVER, slice_skip(buf_slice(&frame), 3));
    decode_stream_lost(&s, DECODE_TO_SERVER, "gone");
    decode_stream_lost(&s, DECODE_TO_SERVER, "gone");
    decode_stream_feed(&s, DECODE_TO_SERVER, buf_slice(&frame));
    decode_stream_end(&s);
    decode_stream_fini(&s);
    assert_int_equal(buf_len(&seen), strlen("1 0 HEARTBEAT 5 1 0 x!\n0 0 HEARTBEAT 5 1 0 x!\n"
                                            "0 11 ? 0 0 0 !gone\n"));
    buf_fini(&seen);
    buf_fini(&frame);
}

/* An IPv4 packet with a TCP segment of three bytes. */
static const unsigned char packet[] = {
    0x45, 0,    0, 43, 0, 0, 0, 0, 64, 6, 0,    0,    10, 0, 0, 1, 10, 0, 0,   2,   0x9c, 0x40,
    0x1f, 0x90, 0, 0,  0, 9, 0, 0, 0,  0, 0x50, 0x18, 0,  0, 0, 0, 0,  0, 'a', 'b', 'c'};

static void test_packet(void **state)
{
    struct decode_segment s;
    unsigned char copy[sizeof(packet)];

    (void)state;
    assert_true(decode_packet(12 /* DLT_RAW */, slice_of(packet, sizeof(packet)), &s));
    assert_int_equal(s.from.port, 40000);
    assert_int_equal(s.to.port, 8080);
    assert_int_equal(s.seq, 9);
    assert_int_equal(s.length_bytes, 3);
    assert_memory_equal(s.bytes.ptr, "abc", 3);
    /* Wherever the capture cuts it, and whatever a byte is, nothing outside is read. */
    for (size_t len = 0; len < sizeof(packet); len++) {
        assert_int_equal(decode_packet(12, slice_of(packet, len), &s), len >= 40);
    }
    for (size_t at = 0; at < sizeof(packet); at++) {
        for (int value = 0; value < 256; value++) {
            memcpy(copy, packet, sizeof(packet));
            copy[at] = (unsigned char)value;
            if (decode_packet(12, slice_of(copy, sizeof(copy)), &s)) {
                assert_true(s.bytes.len <= s.length_bytes && s.bytes.len <= sizeof(copy));
            }
        }
    }
    assert_false(decode_packet(147, slice_of(packet, sizeof(packet)), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
