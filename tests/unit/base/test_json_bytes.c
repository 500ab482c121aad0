/* SPDX-License-Identifier: Apache-2.0 */
/* What looks at many bytes at once stops where looking at one after the other does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json_bytes.h"

enum { LEN_MAX = 50 };

typedef const char *(*skip_fn)(const char *p, const char *end);

/* In a block without a byte to spare, all bytes are `fill` but that at `at`. */
static void check(skip_fn walk, char fill, char byte, size_t at, size_t len, size_t wanted)
{
    char *text = malloc(len);
    size_t stopped;

    assert_non_null(text);
    memset(text, fill, len);
    text[at] = byte;
    stopped = (size_t)(walk(text, text + len) - text);
    free(text);
    if (stopped != wanted) {
        fail_msg("byte 0x%02x at %zu of %zu: stopped at %zu", (unsigned)(unsigned char)byte, at,
                 len, stopped);
    }
}

static void check_all(skip_fn wide, skip_fn portable, char fill, bool (*goes_on)(char c))
{
    for (size_t len = 1; len < LEN_MAX; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                size_t wanted = goes_on((char)byte) ? len : at;

                check(wide, fill, (char)byte, at, len, wanted);
                check(portable, fill, (char)byte, at, len, wanted);
            }
        }
    }
    assert_null(wide(NULL, NULL));
    assert_null(portable(NULL, NULL));
}

static bool is_plain(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void plain_bytes(void **state)
{
    (void)state;
    check_all(json_skip_plain, json_skip_plain_portable, 'x', is_plain);
    check_all(json_skip_plain, json_skip_plain_portable, 0x7F, is_plain);
    check_all(json_skip_plain, json_skip_plain_portable, ' ', is_plain);
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(json_byte_is_plain((char)byte), is_plain((char)byte));
    }
}

static void digits(void **state)
{
    (void)state;
    check_all(json_skip_digits, json_skip_digits_portable, '0', is_digit);
    check_all(json_skip_digits, json_skip_digits_portable, '9', is_digit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes),
        cmocka_unit_test(digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
