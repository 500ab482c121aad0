/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "obs/logfmt.h"

static void check(struct buf *b, const char *expected)
{
    assert_true(buf_append_byte(b, '\0'));
    assert_string_equal(b->data + b->head, expected);
    buf_fini(b);
}

static void time_is_utc_with_microseconds(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_true(logfmt_time(&b, 1700000000000042U));
    check(&b, "2023-11-14T22:13:20.000042Z");
}

static void plain_values_stand_as_they_are(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_true(logfmt_pair(&b, "model", SLICE("llama3:8b")));
    assert_true(logfmt_pair(&b, "empty", SLICE("")));
    assert_true(logfmt_number(&b, "parts", 18446744073709551615U));
    check(&b, " model=llama3:8b parts=18446744073709551615");
}

static void a_value_never_makes_a_second_line_or_pair(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_true(logfmt_pair(&b, "a", SLICE("x y=\"z\"\n\\\0")));
    check(&b, " a=\"x y=\\\"z\\\"\\x0a\\\\\\x00\"");
    assert_true(logfmt_pair(&b, "a", SLICE("\xe4\xbd\xa0")));
    check(&b, " a=\"\xe4\xbd\xa0\"");
}

static void what_is_not_text_is_escaped(void **state)
{
    struct buf b = {0};

    (void)state;
    /* A bare tail, a cut sequence, CSI as one character, and one that is fine. */
    assert_true(logfmt_pair(&b, "a", SLICE("\x9b\xe4\xbd|\xc2\x9b|\xc2\xa0")));
    check(&b, " a=\"\\x9b\\xe4\\xbd|\\xc2\\x9b|\xc2\xa0\"");
    assert_true(logfmt_text(&b, SLICE("a=\"b\" c=\\\n\x1b[31m")));
    check(&b, "a=\"b\" c=\\\\x0a\\x1b[31m");
}

static void long_values_are_cut(void **state)
{
    char text[1000];
    struct buf b = {0};

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_true(logfmt_pair(&b, "a", slice_of(text, sizeof(text))));
    assert_int_equal(buf_len(&b), 3 + 256);
    buf_clear(&b);
    text[254] = '\xe4'; /* a sequence of three is not cut in two */
    text[255] = '\xbd';
    text[256] = '\xa0';
    assert_true(logfmt_pair(&b, "a", slice_of(text, sizeof(text))));
    assert_int_equal(buf_len(&b), 3 + 254);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_utc_with_microseconds),
        cmocka_unit_test(plain_values_stand_as_they_are),
        cmocka_unit_test(a_value_never_makes_a_second_line_or_pair),
        cmocka_unit_test(what_is_not_text_is_escaped),
        cmocka_unit_test(long_values_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
