/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "base/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_unescapes(struct slice quoted, struct slice wanted)
{
    struct buf out;

    buf_init(&out, 0);
    assert_true(json_unescape(quoted, &out));
    assert_true(slice_eq(buf_slice(&out), wanted));
    buf_fini(&out);
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    assert_unescapes(SLICE("\"\""), SLICE(""));
    assert_unescapes(SLICE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SLICE("\"\\/\b\f\n\r\t"));
    assert_unescapes(SLICE("\"m\\u0000x\""), SLICE("m\0x"));
    assert_unescapes(SLICE("\"\\u00e9\\u4F60\""), SLICE("\xC3\xA9\xE4\xBD\xA0"));
    assert_unescapes(SLICE("\"\\ud83d\\ude00\""), SLICE("\xF0\x9F\x98\x80"));
    assert_unescapes(SLICE("\"\\uDBFF\\uDFFF\""), SLICE("\xF4\x8F\xBF\xBF"));
    /* Lone surrogates, as Go's encoding/json reads them. */
    assert_unescapes(SLICE("\"a\\ud83db\""), SLICE("a\xEF\xBF\xBD"
                                                   "b"));
    assert_unescapes(SLICE("\"\\ude00\\ud83d\""), SLICE("\xEF\xBF\xBD\xEF\xBF\xBD"));
    assert_unescapes(SLICE("\"\\ud83d\\ud83d\\ude00\""), SLICE("\xEF\xBF\xBD\xF0\x9F\x98\x80"));
    assert_unescapes(SLICE("\"\\ud83d\\n\""), SLICE("\xEF\xBF\xBD\n"));
}

static void assert_writes(struct slice text, struct slice wanted)
{
    struct buf out;

    buf_init(&out, 0);
    assert_true(json_append_string(&out, text));
    assert_true(slice_eq(buf_slice(&out), wanted));
    buf_fini(&out);
}

static void strings_are_written(void **state)
{
    (void)state;
    assert_writes(SLICE(""), SLICE("\"\""));
    assert_writes((struct slice){NULL, 0}, SLICE("\"\""));
    assert_writes(SLICE("a\"b\\c/d"), SLICE("\"a\\\"b\\\\c/d\""));
    assert_writes(SLICE("\b\f\n\r\t\0\x1F\x7F"), SLICE("\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7F\""));
    assert_writes(SLICE("\xC3\xA9\xF0\x9F\x98\x80"), SLICE("\"\xC3\xA9\xF0\x9F\x98\x80\""));
    assert_writes(SLICE("\xFF"), SLICE("\"\xEF\xBF\xBD\""));
    assert_writes(SLICE("a\xE4\xBD"), SLICE("\"a\xEF\xBF\xBD\xEF\xBF\xBD\""));
    assert_writes(SLICE("\xED\xA0\x80"), SLICE("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""));
}

/* With room for `i` bytes, for each i that is too few, both say no; with enough they say yes. */
static void no_room_is_told(void **state)
{
    struct slice plain = SLICE("ab\"\n\x01\xFF\xC3\xA9");
    struct slice quoted = SLICE("\"ab\\n\\u00e9\\ud83d\\ude00c\"");
    struct buf out;

    (void)state;
    for (size_t room = 1; room <= 40; room++) {
        buf_init(&out, room);
        assert_int_equal(json_append_string(&out, plain), room >= 19);
        assert_int_equal(buf_failed(&out), room < 19);
        buf_fini(&out);
        buf_init(&out, room);
        assert_int_equal(json_unescape(quoted, &out), room >= 10);
        buf_fini(&out);
    }
}

static void whole_numbers(void **state)
{
    static const struct slice others[] = {
        SLICE(""),
        SLICE("-1"),
        SLICE("-0"),
        SLICE("+1"),
        SLICE("01"),
        SLICE("00"),
        SLICE("1.0"),
        SLICE("1e3"),
        SLICE("\"1\""),
        SLICE("true"),
        SLICE("null"),
        SLICE("1 "),
        SLICE(" 1"),
        SLICE("0x1"),
        SLICE("9223372036854775808"),
        SLICE("18446744073709551616"),
        SLICE("99999999999999999999999"),
    };
    uint64_t value = 0;

    (void)state;
    assert_true(json_uint(SLICE("0"), &value) && value == 0);
    assert_true(json_uint(SLICE("9"), &value) && value == 9);
    assert_true(json_uint(SLICE("1000"), &value) && value == 1000);
    assert_true(json_uint(SLICE("9223372036854775807"), &value) && value == INT64_MAX);
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_false(json_uint(others[i], &value));
    }
}

static void utf8_is_cut_between_characters(void **state)
{
    struct slice text = SLICE("a\xC3\xA9\xF0\x9F\x98\x80z");
    static const size_t wanted[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};

    (void)state;
    for (size_t max = 0; max < COUNT(wanted); max++) {
        assert_int_equal(utf8_first(text, max).len, wanted[max]);
    }
    /* What is no UTF-8 anyway is cut where asked. */
    assert_int_equal(utf8_first(SLICE("\x80\x80\x80\x80\x80\x80"), 5).len, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(strings_are_written),
        cmocka_unit_test(no_room_is_told),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(utf8_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
