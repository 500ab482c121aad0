/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "codec/zstd_body.h"

enum { TEXT_BYTES = 300000, PACKED_BYTES = 400000 };

static char text[TEXT_BYTES];
static char packed[PACKED_BYTES];

static int setup(void **state)
{
    uint32_t random = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        random = random * 1664525u + 1013904223u;
        text[i] = (char)('a' + (random >> 24) % 20);
    }
    return 0;
}

static size_t pack(size_t at, size_t from, size_t len)
{
    size_t n = ZSTD_compress(packed + at, sizeof(packed) - at, text + from, len, 3);

    assert_false(ZSTD_isError(n));
    return at + n;
}

static int read_packed(size_t len, size_t max_bytes, struct buf *out, struct err *e)
{
    return zstd_body_read(slice_of(packed, len), max_bytes, out, e);
}

static void assert_refused(size_t len, size_t max_bytes, int code, const char *why)
{
    struct buf out = {0};
    struct err e = {0};

    assert_int_equal(read_packed(len, max_bytes, &out, &e), code);
    assert_int_equal(e.code, code);
    assert_non_null(strstr(e.text, why));
    buf_fini(&out);
}

static void what_was_packed_comes_out(void **state)
{
    static const size_t lens[] = {0, 1, 131071, 131072, 131073, 262144, TEXT_BYTES};

    (void)state;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct buf out = {0};

        assert_int_equal(read_packed(pack(0, 0, lens[i]), lens[i], &out, NULL), MCP_OK);
        assert_true(slice_eq(buf_slice(&out), slice_of(text, lens[i])));
        buf_fini(&out);
    }
}

static void several_frames_are_one_body(void **state)
{
    static const char skippable[] = "\x50\x2a\x4d\x18\x03\x00\x00\x00xyz";
    size_t at = pack(0, 0, 1000);
    struct buf out = {0};

    (void)state;
    memcpy(packed + at, skippable, sizeof(skippable) - 1);
    at = pack(at + sizeof(skippable) - 1, 1000, 200000);
    assert_int_equal(read_packed(at, 201000, &out, NULL), MCP_OK);
    assert_true(slice_eq(buf_slice(&out), slice_of(text, 201000)));
    buf_fini(&out);
    assert_refused(at, 200999, MCP_ETOO_LARGE, "more than 200999 bytes");
}

static void what_is_cut_short_is_refused(void **state)
{
    size_t len = pack(0, 0, 2000);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        assert_refused(cut, 2000, MCP_EBAD_REQUEST, "cut short");
    }
}

static void what_is_no_zstd_is_refused(void **state)
{
    size_t len = pack(0, 0, 100);

    (void)state;
    memcpy(packed + len, "{\"model\":\"m\"}", 13);
    assert_refused(len + 13, 1000, MCP_EBAD_REQUEST, "not zstd");
    packed[0] = '{';
    assert_refused(len, 1000, MCP_EBAD_REQUEST, "not zstd");
}

/* One byte repeated 128 KiB times, in four bytes each: it ends at the limit, not with the memory.
 */
static void a_bomb_is_refused(void **state)
{
    static const char head[] = "\x28\xb5\x2f\xfd\x00\x58";
    static const char block[] = "\x02\x00\x10x";
    size_t len = sizeof(head) - 1;
    struct buf out = {0};
    struct err e = {0};

    (void)state;
    memcpy(packed, head, len);
    for (; len + 4 <= sizeof(packed); len += 4) {
        memcpy(packed + len, block, 4);
    }
    assert_int_equal(read_packed(len, 1 << 20, &out, &e), MCP_ETOO_LARGE);
    assert_true(out.cap <= 3 << 20);
    buf_fini(&out);
}

static void a_window_of_gigabytes_is_refused(void **state)
{
    static const char head[] = "\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";

    (void)state;
    memcpy(packed, head, sizeof(head) - 1);
    assert_refused(sizeof(head) - 1, 1000, MCP_ETOO_LARGE, "window");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_out),
        cmocka_unit_test(several_frames_are_one_body),
        cmocka_unit_test(what_is_cut_short_is_refused),
        cmocka_unit_test(what_is_no_zstd_is_refused),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(a_window_of_gigabytes_is_refused),
    };

    return cmocka_run_group_tests_name("codec/zstd_body", tests, setup, NULL);
}
