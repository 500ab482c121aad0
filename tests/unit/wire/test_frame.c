/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "feed.h"
#include "wire/frame.h"

static void header_has_the_drawn_layout(void **state)
{
    const struct mcp_header h = {1, 2, 0x01020304, 0xfffefdfc};
    const uint8_t want[] = {1, 2, 1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc};
    uint8_t bytes[WIRE_HEADER_BYTES];

    (void)state;
    assert_int_equal(WIRE_HEADER_BYTES, 10);
    wire_header_encode(&h, bytes);
    assert_memory_equal(bytes, want, sizeof(want));
}

static void header_survives_the_round_trip(void **state)
{
    const uint32_t numbers[] = {0,       1,          0x7f,       0x80,      0xff00,
                                0x10000, 0x7fffffff, 0x80000000, UINT32_MAX};
    const size_t count = sizeof(numbers) / sizeof(numbers[0]);

    (void)state;
    for (size_t i = 0; i < count * count; i++) {
        struct mcp_header h = {(uint8_t)i, (uint8_t)(255 - i), numbers[i / count],
                               numbers[i % count]};
        uint8_t bytes[WIRE_HEADER_BYTES];
        struct mcp_header back;

        wire_header_encode(&h, bytes);
        back = wire_header_decode(bytes);
        assert_int_equal(back.version, h.version);
        assert_int_equal(back.opcode, h.opcode);
        assert_int_equal(back.session_id, h.session_id);
        assert_int_equal(back.length, h.length);
    }
}

static void frames_are_header_and_payload(void **state)
{
    struct buf out = {0}, want = {0};

    (void)state;
    assert_true(wire_frame_append(&out, WIRE_OP_RESPONSE, 5, SLICE("{}")));
    assert_true(wire_frame_append(&out, WIRE_OP_HEARTBEAT, 0, SLICE("")));
    assert_true(wire_header_append(&out, WIRE_OP_REQUEST, UINT32_MAX, 1000));
    feed_hex(&want, "01 02 00000005 00000002 7b7d");
    feed_hex(&want, "01 03 00000000 00000000");
    feed_hex(&want, "01 01 ffffffff 000003e8");
    assert_true(slice_eq(buf_slice(&out), buf_slice(&want)));
    buf_fini(&out);
    buf_fini(&want);
}

/* Half a frame in an output queue would corrupt everything behind it. */
static void a_frame_is_appended_whole_or_not_at_all(void **state)
{
    char payload[600] = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_true(wire_frame_append(&out, WIRE_OP_RESPONSE, 1, slice_of(payload, 50)));
    assert_false(wire_frame_append(&out, WIRE_OP_RESPONSE, 1, slice_of(payload, 31)));
    assert_int_equal(buf_len(&out), 60);
    assert_true(buf_failed(&out));
    buf_fini(&out);

    for (size_t i = 1; i <= 2; i++) {
        buf_init(&out, 0);
        alloc_fault_at(i);
        (void)wire_frame_append(&out, WIRE_OP_RESPONSE, 1, slice_of(payload, sizeof(payload)));
        alloc_fault_at(0);
        assert_int_equal(buf_len(&out), buf_failed(&out) ? 0 : sizeof(payload) + WIRE_HEADER_BYTES);
        buf_fini(&out);
    }
}

static void a_length_over_u32_is_refused(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_false(wire_header_append(&out, WIRE_OP_RESPONSE, 1, (size_t)UINT32_MAX + 1));
    assert_true(buf_failed(&out));
    assert_int_equal(buf_len(&out), 0);
    buf_fini(&out);
}

static void opcodes_are_those_of_section_1(void **state)
{
    static const struct wire_opcode_info WANT[] = {
        {"REQUEST", 0x01, WIRE_TO_SERVER, WIRE_SINCE_BASE, WIRE_SESSION_POSITIVE, 0, UINT32_MAX},
        {"RESPONSE", 0x02, WIRE_TO_CLIENT, WIRE_SINCE_BASE, WIRE_SESSION_ANY, 0, UINT32_MAX},
        {"HEARTBEAT", 0x03, WIRE_BOTH, WIRE_SINCE_BASE, WIRE_SESSION_ANY, 0, 64},
        {"HELLO", 0x10, WIRE_TO_SERVER, WIRE_SINCE_GREETING, WIRE_SESSION_ANY, 0, UINT32_MAX},
        {"WELCOME", 0x11, WIRE_TO_CLIENT, WIRE_SINCE_GREETING, WIRE_SESSION_ANY, 0, UINT32_MAX},
        {"ACK", 0x12, WIRE_TO_CLIENT, WIRE_SINCE_ACK, WIRE_SESSION_POSITIVE, 0, UINT32_MAX},
        {"CREDIT", 0x13, WIRE_TO_SERVER, WIRE_SINCE_CREDIT, WIRE_SESSION_POSITIVE, 4, 4},
        {"CANCEL", 0x14, WIRE_TO_SERVER, WIRE_SINCE_CANCEL, WIRE_SESSION_POSITIVE, 0, 0},
        {"GOAWAY", 0x15, WIRE_TO_CLIENT, WIRE_SINCE_GOAWAY, WIRE_SESSION_ANY, 0, UINT32_MAX},
        {"CHUNK", 0x16, WIRE_BOTH, WIRE_SINCE_CHUNK, WIRE_SESSION_POSITIVE, 0, UINT32_MAX},
    };
    size_t known = 0;

    (void)state;
    for (unsigned op = 0; op < 256; op++) {
        const struct wire_opcode_info *info = wire_opcode_info((uint8_t)op);

        if (info != NULL) {
            const struct wire_opcode_info *want = &WANT[known++];

            assert_string_equal(info->name, want->name);
            assert_int_equal(info->opcode, want->opcode);
            assert_int_equal(info->direction, want->direction);
            assert_int_equal(info->since, want->since);
            assert_int_equal(info->session, want->session);
            assert_int_equal(info->payload_min_bytes, want->payload_min_bytes);
            assert_int_equal(info->payload_max_bytes, want->payload_max_bytes);
        }
    }
    assert_int_equal(known, sizeof(WANT) / sizeof(WANT[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_has_the_drawn_layout),
        cmocka_unit_test(header_survives_the_round_trip),
        cmocka_unit_test(frames_are_header_and_payload),
        cmocka_unit_test(a_frame_is_appended_whole_or_not_at_all),
        cmocka_unit_test(a_length_over_u32_is_refused),
        cmocka_unit_test(opcodes_are_those_of_section_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
