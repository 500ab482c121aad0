/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/keys.h"

static char name_a[] = "a";
static char name_b[] = "b";
static char key_a[] = "secret-a";
static char key_b[] = "secret-bb";
static struct config_key keys[] = {{.name = name_a, .key = key_a}, {.name = name_b, .key = key_b}};
static const struct config config = {.keys = keys, .key_count = 2};

static void only_the_whole_key_matches(void **state)
{
    (void)state;
    assert_ptr_equal(keys_match(&config, SLICE("secret-a")), &keys[0]);
    assert_ptr_equal(keys_match(&config, SLICE("secret-bb")), &keys[1]);
    assert_null(keys_match(&config, SLICE("")));
    assert_null(keys_match(&config, SLICE("secret-")));
    assert_null(keys_match(&config, SLICE("secret-b")));
    assert_null(keys_match(&config, SLICE("secret-aa")));
    assert_null(keys_match(&config, SLICE("secret-a\0")));
    assert_null(keys_match(&config, SLICE("Secret-a")));
}

static void bearer_is_taken_out(void **state)
{
    struct slice key = keys_bearer(SLICE("Bearer x y "));

    (void)state;
    assert_int_equal(key.len, 3);
    assert_memory_equal(key.ptr, "x y", 3);
    assert_int_equal(keys_bearer(SLICE("bearer  k")).len, 1);
    assert_int_equal(keys_bearer(SLICE("Basic eDp5")).len, 0);
    assert_int_equal(keys_bearer(SLICE("Bearer")).len, 0);
    assert_int_equal(keys_bearer(SLICE("")).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_whole_key_matches),
        cmocka_unit_test(bearer_is_taken_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
