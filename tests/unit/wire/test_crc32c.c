/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "wire/frame.h"

/* RFC 3720, appendix B.4: an iSCSI READ (10) command. */
static const uint8_t READ_10[] = {
    0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
    0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

static void fill(uint8_t bytes[32], int from, int step)
{
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(from + i * step);
    }
}

static void the_vectors_of_rfc_3720(void **state)
{
    uint8_t bytes[32];

    (void)state;
    fill(bytes, 0, 0);
    assert_int_equal(wire_crc32c(0, slice_of(bytes, 32)), 0x8a9136aa);
    fill(bytes, 0xff, 0);
    assert_int_equal(wire_crc32c(0, slice_of(bytes, 32)), 0x62a8ab43);
    fill(bytes, 0, 1);
    assert_int_equal(wire_crc32c(0, slice_of(bytes, 32)), 0x46dd794e);
    fill(bytes, 31, -1);
    assert_int_equal(wire_crc32c(0, slice_of(bytes, 32)), 0x113fdb5c);
    assert_int_equal(wire_crc32c(0, slice_of(READ_10, sizeof(READ_10))), 0xd9963a56);
    assert_int_equal(wire_crc32c(0, SLICE("123456789")), 0xe3069283);
}

static void nothing_has_the_crc_0(void **state)
{
    (void)state;
    assert_int_equal(wire_crc32c(0, SLICE("")), 0);
    assert_int_equal(wire_crc32c(0, (struct slice){0}), 0);
    assert_int_equal(wire_crc32c(0xe3069283, SLICE("")), 0xe3069283);
}

/* The definition, bit by bit. */
static uint32_t slow_crc32c(struct slice bytes)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (uint8_t)bytes.ptr[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
    }
    return ~crc;
}

/* ISA-L has different code for lengths and alignments. */
static void it_goes_on_from_any_split(void **state)
{
    enum { LEN = 700 };
    char *bytes = malloc(LEN);
    uint32_t want;

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < LEN; i++) {
        bytes[i] = (char)(i * i + i / 7);
    }
    want = slow_crc32c(slice_of(bytes, LEN));
    for (size_t at = 0; at <= LEN; at++) {
        uint32_t crc = wire_crc32c(0, slice_of(bytes, at));

        assert_int_equal(crc, slow_crc32c(slice_of(bytes, at)));
        assert_int_equal(wire_crc32c(crc, slice_of(bytes + at, LEN - at)), want);
    }
    free(bytes);
}

/* tests/vectors/wire.json, hello_then_request_crc. */
static void it_stands_behind_a_frame(void **state)
{
    static const char payload[] = "{\"model\":\"llama3:8b\",\"prompt\":\"Hello\"}";
    static const uint8_t want[WIRE_CRC_BYTES] = {0x5e, 0x47, 0xb8, 0x81};
    uint8_t got[WIRE_CRC_BYTES];
    struct buf frame = {0};

    (void)state;
    assert_true(wire_header_append(&frame, WIRE_OP_REQUEST, 1, strlen(payload) + WIRE_CRC_BYTES));
    wire_crc32c_encode(wire_crc32c(wire_crc32c(0, buf_slice(&frame)), slice_str(payload)), got);
    assert_memory_equal(got, want, sizeof(want));
    assert_int_equal(wire_crc32c_decode(want), 0x5e47b881);
    buf_fini(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_3720),
        cmocka_unit_test(nothing_has_the_crc_0),
        cmocka_unit_test(it_goes_on_from_any_split),
        cmocka_unit_test(it_stands_behind_a_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
