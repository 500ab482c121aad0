/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_fault.h"
#include "base/block.h"
#include "fixture.h"
#include "reactor/outq.h"

static struct outq q;
static struct buf model;

static int setup(void **state)
{
    (void)state;
    blocks_set_keeping(true);
    q = (struct outq){0};
    model = (struct buf){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outq_clear(&q);
    assert_int_equal(q.len, 0);
    blocks_release();
    buf_fini(&model);
    return 0;
}

/* The queue holds what the model holds, seen through a vector of at most `max` entries. */
static void assert_head(int max)
{
    struct iovec iov[16];
    size_t total;
    size_t at = 0;
    int count = outq_iov(&q, iov, max, &total);

    assert_int_equal(q.len, buf_len(&model));
    assert_true(count <= max);
    for (int i = 0; i < count; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_true(at + iov[i].iov_len <= q.len);
        assert_memory_equal(iov[i].iov_base, model.data + model.head + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, total);
    assert_true(count == max || total == q.len);
}

static void random_operations_against_a_model(void **state)
{
    uint32_t seed = 99;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct buf part = {0};
        size_t n;

        seed = seed * 1664525 + 1013904223;
        n = (seed >> 8) % (seed % 7 == 0 ? 60000 : 600);
        if ((seed >> 4) % 3 != 0 && q.len < 300000) {
            pattern_fill(&part, n);
            assert_true(buf_append(&model, buf_slice(&part)));
            if ((seed >> 5) % 2 == 0) {
                assert_true(outq_append(&q, buf_slice(&part)));
            } else {
                assert_true(outq_append_take(&q, &part));
                assert_int_equal(buf_len(&part), 0);
            }
            buf_fini(&part);
        } else {
            n = n * 9 > q.len ? q.len : n * 9;
            outq_consume(&q, n);
            buf_consume(&model, n);
        }
        assert_head(1 + (int)((seed >> 20) % 16));
    }
}

static void small_appends_share_a_chunk(void **state)
{
    struct iovec iov[16];
    size_t total;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(outq_append(&q, SLICE("a small part")));
    }
    assert_int_equal(outq_iov(&q, iov, 16, &total), 2); /* a little block, then a large one */
    assert_int_equal(total, 1200);
}

static void warm_small_appends_allocate_nothing(void **state)
{
    (void)state;
    assert_true(outq_append(&q, SLICE("warm up")));
    outq_consume(&q, q.len);
    alloc_fault_at(0);
    for (int i = 0; i < 1000; i++) {
        assert_true(outq_append(&q, SLICE("a part")));
        assert_true(outq_append(&q, SLICE("another part")));
        outq_consume(&q, q.len);
    }
    assert_int_equal(alloc_fault_count(), 0);
}

static void large_buffers_are_not_copied(void **state)
{
    struct iovec iov[2];
    struct buf big = {0};
    size_t total;
    const char *data;

    (void)state;
    pattern_fill(&big, 100000);
    buf_consume(&big, 10);
    data = big.data;
    assert_true(outq_append_take(&q, &big));
    assert_null(big.data);
    assert_int_equal(outq_iov(&q, iov, 2, &total), 1);
    assert_ptr_equal(iov[0].iov_base, data + 10);
    assert_int_equal(total, 99990);
    /* Nothing is appended to a buffer that was taken. */
    assert_true(outq_append(&q, SLICE("behind")));
    assert_int_equal(outq_iov(&q, iov, 2, &total), 2);
}

/* Bytes being sent stay where they are while more is queued. */
static void queued_bytes_do_not_move(void **state)
{
    struct iovec before[1];
    struct iovec after[1];
    size_t total;

    (void)state;
    assert_true(outq_append(&q, SLICE("in flight")));
    assert_int_equal(outq_iov(&q, before, 1, &total), 1);
    for (int i = 0; i < 5000; i++) {
        assert_true(outq_append(&q, SLICE("more and more")));
    }
    assert_int_equal(outq_iov(&q, after, 1, &total), 1);
    assert_ptr_equal(before[0].iov_base, after[0].iov_base);
}

static void no_memory(void **state)
{
    struct buf big = {0};

    (void)state;
    alloc_fault_at(1);
    assert_false(outq_append(&q, SLICE("x")));
    assert_int_equal(q.len, 0);
    pattern_fill(&big, 100000);
    alloc_fault_at(1);
    assert_false(outq_append_take(&q, &big));
    assert_int_equal(buf_len(&big), 0);
    assert_int_equal(q.len, 0);
    alloc_fault_at(0);
}

int main(void)
{
#define OUTQ_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        OUTQ_TEST(random_operations_against_a_model),
        OUTQ_TEST(small_appends_share_a_chunk),
        OUTQ_TEST(warm_small_appends_allocate_nothing),
        OUTQ_TEST(large_buffers_are_not_copied),
        OUTQ_TEST(queued_bytes_do_not_move),
        OUTQ_TEST(no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
