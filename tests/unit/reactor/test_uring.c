/* SPDX-License-Identifier: Apache-2.0 */
/* What is io_uring's own: queues and buffers that run out, what arrives while nobody wants it,
 * writes that go as a batch, and what a message and a time limit cost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "base/block.h"
#include "fixture.h"
#include "reactor/loop_internal.h"
#include "reactor/uring_internal.h"

enum { PAIRS = 40 };

static struct uring_sys uring;
static unsigned enter_calls;
static unsigned send_calls;
static unsigned accept_calls;
static uint64_t longest_us;
static unsigned limited_calls;

static int counted_enter(struct io_uring *ring, uint64_t timeout_us)
{
    enter_calls++;
    limited_calls += timeout_us > 0 && timeout_us != UINT64_MAX;
    if (timeout_us != UINT64_MAX && timeout_us > longest_us) {
        longest_us = timeout_us;
    }
    return uring_sys_real.enter(ring, timeout_us);
}

static ssize_t counted_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    send_calls++;
    return sendmsg(fd, msg, flags);
}

static int counted_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    accept_calls++;
    return accept4(fd, sa, len, flags);
}

static struct loop_sys sys;

static int setup(void **state)
{
    uring = uring_sys_real;
    uring.enter = counted_enter;
    sys = loop_sys_real;
    sys.uring = &uring;
    sys.sendmsg = counted_sendmsg;
    sys.accept4 = counted_accept4;
    enter_calls = send_calls = accept_calls = 0;
    longest_us = limited_calls = 0;
    return fixture_setup(state);
}

static struct uring_backend *backend(void)
{
    return uring_of(loop->backend);
}

static size_t wanted;

static bool has_wanted(void *end)
{
    return buf_len(&((struct end *)end)->in) >= wanted;
}

static void wait_pattern(struct end *e, size_t n)
{
    wanted = n;
    run_until(has_wanted, e);
    assert_true(pattern_matches(buf_slice(&e->in), n));
}

static void write_pattern(struct sock *s, size_t n)
{
    struct buf b = {0};

    pattern_fill(&b, n);
    assert_true(sock_write_take(s, &b));
    buf_fini(&b);
}

/* --- little of everything -----------------------------------------------------------------------
 */

static void many_exchange(size_t bytes, int family)
{
    struct end a[PAIRS] = {0};
    struct end b[PAIRS] = {0};

    for (size_t i = 0; i < PAIRS; i++) {
        pair_open(&a[i], &b[i], family);
        write_pattern(a[i].sock, bytes);
        sock_shutdown(a[i].sock);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        wait_pattern(&b[i], bytes);
        run_until(end_has_eof, &b[i]);
        assert_string_equal(b[i].told, "de");
        write_pattern(b[i].sock, bytes);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        wait_pattern(&a[i], bytes);
        end_fini(&a[i]);
        end_fini(&b[i]);
    }
}

static int64_t buffers_short(void)
{
    return counter_get(counters_current(), COUNTER_RECEIVE_BUFFERS_SHORT);
}

static void buffers_run_out(void **state)
{
    int64_t before = buffers_short();

    (void)state;
    uring.buffers = 4;
    uring.buffer_bytes = 512;
    fixture_loop_again(&sys);
    many_exchange(10000, AF_INET);
    assert_true(buffers_short() > before);
}

static void buffers_are_lent_as_needed(void **state)
{
    struct end a = {0};
    struct end b = {0};
    unsigned first;

    (void)state;
    fixture_loop_again(&sys);
    first = backend()->lent;
    assert_true(first < uring.buffers / 4);
    pair_open(&a, &b, AF_INET);
    for (size_t i = 1; i <= 5 * (size_t)first; i++) {
        assert_true(sock_write(a.sock, SLICE("x")));
        wanted = i;
        run_until(has_wanted, &b);
    }
    assert_int_equal(backend()->lent, first);
    many_exchange(10000, AF_INET);
    assert_true(backend()->lent > first);
    end_fini(&a);
    end_fini(&b);
}

static void the_submission_queue_is_full(void **state)
{
    (void)state;
    uring.entries = 2;
    fixture_loop_again(&sys);
    many_exchange(100000, AF_UNIX);
}

static void completions_overflow(void **state)
{
    (void)state;
    uring.entries = 2;
    uring.completions = 2;
    uring.buffer_bytes = 256;
    fixture_loop_again(&sys);
    many_exchange(20000, AF_INET);
}

static int old_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    return (params->flags & IORING_SETUP_DEFER_TASKRUN) != 0
               ? -EINVAL
               : io_uring_queue_init_params(entries, ring, params);
}

static void a_kernel_without_deferred_work(void **state)
{
    (void)state;
    uring.setup = old_setup;
    fixture_loop_again(&sys);
    many_exchange(300000, AF_INET);
    many_exchange(300000, AF_UNIX);
}

/* --- what nobody wants yet ----------------------------------------------------------------------
 */

static void what_arrives_while_paused_is_kept(void **state)
{
    static const size_t sizes[] = {10, 3000, 200000};

    (void)state;
    uring.buffers = 8;
    uring.buffer_bytes = 256;
    fixture_loop_again(&sys);
    for (size_t i = 0; i < 3; i++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, AF_UNIX);
        run_turns(2); /* receiving is armed */
        sock_pause(b.sock);
        write_pattern(a.sock, sizes[i]);
        run_turns(5);
        assert_int_equal(b.told_len, 0);
        assert_true(backend()->held_buffers <= 4);
        sock_shutdown(a.sock);
        run_for_ms(2);
        assert_int_equal(buf_len(&b.in), 0);
        sock_resume(b.sock);
        assert_int_equal(buf_len(&b.in), 0);
        wait_pattern(&b, sizes[i]);
        run_until(end_has_eof, &b);
        assert_int_equal(backend()->held_buffers, 0);
        end_fini(&a);
        end_fini(&b);
    }
}

/* Others receive while one that is paused keeps what it got; and what is kept is freed on closing.
 */
static void a_paused_one_leaves_room_for_others(void **state)
{
    struct end a[2] = {0};
    struct end b[2] = {0};

    (void)state;
    uring.buffers = 4;
    uring.buffer_bytes = 256;
    fixture_loop_again(&sys);
    for (size_t i = 0; i < 2; i++) {
        pair_open(&a[i], &b[i], AF_INET);
    }
    run_turns(2);
    sock_pause(b[0].sock);
    write_pattern(a[0].sock, 5000);
    run_for_ms(2);
    write_pattern(a[1].sock, 5000);
    wait_pattern(&b[1], 5000);
    assert_int_equal(b[0].told_len, 0);
    assert_true(backend()->held_buffers > 0);
    end_fini(&b[0]);
    assert_int_equal(backend()->held_buffers, 0);
    end_fini(&a[0]);
    end_fini(&a[1]);
    end_fini(&b[1]);
}

/* A connection that breaks while it is paused says so at once; one that is not is heard first. */
static void a_reset_behind_bytes(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, AF_INET);
        run_turns(2);
        if (paused) {
            sock_pause(b.sock);
        }
        write_pattern(a.sock, 5000);
        run_turns(3);
        sock_close(&a.sock, true);
        run_until(end_is_closed, &b);
        assert_string_equal(b.told, paused ? "x" : "dx");
        assert_int_equal(b.error, ECONNRESET);
        end_fini(&b);
    }
}

static void a_turn_has_a_share_for_each(void **state)
{
    struct end big = {0};
    struct end small = {0};
    struct buf all = {0};
    int from_big[2];
    int from_small[2];
    int room = 4 * 1024 * 1024;
    size_t filled = 0;
    ssize_t n;

    (void)state;
    pair_fds(from_big, AF_UNIX);
    pair_fds(from_small, AF_UNIX);
    assert_int_equal(setsockopt(from_big[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)), 0);
    pattern_fill(&all, 2000000);
    while (filled < 2000000 && (n = send(from_big[0], buf_slice(&all).ptr + filled,
                                         2000000 - filled, MSG_DONTWAIT)) > 0) {
        filled += (size_t)n;
    }
    assert_true(filled > (size_t)3 * SOCK_TURN_BYTES);
    end_adopt(&big, from_big[1]);
    end_adopt(&small, from_small[1]);
    assert_int_equal(write(from_small[0], "me too", 6), 6);
    for (size_t i = 1; buf_len(&big.in) < filled; i++) {
        run_turns(1);
        assert_true(buf_len(&big.in) <= i * SOCK_TURN_BYTES);
        /* At once, but for the turns in which there are not enough buffers yet. */
        assert_int_equal(buf_len(&small.in), i > 4 ? 6 : buf_len(&small.in));
        assert_true(i < 1000);
    }
    assert_true(pattern_matches(buf_slice(&big.in), filled));
    assert_int_equal(close(from_big[0]), 0);
    assert_int_equal(close(from_small[0]), 0);
    buf_fini(&all);
    end_fini(&big);
    end_fini(&small);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_to_all(struct end a[PAIRS], size_t n)
{
    for (size_t i = 0; i < PAIRS; i++) {
        write_pattern(a[i].sock, n);
        assert_true(sock_write(a[i].sock, SLICE("")));
    }
}

static void many_writes_go_as_a_batch(void **state)
{
    struct end a[PAIRS] = {0};
    struct end b[PAIRS] = {0};

    (void)state;
    fixture_loop_again(&sys);
    for (size_t i = 0; i < PAIRS; i++) {
        pair_open(&a[i], &b[i], AF_INET);
    }
    run_turns(2);
    write_to_all(a, 700);
    for (size_t i = 0; i < PAIRS; i++) {
        sock_notify_sent(a[i].sock);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        wait_pattern(&b[i], 700);
        assert_string_equal(a[i].told, "s");
        assert_int_equal(sock_written(a[i].sock), 700);
        buf_consume(&b[i].in, 700);
    }
    assert_int_equal(send_calls, 0);
    write_to_all(a, 3000000); /* and short ones go on */
    for (size_t i = 0; i < PAIRS; i++) {
        sock_shutdown(a[i].sock);
        wait_pattern(&b[i], 3000000);
        run_until(end_has_eof, &b[i]);
        end_fini(&a[i]);
        end_fini(&b[i]);
    }
}

static void a_batch_meets_broken_connections(void **state)
{
    struct end a[PAIRS] = {0};
    int fds[2];

    (void)state;
    fixture_loop_again(&sys);
    for (size_t i = 0; i < PAIRS; i++) {
        pair_fds(fds, AF_UNIX);
        end_adopt(&a[i], fds[0]);
        assert_int_equal(write(fds[1], "last", 4), 4);
        assert_int_equal(close(fds[1]), 0);
    }
    write_to_all(a, 700);
    for (size_t i = 0; i < PAIRS; i++) {
        run_until(end_is_closed, &a[i]);
        assert_int_equal(a[i].error, EPIPE);
        assert_true(slice_eq(buf_slice(&a[i].in), SLICE("last")));
        end_fini(&a[i]);
    }
    assert_int_equal(send_calls, 0);
}

/* What was flushed is on its way though the socket is closed before the turn's end. */
static void closing_behind_a_batched_write(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    fixture_loop_again(&sys);
    pair_open(&a, &b, AF_INET);
    run_turns(2);
    loop->backend->batching = true;
    assert_true(sock_write(a.sock, SLICE("good bye")));
    sock_flush(a.sock);
    loop->backend->batching = false;
    assert_int_equal(send_calls, 0);
    sock_close(&a.sock, false);
    run_until(end_has_eof, &b);
    assert_true(slice_eq(buf_slice(&b.in), SLICE("good bye")));
    end_fini(&b);
}

/* --- accepting ----------------------------------------------------------------------------------
 */

static size_t accepted;

static void on_accepted(void *owner, int fd, const struct addr *peer)
{
    (void)owner;
    (void)peer;
    accepted++;
    assert_int_equal(close(fd), 0);
}

static bool all_accepted(void *count)
{
    return accepted == *(size_t *)count;
}

/* Near the limit the kernel must not take them all by itself. */
static void accepts_one_by_one_near_the_limit(void **state)
{
    struct rlimit before;
    struct rlimit low;
    struct addr at;
    struct listener *l;

    (void)state;
    uring.completions = uring.entries = 8;
    fixture_loop_again(&sys);
    accepted = 0;
    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
    l = listener_new(loop, &at, on_accepted, NULL, NULL);
    assert_non_null(l);
    run_turns(2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (size_t i = 1; i <= 6; i++) {
        const struct addr *to = listener_addr(l);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (const struct sockaddr *)&to->ss, to->len), 0);
        run_until(all_accepted, &i);
        assert_int_equal(close(fd), 0);
        assert_true(i <= 3 ? accept_calls == 0 : accept_calls >= i - 3);
        if (i == 2) {
            low = before;
            low.rlim_cur = (rlim_t)fd + 20; /* the third is still the kernel's */
            assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        } else if (i == 3) {
            run_turns(3);
        }
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    listener_free(&l);
}

/* --- what a message costs -----------------------------------------------------------------------
 */

static void a_message_costs_two_system_calls_and_no_memory(void **state)
{
    struct end a = {.on_told = end_echo};
    struct end b = {.on_told = end_echo};

    (void)state;
    blocks_set_keeping(true);
    fixture_loop_again(&sys);
    pair_open(&a, &b, AF_INET);
    assert_non_null(buf_reserve(&a.in, 4096));
    assert_non_null(buf_reserve(&b.in, 4096));
    assert_true(sock_write(a.sock, SLICE("first message")));
    run_turns(2);
    enter_calls = send_calls = 0;
    alloc_fault_at(0);
    loop_run(loop);
    assert_int_equal(alloc_fault_count(), 0);
    assert_in_range(send_calls, 190, 210);
    assert_in_range(enter_calls, send_calls - 1, send_calls + 1);
    end_fini(&a);
    end_fini(&b);
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static void a_fraction_of_a_millisecond_is_no_whole_one(void **state)
{
    struct timer t;
    uint64_t since;

    (void)state;
    fixture_loop_again(&sys);
    timer_init(&t, stop, NULL);
    since = loop_clock_us(loop);
    timer_arm_us(loop, &t, 900);
    loop_run(loop);
    assert_true(loop_clock_us(loop) - since >= 900);
    assert_in_range(longest_us, 1, 900);
}

/* Many waits with a timer that is far away, which is still armed behind it. */
static void exchange_below(struct timer *far)
{
    struct end a = {.on_told = end_echo};
    struct end b = {.on_told = end_echo};

    fixture_loop_again(&sys);
    pair_open(&a, &b, AF_INET);
    timer_init(far, stop, NULL);
    timer_arm(loop, far, 60000);
    assert_true(sock_write(a.sock, SLICE("first message")));
    loop_run(loop);
    end_fini(&a);
    end_fini(&b);
}

/* The kernel's timer is not set for each wait. */
static void a_long_limit_stands_over_many_waits(void **state)
{
    struct timer far;

    (void)state;
    exchange_below(&far);
    assert_true(enter_calls > ECHO_COUNT);
    assert_int_equal(limited_calls, 0);
    timer_cancel(loop, &far);
}

static void run_to(struct timer *t, uint64_t since_us, uint64_t after_ms)
{
    loop_run(loop);
    assert_false(timer_armed(t));
    assert_true(loop_clock_us(loop) - since_us >= after_ms * 1000);
    assert_true(longest_us < 5000);
}

/* An alarm that is too late is set anew, one that is too early rings for nothing. */
static void timers_are_due_whatever_the_alarm(void **state)
{
    struct timer far;
    struct timer first;
    struct timer second;
    uint64_t since;

    (void)state;
    exchange_below(&far);
    assert_true(backend()->alarm_us > loop_clock_us(loop) + 100000);
    assert_true(backend()->alarm_us != UINT64_MAX);
    timer_init(&first, stop, NULL);
    timer_init(&second, stop, NULL);
    since = loop_clock_us(loop);
    timer_arm(loop, &first, 30);
    run_to(&first, since, 30);
    assert_true(timer_armed(&far));
    since = loop_clock_us(loop);
    timer_arm(loop, &second, 40);
    assert_true(uring_wait_limit(backend(), 20000) == UINT64_MAX);
    run_to(&second, since, 40);
    assert_true(timer_armed(&far));
    timer_cancel(loop, &far);
}

static void closed_with_everything_in_the_kernel(void **state)
{
    struct end a[PAIRS] = {0};
    struct end b[PAIRS] = {0};

    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        pair_open(&a[i], &b[i], i % 2 == 0 ? AF_UNIX : AF_INET);
        sock_pause(b[i].sock);
        write_pattern(a[i].sock, 8000000);
    }
    run_turns(3);
    assert_true(backend()->in_flight >= 2 * (size_t)PAIRS);
    for (size_t i = 0; i < PAIRS; i++) {
        end_fini(&a[i]);
        end_fini(&b[i]);
    }
}

int main(void)
{
#define OWN_TEST(f) URING_TEST_WITH(f, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        OWN_TEST(buffers_run_out),
        OWN_TEST(buffers_are_lent_as_needed),
        OWN_TEST(the_submission_queue_is_full),
        OWN_TEST(completions_overflow),
        OWN_TEST(a_kernel_without_deferred_work),
        OWN_TEST(what_arrives_while_paused_is_kept),
        OWN_TEST(a_paused_one_leaves_room_for_others),
        OWN_TEST(a_reset_behind_bytes),
        OWN_TEST(a_turn_has_a_share_for_each),
        OWN_TEST(many_writes_go_as_a_batch),
        OWN_TEST(a_batch_meets_broken_connections),
        OWN_TEST(closing_behind_a_batched_write),
        OWN_TEST(accepts_one_by_one_near_the_limit),
        OWN_TEST(a_message_costs_two_system_calls_and_no_memory),
        OWN_TEST(a_fraction_of_a_millisecond_is_no_whole_one),
        OWN_TEST(a_long_limit_stands_over_many_waits),
        OWN_TEST(timers_are_due_whatever_the_alarm),
        OWN_TEST(closed_with_everything_in_the_kernel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
