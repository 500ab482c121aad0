/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/buf.h"
#include "json_gen.h"

static void assert_holds(const struct buf *b, const char *wanted)
{
    assert_true(slice_eq(buf_slice(b), slice_str(wanted)));
    assert_int_equal(buf_len(b), strlen(wanted));
}

static void zeroed_is_empty(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_len(&b), 0);
    assert_non_null(buf_slice(&b).ptr);
    assert_false(buf_failed(&b));
    assert_true(buf_append(&b, (struct slice){NULL, 0}));
    assert_true(buf_append_str(&b, "abc"));
    assert_holds(&b, "abc");
    buf_fini(&b);
    assert_int_equal(buf_len(&b), 0);
    buf_fini(&b);
}

static void appends_in_order(void **state)
{
    struct buf b;
    char *at;

    (void)state;
    buf_init(&b, 0);
    assert_true(buf_append(&b, SLICE("ab")));
    assert_true(buf_append_byte(&b, 'c'));
    assert_true(buf_append_str(&b, "de"));
    assert_true(buf_printf(&b, "-%d-%s-", 42, "x"));
    at = buf_reserve(&b, 100);
    assert_non_null(at);
    at[0] = '!';
    buf_commit(&b, 1);
    assert_holds(&b, "abcde-42-x-!");
    assert_true(buf_append(&b, SLICE("\0")));
    assert_int_equal(buf_len(&b), 13);
    buf_fini(&b);
}

static void numbers(void **state)
{
    static const uint64_t values[] = {0,   1,    9,          10,        15,        16,
                                      255, 4096, 1000000007, INT64_MAX, UINT64_MAX};
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char wanted[64];

        (void)snprintf(wanted, sizeof(wanted), "%" PRIu64, values[i]);
        buf_clear(&b);
        assert_true(buf_append_uint(&b, values[i]));
        assert_holds(&b, wanted);
    }
    buf_fini(&b);
}

static void printf_of_any_length(void **state)
{
    char text[1000];
    struct buf b;

    (void)state;
    memset(text, 'x', sizeof(text));
    buf_init(&b, 0);
    for (int len = 0; len < 1000; len += 37) {
        buf_clear(&b);
        assert_true(buf_printf(&b, "%.*s", len, text));
        assert_true(slice_eq(buf_slice(&b), slice_of(text, (size_t)len)));
    }
    buf_fini(&b);
}

static void consumes_at_the_head(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    assert_true(buf_append_str(&b, "abcdef"));
    buf_consume(&b, 2);
    assert_holds(&b, "cdef");
    buf_consume(&b, 0);
    assert_true(buf_append_str(&b, "gh"));
    buf_consume(&b, 6);
    assert_holds(&b, "");
    assert_true(buf_append_str(&b, "i"));
    assert_holds(&b, "i");
    buf_fini(&b);
}

/* Against a plain array that only ever grows. */
static void behaves_as_a_queue(void **state)
{
    static char all[200000];
    struct json_gen g = {.state = 7};
    size_t head = 0;
    size_t tail = 0;
    struct buf b;

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (char)json_gen_pick(&g, 256);
    }
    buf_init(&b, 0);
    for (int i = 0; i < 20000; i++) {
        size_t n = json_gen_pick(&g, 50) == 0 ? json_gen_pick(&g, 2000) : json_gen_pick(&g, 20);

        if (json_gen_pick(&g, 2) == 0) {
            n = n < sizeof(all) - tail ? n : sizeof(all) - tail;
            assert_true(buf_append(&b, slice_of(all + tail, n)));
            tail += n;
        } else {
            n = n < tail - head ? n : tail - head;
            buf_consume(&b, n);
            head += n;
        }
        assert_int_equal(buf_len(&b), tail - head);
        assert_true(slice_eq(buf_slice(&b), slice_of(all + head, tail - head)));
    }
    assert_true(tail > sizeof(all) / 4);
    buf_fini(&b);
}

static void limit_is_kept_and_sticky(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_true(buf_append_str(&b, "12345678"));
    assert_false(buf_append_byte(&b, '9'));
    assert_true(buf_failed(&b));
    assert_holds(&b, "12345678");
    buf_consume(&b, 4);
    assert_null(buf_reserve(&b, 1));
    assert_false(buf_append_str(&b, ""));
    assert_false(buf_printf(&b, "x"));
    assert_holds(&b, "5678");
    buf_clear(&b);
    assert_false(buf_failed(&b));
    assert_true(buf_append_str(&b, "abcd"));
    buf_consume(&b, 2);
    assert_true(buf_append_str(&b, "efghij"));
    assert_holds(&b, "cdefghij");
    assert_null(buf_reserve(&b, SIZE_MAX));
    buf_fini(&b);
}

static void release_keeps_the_limit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 2);
    assert_true(buf_append_str(&b, "ab"));
    buf_release(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(b.cap, 0);
    assert_false(buf_append_str(&b, "abc"));
    buf_fini(&b);
}

static void moves_its_content(void **state)
{
    struct buf from;
    struct buf to;

    (void)state;
    buf_init(&from, 4);
    buf_init(&to, 0);
    assert_true(buf_append_str(&to, "old"));
    assert_true(buf_append_str(&from, "new"));
    buf_move(&to, &from);
    assert_holds(&to, "new");
    assert_holds(&from, "");
    assert_true(buf_append_str(&from, "1234"));
    assert_false(buf_append_str(&from, "5"));
    assert_holds(&to, "new");
    buf_fini(&from);
    buf_fini(&to);
}

static void grow(void *arg)
{
    struct buf b;
    size_t held = 0;

    (void)arg;
    buf_init(&b, 0);
    for (int i = 0; i < 200; i++) {
        bool ok =
            i % 2 == 0 ? buf_append_str(&b, "0123456789") : buf_printf(&b, "%05d%s", i, "01234");

        if (ok) {
            assert_false(buf_failed(&b));
            held += 10;
        } else {
            assert_true(buf_failed(&b));
        }
        assert_int_equal(buf_len(&b), held);
    }
    buf_fini(&b);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(grow, NULL);
}

static void memory_stops_at_a_total_that_is_known(void **state)
{
    static const size_t totals[] = {1, 255, 257, 1000, 100000};
    char piece[100] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        struct buf b = {0};

        while (buf_len(&b) < totals[i]) {
            size_t left = totals[i] - buf_len(&b);

            assert_true(buf_append_of(
                &b, slice_of(piece, left < sizeof(piece) ? left : sizeof(piece)), totals[i]));
            assert_true(b.cap <= totals[i] && b.cap <= 2 * buf_len(&b) + 256);
        }
        assert_int_equal(b.cap, totals[i]);
        assert_true(buf_append_of(&b, slice_of(piece, 1), totals[i])); /* it was not the end */
        assert_int_equal(buf_len(&b), totals[i] + 1);
        buf_fini(&b);
    }
}

/* The limit is on the content: the byte that vsnprintf writes behind it does not count. */
static void printf_fits_exactly(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    assert_true(buf_printf(&b, "%d", 1234));
    assert_false(buf_printf(&b, "5"));
    assert_int_equal(buf_len(&b), 4);
    buf_fini(&b);
}

/* A long queue consumed in small steps moves its content once per length, not once per append. */
static void small_steps_do_not_move_all_each_time(void **state)
{
    struct buf b = {0};
    const char *at;
    size_t moves = 0;
    char block[4096] = {0};

    (void)state;
    assert_true(buf_append(&b, slice_of(block, sizeof(block))));
    at = buf_slice(&b).ptr;
    for (size_t i = 0; i < 4 * sizeof(block); i++) {
        buf_consume(&b, 1);
        assert_true(buf_append_byte(&b, 'x'));
        moves += buf_slice(&b).ptr != at + 1;
        at = buf_slice(&b).ptr;
    }
    assert_in_range(moves, 1, 8);
    assert_int_equal(buf_len(&b), sizeof(block));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stops_at_a_total_that_is_known),
        cmocka_unit_test(printf_fits_exactly),
        cmocka_unit_test(small_steps_do_not_move_all_each_time),
        cmocka_unit_test(zeroed_is_empty),
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(numbers),
        cmocka_unit_test(printf_of_any_length),
        cmocka_unit_test(consumes_at_the_head),
        cmocka_unit_test(behaves_as_a_queue),
        cmocka_unit_test(limit_is_kept_and_sticky),
        cmocka_unit_test(release_keeps_the_limit),
        cmocka_unit_test(moves_its_content),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
