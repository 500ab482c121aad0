/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/siphash.h"

/* Of the authors' reference: key 00 01 .. 0f, and the first bytes of 00 01 02 .. */
static void it_is_what_its_authors_say(void **state)
{
    static const struct siphash_key key = {UINT64_C(0x0706050403020100),
                                           UINT64_C(0x0f0e0d0c0b0a0908)};
    static const struct {
        size_t len;
        uint64_t hash;
    } known[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {2, UINT64_C(0x0d6c8009d9a94f5a)},  {7, UINT64_C(0xab0200f58b01d137)},
        {8, UINT64_C(0x93f5f5799a932462)},  {15, UINT64_C(0xa129ca6149be45e5)},
        {16, UINT64_C(0x3f2acc7f57c29bdb)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    char bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)i;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_true(siphash(&key, slice_of(bytes, known[i].len)) == known[i].hash);
    }
}

static void another_key_is_another_hash(void **state)
{
    static const struct siphash_key one = {1, 0}, two = {0, 1};

    (void)state;
    assert_true(siphash(&one, SLICE("text")) != siphash(&two, SLICE("text")));
    assert_true(siphash(&one, SLICE("text")) == siphash(&one, SLICE("text")));
    assert_true(siphash(&one, SLICE("text")) != siphash(&one, SLICE("texs")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_its_authors_say),
        cmocka_unit_test(another_key_is_another_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
