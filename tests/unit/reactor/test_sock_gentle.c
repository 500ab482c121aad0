/* SPDX-License-Identifier: Apache-2.0 */
/* Time limits are tested by moving the loop's clock, not by waiting. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "reactor/loop_internal.h"

static uint64_t ahead_us;
static const struct backend_ops *unmoved;

static uint64_t moved_clock_us(struct backend *b)
{
    return unmoved->clock_us(b) + ahead_us;
}

static void make_clock_movable(void)
{
    static struct backend_ops movable;

    if (loop->backend->ops != &movable) {
        unmoved = loop->backend->ops;
    }
    ahead_us = 0;
    movable = *unmoved;
    movable.clock_us = moved_clock_us;
    loop->backend->ops = &movable;
}

/* In steps of less than what anybody checks by. */
static void move_clock_ms(unsigned ms)
{
    for (unsigned moved = 0; moved < ms; moved += 100) {
        ahead_us += 100 * 1000;
        run_turns(2);
    }
}

static int64_t cut_count(void)
{
    return counter_get(counters_current(), COUNTER_GENTLE_CLOSE_CUT);
}

static int64_t cut_before;

static int setup(void **state)
{
    int rv = fixture_setup(state);

    cut_before = cut_count();
    return rv;
}

static void fill(struct sock *s, size_t n)
{
    struct buf b = {0};

    pattern_fill(&b, n);
    assert_true(sock_write_take(s, &b));
    buf_fini(&b);
}

static void assert_told_but(const struct end *e, char left_out, const char *expected)
{
    char rest[sizeof(e->told)];
    size_t len = 0;

    for (size_t i = 0; i < e->told_len; i++) {
        if (e->told[i] != left_out) {
            rest[len++] = e->told[i];
        }
    }
    rest[len] = '\0';
    assert_string_equal(rest, expected);
}

/* A client is still uploading when it is refused: plainly closing over its unread bytes would reset
 * the connection and could destroy the answer on its way. */
static void the_last_message_reaches_a_peer_still_sending(void **state)
{
    struct end client = {0};
    struct end server = {0};

    (void)state;
    pair_open(&client, &server, AF_INET);
    sock_pause(client.sock);
    sock_pause(server.sock);
    fill(client.sock, 8 * 1024 * 1024);
    run_turns(3);
    assert_true(sock_unsent(client.sock) > 0);
    assert_true(sock_write(server.sock, SLICE("413 too large")));
    sock_close_gently(&server.sock);
    assert_null(server.sock);
    assert_int_equal(loop_gentle_count(loop), 1);
    /* The client reads only after it has sent everything. */
    sock_shutdown(client.sock);
    sock_notify_sent(client.sock);
    run_until(gentle_is_done, NULL);
    assert_told_but(&client, 'h', "ls"); /* the peer's end is heard of before, between or after */
    sock_resume(client.sock);
    run_until(end_has_eof, &client);
    assert_true(slice_eq(buf_slice(&client.in), SLICE("413 too large")));
    assert_false(end_was_told(&client, 'x'));
    assert_int_equal(cut_count(), cut_before);
    end_fini(&client);
    end_fini(&server);
}

static void with_the_fin_already_read(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_INET);
    sock_shutdown(a.sock);
    run_until(end_has_eof, &b);
    fill(b.sock, 3000000);
    sock_close_gently(&b.sock);
    run_until(end_has_eof, &a);
    assert_true(pattern_matches(buf_slice(&a.in), 3000000));
    assert_int_equal(loop_gentle_count(loop), 0);
    end_fini(&a);
    end_fini(&b);
}

/* Nothing is left to wait for where the kernel takes what there is. */
static void behind_the_fin_it_is_closed_at_once(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 300; n += 300) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, AF_INET);
        sock_shutdown(a.sock);
        run_until(end_has_eof, &b);
        fill(b.sock, n);
        sock_close_gently(&b.sock);
        assert_int_equal(loop_gentle_count(loop), 0);
        run_until(end_has_eof, &a);
        assert_true(pattern_matches(buf_slice(&a.in), n));
        end_fini(&a);
        end_fini(&b);
    }
}

static void nothing_queued_and_paused(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_pause(b.sock);
    assert_true(sock_write(a.sock, SLICE("unread")));
    run_turns(2);
    sock_close_gently(&b.sock);
    run_until(end_has_eof, &a);
    assert_int_equal(loop_gentle_count(loop), 1); /* waits for our FIN */
    end_fini(&a);
    run_until(gentle_is_done, NULL);
    assert_int_equal(cut_count(), cut_before);
    end_fini(&b);
}

static void pause_after_1_mb(struct end *e, char what)
{
    if (what == 'd' && buf_len(&e->in) >= 1000000) {
        sock_pause(e->sock);
    }
}

static void a_peer_that_does_not_read_is_cut_after_2_s(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct end a = {.on_told = pause_after_1_mb};
        struct end b = {0};

        make_clock_movable();
        cut_before = cut_count();
        pair_open(&a, &b, tcp ? AF_INET : AF_UNIX);
        sock_pause(a.sock);
        fill(b.sock, 16000000);
        sock_close_gently(&b.sock);
        run_turns(3);
        move_clock_ms(1900);
        assert_int_equal(loop_gentle_count(loop), 1);
        /* Some progress, and it has 2 s more. */
        sock_resume(a.sock);
        run_turns(30);
        assert_in_range(buf_len(&a.in), 1000000, 15000000);
        move_clock_ms(1900);
        assert_int_equal(loop_gentle_count(loop), 1);
        /* TCP goes on filling the peer's receive buffer for a while, in real time. */
        for (int i = 0; i < 100 && loop_gentle_count(loop) > 0; i++) {
            move_clock_ms(1000);
        }
        assert_int_equal(loop_gentle_count(loop), 0);
        assert_int_equal(cut_count(), cut_before + 1);
        end_fini(&a);
        end_fini(&b);
    }
}

static void one_that_is_owed_an_answer_may_stand_still_longer(void **state)
{
    struct end a = {.on_told = pause_after_1_mb};
    struct end b = {0};

    (void)state;
    make_clock_movable();
    cut_before = cut_count();
    pair_open(&a, &b, AF_INET);
    sock_pause(a.sock);
    fill(b.sock, 16000000);
    sock_set_patience(b.sock, 60000);
    sock_close_gently(&b.sock);
    run_turns(3);
    for (int i = 0; i < 59; i++) {
        move_clock_ms(1000);
    }
    assert_int_equal(loop_gentle_count(loop), 1);
    /* The kernel may have filled the peer's receive buffer meanwhile, which counts as taken. */
    for (int i = 0; i < 200 && loop_gentle_count(loop) > 0; i++) {
        move_clock_ms(1000);
    }
    assert_int_equal(loop_gentle_count(loop), 0);
    assert_int_equal(cut_count(), cut_before + 1);
    /* It is told that this was not all. */
    a.on_told = NULL;
    sock_resume(a.sock);
    run_until(end_is_closed, &a);
    assert_int_equal(a.error, ECONNRESET);
    end_fini(&a);
    end_fini(&b);
}

static void a_peer_that_does_not_close_is_cut_after_2_s(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    make_clock_movable();
    pair_open(&a, &b, AF_UNIX);
    assert_true(sock_write(b.sock, SLICE("bye")));
    sock_close_gently(&b.sock);
    run_until(end_has_eof, &a);
    move_clock_ms(1500);
    assert_int_equal(loop_gentle_count(loop), 1);
    move_clock_ms(1500);
    assert_int_equal(loop_gentle_count(loop), 0);
    assert_int_equal(cut_count(), cut_before + 1);
    end_fini(&a);
    end_fini(&b);
}

/* The kernel took all of it at once, the peer takes it slowly: closing now would be too soon. */
static void a_slow_peer_gets_what_the_kernel_still_holds(void **state)
{
    struct end a = {.pause_in_data = true};
    struct end b = {0};

    (void)state;
    make_clock_movable();
    pair_open(&a, &b, AF_UNIX);
    sock_pause(a.sock);
    fill(b.sock, 150000);
    sock_flush(b.sock);
    assert_int_equal(sock_unsent(b.sock), 0);
    assert_true(sock_delivered(b.sock) < (int64_t)sock_written(b.sock));
    sock_close_gently(&b.sock);
    while (buf_len(&a.in) < 150000) {
        move_clock_ms(1800);
        assert_int_equal(loop_gentle_count(loop), 1);
        sock_resume(a.sock);
        run_turns(3);
    }
    assert_true(pattern_matches(buf_slice(&a.in), 150000));
    end_fini(&a);
    end_fini(&b);
    run_until(gentle_is_done, NULL);
    assert_int_equal(cut_count(), cut_before);
}

/* The same with a peer that is not on the loop, which could take more than it is asked for. */
static void a_slow_process_gets_what_the_kernel_still_holds(void **state)
{
    struct end b = {0};
    struct buf in = {0};
    int fds[2];

    (void)state;
    make_clock_movable();
    pair_fds(fds, AF_UNIX);
    end_adopt(&b, fds[1]);
    fill(b.sock, 150000);
    sock_flush(b.sock);
    assert_int_equal(sock_unsent(b.sock), 0);
    sock_close_gently(&b.sock);
    while (buf_len(&in) < 150000) {
        char *at = buf_reserve(&in, 50000);
        ssize_t n;

        move_clock_ms(1800);
        assert_int_equal(loop_gentle_count(loop), 1);
        n = read(fds[0], at, 50000);
        assert_true(n > 0);
        buf_commit(&in, (size_t)n);
    }
    assert_true(pattern_matches(buf_slice(&in), 150000));
    assert_int_equal(close(fds[0]), 0);
    run_until(gentle_is_done, NULL);
    assert_int_equal(cut_count(), cut_before);
    buf_fini(&in);
    end_fini(&b);
}

static int endless_fd;
static size_t endless_read;

static ssize_t endless_recv(int fd, void *buf, size_t len, int flags)
{
    if (fd != endless_fd) {
        return recv(fd, buf, len, flags);
    }
    memset(buf, 'x', len);
    endless_read += len;
    return (ssize_t)len;
}

static void a_peer_that_never_stops_sending_is_not_read_after_16_mib(void **state)
{
    struct loop_sys sys = loop_sys_real;
    struct end a = {0};
    struct end b = {0};

    (void)state;
    sys.recv = endless_recv;
    fixture_loop_again(&sys);
    pair_open(&a, &b, AF_UNIX);
    endless_fd = sock_fd(b.sock);
    endless_read = 0;
    assert_true(sock_write(a.sock, SLICE("x")));
    sock_flush(a.sock);
    sock_close_gently(&b.sock);
    run_turns(1000);
    assert_in_range(endless_read, 16 * 1024 * 1024, 16 * 1024 * 1024 + SOCK_READ_BYTES);
    assert_int_equal(loop_gentle_count(loop), 1); /* what it was sent can still be read */
    make_clock_movable();
    move_clock_ms(3000);
    assert_int_equal(loop_gentle_count(loop), 0);
    assert_in_range(endless_read, 16 * 1024 * 1024, 16 * 1024 * 1024 + SOCK_READ_BYTES);
    assert_int_equal(cut_count(), cut_before + 1);
    end_fini(&a);
    end_fini(&b);
}

static void a_reset_ends_it(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_INET);
    fill(b.sock, 8000000);
    sock_close_gently(&b.sock);
    sock_close(&a.sock, true);
    run_until(gentle_is_done, NULL);
    assert_int_equal(cut_count(), cut_before);
    end_fini(&a);
    end_fini(&b);
}

static void a_broken_socket_is_just_closed(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_INET);
    sock_close(&a.sock, true);
    run_until(end_is_closed, &b);
    sock_close_gently(&b.sock);
    assert_int_equal(loop_gentle_count(loop), 0);
    sock_close_gently(&b.sock); /* NULL is fine */
    end_fini(&a);
    end_fini(&b);
}

static void freeing_the_loop_still_writes(void **state)
{
    struct end b = {0};
    char in[16];
    int fds[2];

    (void)state;
    pair_fds(fds, AF_INET);
    end_adopt(&b, fds[1]);
    assert_true(sock_write(b.sock, SLICE("shutting down")));
    sock_close_gently(&b.sock);
    loop_free(&loop);
    assert_int_equal(read(fds[0], in, sizeof(in)), 13);
    assert_memory_equal(in, "shutting down", 13);
    assert_int_equal(read(fds[0], in, sizeof(in)), 0);
    assert_int_equal(close(fds[0]), 0);
    end_fini(&b);
}

int main(void)
{
#define GENTLE_TEST(f) REACTOR_TEST_WITH(f, setup, fixture_teardown)
#define GENTLE_EPOLL_TEST(f) EPOLL_TEST_WITH(f, setup, fixture_teardown)
#define GENTLE_KERNEL_TEST(f) KERNEL_TEST_WITH(f, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        GENTLE_TEST(the_last_message_reaches_a_peer_still_sending),
        GENTLE_TEST(with_the_fin_already_read),
        GENTLE_TEST(behind_the_fin_it_is_closed_at_once),
        GENTLE_TEST(nothing_queued_and_paused),
        GENTLE_TEST(a_peer_that_does_not_read_is_cut_after_2_s),
        GENTLE_TEST(one_that_is_owed_an_answer_may_stand_still_longer),
        GENTLE_TEST(a_peer_that_does_not_close_is_cut_after_2_s),
        GENTLE_EPOLL_TEST(a_slow_peer_gets_what_the_kernel_still_holds),
        TEST_ON("virtual", a_slow_peer_gets_what_the_kernel_still_holds, setup, fixture_teardown),
        GENTLE_KERNEL_TEST(a_slow_process_gets_what_the_kernel_still_holds),
        GENTLE_EPOLL_TEST(a_peer_that_never_stops_sending_is_not_read_after_16_mib),
        GENTLE_TEST(a_reset_ends_it),
        GENTLE_TEST(a_broken_socket_is_just_closed),
        GENTLE_KERNEL_TEST(freeing_the_loop_still_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
