/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/block.h"

static int keep(void **state)
{
    (void)state;
    blocks_set_keeping(true);
    return 0;
}

static int release(void **state)
{
    (void)state;
    blocks_release();
    assert_int_equal(blocks_kept(), 0);
    return 0;
}

static void rooms(void **state)
{
    (void)state;
    assert_int_equal(block_room(0), 64);
    assert_int_equal(block_room(1), 64);
    assert_int_equal(block_room(64), 64);
    assert_int_equal(block_room(65), 128);
    assert_int_equal(block_room(128), 128);
    assert_int_equal(block_room(8193), 16384);
    assert_int_equal(block_room(16384), 16384);
    assert_int_equal(block_room(16385), 16385);
}

/* Every byte of every block is one's own, whatever its size. */
static void blocks_do_not_overlap(void **state)
{
    unsigned char *ptr[200];
    size_t size[200];
    uint32_t seed = 5;

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 200; i++) {
            seed = seed * 1664525 + 1013904223;
            size[i] = (seed >> 8) % 20000;
            ptr[i] = block_get(size[i]);
            assert_non_null(ptr[i]);
            memset(ptr[i], (int)i, block_room(size[i]));
        }
        for (size_t i = 0; i < 200; i++) {
            for (size_t at = 0; at < block_room(size[i]); at++) {
                assert_int_equal(ptr[i][at], (unsigned char)i);
            }
            block_put(ptr[i], i % 2 == 0 ? size[i] : block_room(size[i]));
        }
    }
}

static void what_is_kept_is_used_again(void **state)
{
    char *a = block_get(100);
    char *b;

    (void)state;
    memset(a, 'x', 100);
    block_put(a, 100);
    assert_int_equal(blocks_kept(), 128);
    alloc_fault_at(0);
    b = block_get_zeroed(90);
    assert_ptr_equal(a, b);
    assert_int_equal(b[0], 0);
    assert_int_equal(b[89], 0);
    assert_int_equal(alloc_fault_count(), 0);
    assert_int_equal(blocks_kept(), 0);
    block_put(b, 90);
    block_put(NULL, 90);
    assert_int_equal(blocks_kept(), 128);
}

static void keeping_is_bounded(void **state)
{
    static void *ptr[200];

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        ptr[i] = block_get(16384);
    }
    for (size_t i = 0; i < 200; i++) {
        block_put(ptr[i], 16384);
    }
    assert_int_equal(blocks_kept(), BLOCK_CLASS_KEPT_BYTES);
    block_put(block_get(16385), 16385);
    assert_int_equal(blocks_kept(), BLOCK_CLASS_KEPT_BYTES);
}

/* What was in use at some time since the last trim stays. */
static void trims_what_was_not_used(void **state)
{
    void *ptr[4];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        ptr[i] = block_get(64);
    }
    for (size_t i = 0; i < 4; i++) {
        block_put(ptr[i], 64);
    }
    blocks_trim();
    assert_int_equal(blocks_kept(), 4 * 64);
    ptr[0] = block_get(64);
    block_put(ptr[0], 64);
    blocks_trim();
    assert_int_equal(blocks_kept(), 64);
    blocks_trim();
    assert_int_equal(blocks_kept(), 0);
}

static void fails_without_memory(void **state)
{
    (void)state;
    alloc_fault_at(1);
    assert_null(block_get(10));
    alloc_fault_at(1);
    assert_null(block_get_zeroed(100000));
    alloc_fault_at(0);
}

static void keeps_nothing_when_told(void **state)
{
    (void)state;
    blocks_set_keeping(false);
    block_put(block_get(64), 64);
    assert_int_equal(blocks_kept(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rooms, keep, release),
        cmocka_unit_test_setup_teardown(blocks_do_not_overlap, keep, release),
        cmocka_unit_test_setup_teardown(what_is_kept_is_used_again, keep, release),
        cmocka_unit_test_setup_teardown(keeping_is_bounded, keep, release),
        cmocka_unit_test_setup_teardown(trims_what_was_not_used, keep, release),
        cmocka_unit_test_setup_teardown(fails_without_memory, keep, release),
        cmocka_unit_test_setup_teardown(keeps_nothing_when_told, keep, release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
