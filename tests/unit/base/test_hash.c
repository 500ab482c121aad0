/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

/* The reference's first numbers from seed 0 (Steele, Lea and Flood). */
static void it_is_splitmix64(void **state)
{
    (void)state;
    assert_true(hash_number(0, 0) == 0xE220A8397B1DCDAFU);
    assert_true(hash_number(0x9E3779B97F4A7C15U, 0) == 0x6E789E6AA1B965F4U);
}

static void every_byte_counts(void **state)
{
    char text[20] = {0};

    (void)state;
    for (size_t len = 0; len <= sizeof(text); len++) {
        uint64_t plain = hash_bytes(7, slice_of(text, len));

        assert_true(plain == hash_bytes(7, slice_of(text, len)));
        assert_true(plain != hash_bytes(8, slice_of(text, len)));
        assert_true(len == 0 || plain != hash_bytes(7, slice_of(text, len - 1)));
        for (size_t i = 0; i < len; i++) {
            text[i] = 1;
            assert_true(plain != hash_bytes(7, slice_of(text, len)));
            text[i] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_splitmix64),
        cmocka_unit_test(every_byte_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
