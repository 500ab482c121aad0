/* SPDX-License-Identifier: Apache-2.0 */
/* Output that stays where it was received until it is written. */
#include "reactor/lease.h"

#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"
#include "base/block.h"
#include "fixture.h"
#include "reactor/outq.h"
#include "reactor/sock_internal.h"

/* --- the queue --- */

/* Received bytes in memory of their own, freed when the lease is over. */
struct memory {
    struct lease lease; /* the first */
    struct leased in;
    char bytes[];
};

static unsigned over;

static void free_memory(struct lease *l)
{
    over++;
    free(l);
}

static struct memory *receive(struct slice bytes)
{
    struct memory *m = malloc(sizeof(*m) + bytes.len);

    assert_non_null(m);
    m->lease = (struct lease){.over = free_memory};
    memcpy(m->bytes, bytes.ptr, bytes.len);
    m->in = (struct leased){slice_of(m->bytes, bytes.len), &m->lease};
    lease_take(&m->lease);
    return m;
}

static struct slice piece(const struct memory *m, size_t from, size_t len)
{
    return slice_of(m->bytes + from, len);
}

static void assert_queued(const struct outq *q, int entries, struct slice expected)
{
    struct iovec iov[64];
    size_t total;
    size_t at = 0;

    assert_int_equal(outq_iov(q, iov, 64, &total), entries);
    assert_int_equal(total, expected.len);
    for (int i = 0; i < entries; i++) {
        assert_memory_equal(iov[i].iov_base, expected.ptr + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
}

static void what_is_framed_as_it_came_is_one_entry(void **state)
{
    struct memory *m = receive(SLICE("..3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"));
    const struct slice first[] = {SLICE("3\r\n"), piece(m, 5, 3), SLICE("\r\n")};
    const struct slice second[] = {SLICE("4\r\n"), piece(m, 13, 4), SLICE("\r\n")};
    const struct slice end = SLICE("0\r\n\r\n");
    struct iovec iov[2];
    struct outq q = {0};
    size_t total;

    (void)state;
    over = 0;
    assert_true(outq_append_leased(&q, first, 3, &m->in));
    assert_true(outq_append_leased(&q, second, 3, &m->in));
    assert_true(outq_append_leased(&q, &end, 1, &m->in));
    assert_queued(&q, 1, SLICE("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"));
    assert_int_equal(outq_iov(&q, iov, 2, &total), 1);
    assert_ptr_equal(iov[0].iov_base, m->bytes + 2);
    lease_give(&m->lease);
    outq_consume(&q, 5);
    assert_queued(&q, 1, SLICE("c\r\n4\r\ndefg\r\n0\r\n\r\n"));
    assert_int_equal(over, 0);
    outq_clear(&q);
    assert_int_equal(over, 1);
}

/* A few bytes are not worth an entry of their own. */
static void what_is_framed_anew_is_copied(void **state)
{
    struct memory *m = receive(SLICE("4\r\nabcd\r\n3\r\nefg"));
    const struct slice pieces[] = {SLICE("03\r\n"), piece(m, 3, 3), SLICE("\r\n")};
    const struct slice last[] = {SLICE("3\r\n"), piece(m, 12, 3), SLICE("\r\n")};
    struct outq q = {0};

    (void)state;
    over = 0;
    assert_true(outq_append_leased(&q, pieces, 3, &m->in));
    assert_queued(&q, 1, SLICE("03\r\nabc\r\n"));
    assert_int_equal(q.leased, 0);
    /* Its end has not come yet. */
    assert_true(outq_append_leased(&q, last, 3, &m->in));
    assert_queued(&q, 3, SLICE("03\r\nabc\r\n3\r\nefg\r\n"));
    assert_int_equal(q.leased, 1);
    assert_true(outq_append(&q, SLICE("more")));
    assert_queued(&q, 3, SLICE("03\r\nabc\r\n3\r\nefg\r\nmore"));
    outq_clear(&q);
    lease_give(&m->lease);
    assert_int_equal(over, 1);
}

/* Framing that would stand outside of what was received is not looked for. */
static void only_what_was_received_is_looked_at(void **state)
{
    struct memory *m = receive(SLICE("abcdefgh"));
    const struct leased in = {piece(m, 2, 4), &m->lease};
    const struct slice before[] = {SLICE("ab"), piece(m, 2, 4), SLICE("gh")};
    const struct slice inside[] = {SLICE("c"), piece(m, 3, 3), SLICE("g")};
    struct outq q = {0};

    (void)state;
    over = 0;
    assert_true(outq_append_leased(&q, before, 3, &in));
    assert_int_equal(q.leased, 0);
    assert_true(outq_append_leased(&q, inside, 3, &in));
    assert_queued(&q, 3, SLICE("abcdefghcdefg"));
    outq_clear(&q);
    lease_give(&m->lease);
    assert_int_equal(over, 1);
}

static void a_large_piece_is_referred_to(void **state)
{
    struct buf big = {0};
    struct memory *m;
    struct slice pieces[2];
    struct iovec iov[2];
    struct outq q = {0};
    size_t total;

    (void)state;
    over = 0;
    pattern_fill(&big, OUTQ_LEASE_BYTES);
    m = receive(buf_slice(&big));
    pieces[0] = SLICE("head");
    pieces[1] = m->in.bytes;
    assert_true(outq_append_leased(&q, pieces, 2, &m->in));
    assert_int_equal(outq_iov(&q, iov, 2, &total), 2);
    assert_ptr_equal(iov[1].iov_base, m->bytes);
    lease_give(&m->lease);
    /* Owned, it may be received into again. */
    assert_int_equal(over, 0);
    assert_true(outq_own(&q));
    assert_int_equal(over, 1);
    outq_consume(&q, 4);
    assert_queued(&q, 1, buf_slice(&big));
    outq_clear(&q);
    buf_fini(&big);
}

static void random_operations_against_a_model(void **state)
{
    uint32_t seed = 4711;
    struct outq q = {0};
    struct buf model = {0};

    (void)state;
    for (int i = 0; i < 4000; i++) {
        char text[700];
        struct memory *m;
        size_t at = 0;

        /* Few letters, so that bytes often go on by chance. */
        for (size_t k = 0; k < sizeof(text); k++) {
            seed = seed * 1664525 + 1013904223;
            text[k] = "ab"[seed >> 31];
        }
        m = receive(slice_of(text, sizeof(text)));
        while (at < sizeof(text)) {
            struct slice pieces[3] = {SLICE("a"), SLICE(""), SLICE("ba")};
            size_t n;

            seed = seed * 1664525 + 1013904223;
            n = (seed >> 8) % (seed % 5 == 0 ? sizeof(text) : 9);
            n = n < sizeof(text) - at ? n : sizeof(text) - at;
            pieces[1] = piece(m, at, n);
            at += n + (seed >> 4) % 4;
            at = at < sizeof(text) ? at : sizeof(text);
            assert_true(outq_append_leased(&q, pieces, 3, &m->in));
            for (size_t k = 0; k < 3; k++) {
                assert_true(buf_append(&model, pieces[k]));
            }
            if (seed % 7 == 0) {
                n = (seed >> 6) % (q.len + 1);
                outq_consume(&q, n);
                buf_consume(&model, n);
            }
        }
        lease_give(&m->lease);
        if (seed % 3 == 0) {
            assert_true(outq_own(&q));
        }
        while (q.len > 1000) {
            struct iovec iov[3];
            size_t total;
            int count = outq_iov(&q, iov, 3, &total);

            for (int k = 0; k < count; k++) {
                assert_memory_equal(iov[k].iov_base, buf_slice(&model).ptr, iov[k].iov_len);
                buf_consume(&model, iov[k].iov_len);
            }
            outq_consume(&q, total);
        }
        assert_int_equal(q.len, buf_len(&model));
    }
    outq_clear(&q);
    assert_int_equal(q.leased, 0);
    buf_fini(&model);
}

static void queue_and_own(void *arg)
{
    const struct slice pieces[] = {SLICE("3\r\n"), SLICE("abc"), SLICE("\r\n")};
    struct memory *m = arg;
    const struct slice framed[] = {SLICE("3\r\n"), piece(m, 3, 3), SLICE("\r\n")};
    struct outq q = {0};

    /* What fails leaves no reference behind. */
    (void)(outq_append_leased(&q, framed, 3, &m->in) && outq_append_leased(&q, pieces, 3, &m->in) &&
           outq_own(&q));
    outq_clear(&q);
    assert_int_equal(m->lease.refs, 1);
    blocks_release();
}

static void no_memory(void **state)
{
    struct memory *m = receive(SLICE("3\r\nabc\r\n"));

    (void)state;
    alloc_fault_each(queue_and_own, m);
    lease_give(&m->lease);
}

/* --- sockets: what arrives at one is written to another --- */

static struct end from;
static struct end relay;
static struct end to;
static struct end far;
static struct buf sent; /* to `to` */
static uint32_t cuts;
static size_t arrived;

static void on_relayed(void *owner, struct slice in)
{
    (void)owner;
    arrived += in.len;
    while (in.len > 0) {
        struct slice pieces[2];
        size_t n;

        cuts = cuts * 1664525 + 1013904223;
        n = (cuts >> 8) % (cuts % 9 == 0 ? 3000 : 200) + 1;
        pieces[0] = slice_first(in, n < in.len ? n : in.len);
        pieces[1] = cuts % 3 == 0 ? SLICE("framing") : SLICE("");
        in = slice_skip(in, pieces[0].len);
        assert_true(buf_append(&sent, pieces[0]) && buf_append(&sent, pieces[1]));
        assert_true(to.sock == NULL || sock_writev(to.sock, pieces, 2));
    }
}

static bool all_arrived(void *bytes)
{
    return arrived == *(size_t *)bytes && buf_len(&far.in) == buf_len(&sent);
}

static bool all_relayed(void *bytes)
{
    return arrived == *(size_t *)bytes;
}

static struct sock_ops relay_ops;

static int setup(void **state)
{
    int rv = fixture_setup(state);

    if (rv == 0 && loop != NULL) {
        from = relay = to = far = (struct end){0};
        sent = (struct buf){0};
        cuts = 5;
        arrived = 0;
        relay_ops = end_ops;
        relay_ops.data = on_relayed;
    }
    return rv;
}

static void open_pairs(void)
{
    pair_open(&from, &relay, AF_INET);
    pair_open(&to, &far, AF_INET);
    relay.sock->ops = &relay_ops;
}

static void close_pairs(void)
{
    end_fini(&from);
    end_fini(&relay);
    end_fini(&to);
    end_fini(&far);
    buf_fini(&sent);
}

/* The reader stands still for a while, so that writes come back short. */
static void what_is_relayed_arrives_unchanged(void **state)
{
    size_t bytes = 0;

    (void)state;
    open_pairs();
    for (int i = 0; i < 40; i++) {
        struct buf data = {0};

        if (i == 8) {
            sock_pause(far.sock);
        } else if (i == 30) {
            run_until(all_relayed, &bytes);
            sock_resume(far.sock);
        }
        pattern_fill(&data, i % 5 == 0 ? 200000 : 3000);
        bytes += buf_len(&data);
        assert_true(sock_write(from.sock, buf_slice(&data)));
        run_turns(2);
        buf_fini(&data);
    }
    run_until(all_arrived, &bytes);
    assert_true(slice_eq(buf_slice(&far.in), buf_slice(&sent)));
    close_pairs();
}

/* One that is closed meanwhile takes nothing with it. */
static void ends_close_while_they_relay(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct buf data = {0};

        from = relay = to = far = (struct end){0};
        open_pairs();
        pattern_fill(&data, 50000);
        assert_true(sock_write(from.sock, buf_slice(&data)));
        run_until(all_relayed, &(size_t){50000});
        if (i % 3 == 0) {
            sock_close(&relay.sock, false);
        } else if (i % 3 == 1) {
            sock_close(&to.sock, i % 2 == 0);
        } else {
            sock_close_gently(&to.sock);
        }
        assert_true(sock_write(from.sock, buf_slice(&data)));
        run_turns(3);
        buf_fini(&data);
        close_pairs();
        sent = (struct buf){0};
        arrived = 0;
    }
}

static uintptr_t read_from;
static uintptr_t read_to;
static bool was_copied;
static size_t entries;

static void on_chunk(void *owner, struct slice in)
{
    struct slice pieces[] = {SLICE("5\r\n"), SLICE("hello"), SLICE("\r\n")};

    (void)owner;
    arrived += in.len;
    read_from = (uintptr_t)in.ptr;
    read_to = read_from + in.len;
    for (; in.len > 0; in = slice_skip(in, 10)) {
        pieces[1] = slice_first(slice_skip(in, 3), 5);
        assert_true(sock_writev(to.sock, pieces, 3));
    }
}

static ssize_t look_at_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    for (size_t i = 0; fd == sock_fd(to.sock) && i < msg->msg_iovlen; i++) {
        uintptr_t at = (uintptr_t)msg->msg_iov[i].iov_base;

        was_copied = was_copied || at < read_from || at + msg->msg_iov[i].iov_len > read_to;
        entries++;
    }
    return sendmsg(fd, msg, flags);
}

static bool far_has(void *bytes)
{
    return buf_len(&far.in) == *(size_t *)bytes;
}

/* Parts that pass as they came leave from where they were received, in one piece. */
static void chunks_leave_from_where_they_were_received(void **state)
{
    struct loop_sys sys = loop_sys_real;
    struct buf data = {0};

    (void)state;
    sys.sendmsg = look_at_sendmsg;
    fixture_loop_again(&sys);
    open_pairs();
    relay_ops.data = on_chunk;
    for (int i = 0; i < 20; i++) {
        assert_true(buf_append(&data, SLICE("5\r\nhello\r\n")));
    }
    was_copied = false;
    entries = 0;
    assert_true(sock_write(from.sock, buf_slice(&data)));
    run_until(far_has, &(size_t){200});
    assert_true(slice_eq(buf_slice(&far.in), buf_slice(&data)));
    assert_false(was_copied);
    assert_int_equal(entries, 1);
    buf_fini(&data);
    close_pairs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_framed_as_it_came_is_one_entry),
        cmocka_unit_test(what_is_framed_anew_is_copied),
        cmocka_unit_test(only_what_was_received_is_looked_at),
        cmocka_unit_test(a_large_piece_is_referred_to),
        cmocka_unit_test(random_operations_against_a_model),
        cmocka_unit_test(no_memory),
        REACTOR_TEST_WITH(what_is_relayed_arrives_unchanged, setup, fixture_teardown),
        REACTOR_TEST_WITH(ends_close_while_they_relay, setup, fixture_teardown),
        KERNEL_TEST_WITH(chunks_leave_from_where_they_were_received, setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
