/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "base/block.h"
#include "fixture.h"
#include "reactor/backend.h"

static const int families[] = {AF_UNIX, AF_INET};

static size_t wanted;

static bool has_wanted(void *end)
{
    return buf_len(&((struct end *)end)->in) >= wanted;
}

static void wait_bytes(struct end *e, size_t n)
{
    wanted = n;
    run_until(has_wanted, e);
    assert_int_equal(buf_len(&e->in), n);
}

static bool is_told(void *end)
{
    return ((struct end *)end)->told_len > 0;
}

static void write_pattern(struct sock *s, size_t n)
{
    struct buf b = {0};

    pattern_fill(&b, n);
    assert_true(sock_write(s, buf_slice(&b)));
    buf_fini(&b);
}

static void small_writes_arrive_joined(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, families[f]);
        assert_true(sock_write(a.sock, SLICE("one ")));
        assert_true(sock_write(a.sock, SLICE("")));
        assert_true(sock_write(a.sock, SLICE("two")));
        assert_int_equal(sock_unsent(a.sock), 7);
        assert_int_equal(sock_written(a.sock), 0);
        run_until(is_told, &b);
        assert_string_equal(b.told, "d");
        assert_true(slice_eq(buf_slice(&b.in), SLICE("one two")));
        assert_int_equal(sock_unsent(a.sock), 0);
        assert_int_equal(sock_written(a.sock), 7);
        assert_int_equal(a.told_len, 0);
        end_fini(&a);
        end_fini(&b);
    }
}

/* Every kind of segment, in the order queued, through short writes. */
static void big_and_small_stay_in_order(void **state)
{
    static const size_t sizes[] = {1, 100000, 5, 4096, 4095, 16384, 3, 2000000, 70000, 1};
    struct buf expected = {0};

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        pattern_fill(&expected, sizes[i]);
    }
    for (size_t f = 0; f < 2; f++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, families[f]);
        for (size_t i = 0; i < 10; i++) {
            if (i % 2 == 0) {
                write_pattern(a.sock, sizes[i]);
            } else {
                struct buf part = {0};

                pattern_fill(&part, sizes[i]);
                assert_true(sock_write_take(a.sock, &part));
                assert_int_equal(buf_len(&part), 0);
                buf_fini(&part);
            }
        }
        assert_int_equal(sock_unsent(a.sock), buf_len(&expected));
        sock_shutdown(a.sock);
        run_until(end_has_eof, &b);
        assert_string_equal(b.told, "de");
        assert_true(slice_eq(buf_slice(&b.in), buf_slice(&expected)));
        end_fini(&a);
        end_fini(&b);
    }
    buf_fini(&expected);
}

static void flush_writes_at_once(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    assert_true(sock_write(a.sock, SLICE("now")));
    sock_notify_sent(a.sock);
    sock_flush(a.sock);
    assert_int_equal(sock_unsent(a.sock), 0);
    assert_int_equal(a.told_len, 0); /* not from inside the call */
    wait_bytes(&b, 3);
    assert_string_equal(a.told, "s");
    end_fini(&a);
    end_fini(&b);
}

static void marks_and_sent(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_pause(b.sock);
    sock_set_marks(a.sock, 500000, 100000);
    write_pattern(a.sock, 499999);
    assert_false(sock_over_high(a.sock));
    write_pattern(a.sock, 500001);
    assert_true(sock_over_high(a.sock));
    sock_notify_sent(a.sock);
    run_turns(10);
    assert_int_equal(a.told_len, 0);
    assert_true(sock_unsent(a.sock) > 100000);
    assert_int_equal(sock_unsent(a.sock) + sock_written(a.sock), 1000000);
    sock_resume(b.sock);
    wait_bytes(&b, 1000000);
    assert_string_equal(a.told, "ls");
    assert_false(sock_over_high(a.sock));
    end_fini(&a);
    end_fini(&b);
}

/* Over the mark, but the kernel takes it all in one flush: drained still comes, once. */
static void drained_after_one_flush(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_set_marks(a.sock, 100, 10);
    write_pattern(a.sock, 200);
    assert_true(sock_over_high(a.sock));
    sock_flush(a.sock);
    assert_true(sock_over_high(a.sock));
    wait_bytes(&b, 200);
    assert_string_equal(a.told, "l");
    run_turns(3);
    assert_string_equal(a.told, "l");
    end_fini(&a);
    end_fini(&b);
}

static void raising_the_low_mark_drains(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_set_marks(a.sock, 4000000, 1);
    write_pattern(a.sock, 200);
    sock_set_marks(a.sock, 200, 100);
    assert_true(sock_over_high(a.sock));
    wait_bytes(&b, 200);
    assert_string_equal(a.told, "l");
    end_fini(&a);
    end_fini(&b);
}

static void sent_with_nothing_queued(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_notify_sent(a.sock);
    assert_int_equal(a.told_len, 0);
    run_turns(1);
    assert_string_equal(a.told, "s");
    end_fini(&a);
    end_fini(&b);
}

static void write_again(struct end *e, char what)
{
    if (what == 's') {
        assert_true(sock_write(e->sock, SLICE("more")));
        e->on_told = NULL;
    }
}

static void writing_in_the_flush_phase(void **state)
{
    struct end a = {.on_told = write_again};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    sock_notify_sent(a.sock);
    wait_bytes(&b, 4);
    end_fini(&a);
    end_fini(&b);
}

/* --- pause, FIN, RST
 * ---------------------------------------------------------------------------------- */

static void paused_gets_no_data(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, families[f]);
        sock_pause(b.sock);
        assert_true(sock_write(a.sock, SLICE("wait")));
        run_for_ms(5);
        assert_int_equal(b.told_len, 0);
        sock_resume(b.sock);
        assert_int_equal(b.told_len, 0);
        wait_bytes(&b, 4);
        sock_pause(b.sock);
        sock_resume(b.sock);
        assert_true(sock_write(a.sock, SLICE("go")));
        wait_bytes(&b, 6);
        end_fini(&a);
        end_fini(&b);
    }
}

static int64_t turns_in_ms(unsigned ms)
{
    int64_t before = counter_get(counters_current(), COUNTER_LOOP_TURNS);

    run_for_ms(ms);
    return counter_get(counters_current(), COUNTER_LOOP_TURNS) - before;
}

/* The FIN is told at once, the bytes before it only after resume, then the end; and the loop sleeps
 * meanwhile. */
static void hangup_while_paused(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, families[f]);
        sock_pause(b.sock);
        assert_true(sock_write(a.sock, SLICE("last words")));
        sock_shutdown(a.sock);
        run_until(is_told, &b);
        assert_string_equal(b.told, "h");
        assert_true(turns_in_ms(30) < 10);
        assert_string_equal(b.told, "h");
        sock_resume(b.sock);
        run_until(end_has_eof, &b);
        assert_string_equal(b.told, "hde");
        assert_true(slice_eq(buf_slice(&b.in), SLICE("last words")));
        assert_true(turns_in_ms(30) < 10); /* half-closed, not spinning */
        /* The other direction still works. */
        assert_true(sock_write(b.sock, SLICE("answer")));
        wait_bytes(&a, 6);
        end_fini(&a);
        end_fini(&b);
    }
}

/* The peer closes altogether: on a unix socket that is EPOLLHUP, which cannot be masked. */
static void peer_closes_while_paused(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, families[f]);
        sock_pause(b.sock);
        assert_true(sock_write(a.sock, SLICE("bye")));
        run_for_ms(2);
        sock_close(&a.sock, false);
        run_until(is_told, &b);
        assert_string_equal(b.told, "h");
        assert_true(turns_in_ms(30) < 10);
        sock_resume(b.sock);
        run_until(end_has_eof, &b);
        assert_string_equal(b.told, "hde");
        assert_true(turns_in_ms(30) < 10);
        end_fini(&b);
    }
}

static void pausing_in_data_with_fin_behind(void **state)
{
    struct end a = {0};
    struct end b = {.pause_in_data = true};
    int fds[2];

    (void)state;
    pair_fds(fds, AF_INET);
    assert_int_equal(write(fds[0], "x", 1), 1);
    assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    end_adopt(&b, fds[1]);
    end_adopt(&a, fds[0]);
    run_turns(5);
    assert_string_equal(b.told, "dh");
    sock_resume(b.sock);
    run_until(end_has_eof, &b);
    assert_string_equal(b.told, "dhe");
    end_fini(&a);
    end_fini(&b);
}

static void reset_is_told(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct end a = {0};
        struct end b = {0};

        pair_open(&a, &b, AF_INET);
        run_turns(1);
        if (paused) {
            sock_pause(b.sock);
        }
        sock_close(&a.sock, true);
        run_until(end_is_closed, &b);
        assert_string_equal(b.told, "x");
        assert_int_equal(b.error, ECONNRESET);
        assert_true(turns_in_ms(30) < 10);
        assert_true(sock_write(b.sock, SLICE("into the void")));
        sock_resume(b.sock);
        sock_flush(b.sock);
        sock_shutdown(b.sock);
        run_turns(3);
        assert_string_equal(b.told, "x");
        end_fini(&b);
    }
}

/* A reset after the peer's FIN: recv would go on saying 0. */
static void reset_after_fin(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_INET);
    sock_shutdown(a.sock);
    run_until(end_has_eof, &b);
    sock_close(&a.sock, true);
    run_until(end_is_closed, &b);
    assert_string_equal(b.told, "ex");
    end_fini(&b);
}

/* What the peer said before it broke the connection is heard, though our writes fail first. */
static void answer_before_reset_is_heard(void **state)
{
    struct end b = {0};
    int fds[2];

    (void)state;
    pair_fds(fds, AF_UNIX);
    end_adopt(&b, fds[1]);
    assert_int_equal(write(fds[0], "too large", 9), 9);
    assert_int_equal(close(fds[0]), 0);
    write_pattern(b.sock, 1000000);
    sock_flush(b.sock);
    assert_int_equal(b.told_len, 0);
    run_until(end_is_closed, &b);
    assert_true(slice_eq(buf_slice(&b.in), SLICE("too large")));
    assert_int_equal(b.error, EPIPE);
    assert_int_equal(b.told[b.told_len - 1], 'x');
    end_fini(&b);
}

static void write_to_a_peer_that_left_while_paused(void **state)
{
    struct end b = {0};
    int fds[2];

    (void)state;
    pair_fds(fds, AF_UNIX);
    end_adopt(&b, fds[1]);
    sock_pause(b.sock);
    assert_int_equal(write(fds[0], "unread", 6), 6);
    assert_int_equal(close(fds[0]), 0);
    assert_true(sock_write(b.sock, SLICE("x")));
    run_until(end_is_closed, &b);
    assert_int_equal(buf_len(&b.in), 0);
    assert_int_equal(b.error, EPIPE);
    end_fini(&b);
}

/* --- closing in callbacks
 * ----------------------------------------------------------------------------- */

static void provoke(struct end *a, struct end *b, char what)
{
    switch (what) {
    case 'd':
        assert_true(sock_write(b->sock, SLICE("data")));
        break;
    case 'e':
        sock_shutdown(b->sock);
        break;
    case 'h':
        sock_pause(a->sock);
        sock_shutdown(b->sock);
        break;
    case 'l':
        sock_set_marks(a->sock, 10, 5);
        write_pattern(a->sock, 3000000);
        break;
    case 's':
        write_pattern(a->sock, 3000000);
        sock_notify_sent(a->sock);
        break;
    default:
        sock_close(&b->sock, true);
        break;
    }
}

static bool is_sockless(void *end)
{
    return ((struct end *)end)->sock == NULL;
}

static void closing_inside_every_callback(void **state)
{
    (void)state;
    for (const char *what = "dehlsx"; *what != '\0'; what++) {
        for (const char *how = "crg"; *how != '\0'; how++) {
            struct end a = {.close_in = *what, .how = *how};
            struct end b = {0};

            pair_open(&a, &b, AF_INET);
            run_turns(1);
            provoke(&a, &b, *what);
            run_until(is_sockless, &a);
            end_fini(&b);
            run_until(gentle_is_done, NULL);
            run_turns(2);
            end_fini(&a);
        }
    }
}

/* One callback closes another socket with an event in the same turn. */
static struct end *victim;

static void close_victim(struct end *e, char what)
{
    (void)e;
    if (what == 'd' && victim != NULL) {
        sock_close(&victim->sock, false);
        victim = NULL;
    }
}

static void closing_a_neighbour(void **state)
{
    struct end a[2] = {{.on_told = close_victim}, {.on_told = close_victim}};
    struct end b[2] = {0};

    (void)state;
    pair_open(&a[0], &b[0], AF_UNIX);
    pair_open(&a[1], &b[1], AF_UNIX);
    for (int i = 0; i < 2; i++) {
        assert_true(sock_write(b[i].sock, SLICE("x")));
        sock_flush(b[i].sock);
    }
    /* Whoever is first closes the other. */
    victim = &a[1];
    run_turns(3);
    assert_null(victim);
    assert_null(a[1].sock);
    for (int i = 0; i < 2; i++) {
        end_fini(&a[i]);
        end_fini(&b[i]);
    }
}

static void closing_what_is_still_dirty(void **state)
{
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    assert_true(sock_write(a.sock, SLICE("dropped")));
    sock_close(&a.sock, false);
    sock_close(&a.sock, false); /* NULL is fine */
    run_until(end_has_eof, &b);
    assert_int_equal(buf_len(&b.in), 0);
    end_fini(&b);
}

/* --- fairness
 * ----------------------------------------------------------------------------------------- */

static int endless_fd;

static ssize_t endless_recv(int fd, void *buf, size_t len, int flags)
{
    if (fd != endless_fd) {
        return recv(fd, buf, len, flags);
    }
    memset(buf, 'x', len);
    return (ssize_t)len;
}

/* A peer faster than we read gets its share of a turn, no more. */
static void endless_sender_leaves_room_for_others(void **state)
{
    struct loop_sys sys = loop_sys_real;
    struct end big = {0};
    struct end from_big = {0};
    struct end small = {0};
    struct end from_small = {0};
    int64_t before = counter_get(counters_current(), COUNTER_READ_BUDGET_USED);

    (void)state;
    sys.recv = endless_recv;
    fixture_loop_again(&sys);
    pair_open(&big, &from_big, AF_UNIX);
    pair_open(&small, &from_small, AF_UNIX);
    endless_fd = sock_fd(big.sock);
    assert_true(sock_write(from_big.sock, SLICE("x")));
    assert_true(sock_write(from_small.sock, SLICE("me too")));
    sock_flush(from_big.sock);
    sock_flush(from_small.sock);
    for (size_t i = 1; i <= 5; i++) {
        run_turns(1);
        assert_int_equal(buf_len(&big.in), i * SOCK_TURN_BYTES);
        assert_int_equal(buf_len(&small.in), 6);
    }
    assert_int_equal(counter_get(counters_current(), COUNTER_READ_BUDGET_USED), before + 5);
    end_fini(&big);
    end_fini(&from_big);
    end_fini(&small);
    end_fini(&from_small);
}

/* --- what a message costs
 * ------------------------------------------------------------------------------- */

static unsigned recv_calls;
static unsigned send_calls;
static unsigned wait_calls;

static ssize_t counted_recv(int fd, void *buf, size_t len, int flags)
{
    recv_calls++;
    return recv(fd, buf, len, flags);
}

static ssize_t counted_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    send_calls++;
    return sendmsg(fd, msg, flags);
}

static int counted_epoll_wait(int epfd, struct epoll_event *events, int max,
                              const struct timespec *timeout)
{
    wait_calls++;
    return loop_sys_real.epoll_wait(epfd, events, max, timeout);
}

static void a_message_costs_three_system_calls_and_no_memory(void **state)
{
    struct loop_sys sys = loop_sys_real;
    struct end a = {.on_told = end_echo};
    struct end b = {.on_told = end_echo};

    (void)state;
    blocks_set_keeping(true);
    sys.recv = counted_recv;
    sys.sendmsg = counted_sendmsg;
    sys.epoll_wait = counted_epoll_wait;
    fixture_loop_again(&sys);
    pair_open(&a, &b, AF_INET);
    assert_non_null(buf_reserve(&a.in, 4096));
    assert_non_null(buf_reserve(&b.in, 4096));
    assert_true(sock_write(a.sock, SLICE("first message")));
    run_turns(1);
    recv_calls = send_calls = wait_calls = 0;
    alloc_fault_at(0);
    loop_run(loop);
    assert_int_equal(alloc_fault_count(), 0);
    assert_in_range(recv_calls, 190, 210);
    assert_in_range(send_calls, recv_calls - 1, recv_calls);
    assert_in_range(wait_calls, recv_calls - 1, recv_calls + 1);
    end_fini(&a);
    end_fini(&b);
}

/* --- connecting
 * --------------------------------------------------------------------------------------- */

static void keep_fd(void *owner, int fd, const struct addr *peer)
{
    assert_true(addr_is_local(peer));
    end_adopt(owner, fd);
}

static void connects_and_talks(void **state)
{
    char path[] = "/tmp/mcpgate-sock-XXXXXX";
    char unix_path[64];
    struct addr at;

    (void)state;
    assert_non_null(mkdtemp(path));
    (void)snprintf(unix_path, sizeof(unix_path), "%s/s", path);
    for (size_t f = 0; f < 2; f++) {
        struct end client = {0};
        struct end server = {0};
        struct listener *l;

        if (families[f] == AF_UNIX) {
            assert_int_equal(addr_from_unix(&at, unix_path, NULL), 0);
        } else {
            assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
        }
        l = listener_new(loop, &at, keep_fd, &server, NULL);
        assert_non_null(l);
        end_connect(&client, listener_addr(l));
        assert_true(sock_write(client.sock, SLICE("early"))); /* before it is connected */
        run_until(end_is_connected, &client);
        wait_bytes(&server, 5);
        assert_string_equal(client.told, "c");
        assert_true(sock_fd(client.sock) >= 0);
        assert_ptr_equal(sock_loop(client.sock), loop);
        assert_true(turns_in_ms(30) < 10);
        end_fini(&client);
        run_until(end_has_eof, &server);
        end_fini(&server);
        listener_free(&l);
    }
    assert_int_equal(rmdir(path), 0);
}

static void refused(void **state)
{
    char *path = "/tmp/mcpgate-no-such-socket-anywhere";
    struct listener *l;
    struct end e = {0};
    struct end server = {0};
    struct addr at;

    (void)state;
    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
    l = listener_new(loop, &at, keep_fd, &server, NULL);
    assert_non_null(l);
    at = *listener_addr(l);
    listener_free(&l);
    end_connect(&e, &at);
    assert_true(sock_write(e.sock, SLICE("x")));
    run_until(end_is_closed, &e);
    assert_string_equal(e.told, "x");
    assert_int_equal(e.error, ECONNREFUSED);
    assert_true(turns_in_ms(30) < 10);
    end_fini(&e);

    e = (struct end){.close_in = 'x', .how = 'g'};
    assert_int_equal(addr_from_unix(&at, path, NULL), 0);
    end_connect(&e, &at);
    assert_int_equal(e.told_len, 0);
    run_until(end_is_closed, &e);
    assert_int_equal(e.error, ENOENT);
    assert_null(e.sock);
    end_fini(&e);
}

static void closing_while_connecting(void **state)
{
    struct listener *l;
    struct addr at;
    struct end server = {0};

    (void)state;
    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
    l = listener_new(loop, &at, keep_fd, &server, NULL);
    for (int gently = 0; gently < 2; gently++) {
        struct end e = {0};

        end_connect(&e, listener_addr(l));
        if (gently) {
            sock_close_gently(&e.sock);
        } else {
            sock_close(&e.sock, true);
        }
        assert_null(e.sock);
    }
    listener_free(&l);
    run_turns(3);
    end_fini(&server);
}

static void an_unsuitable_descriptor_is_refused(void **state)
{
    struct end e = {0};
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_null(sock_adopt(loop, fd, &end_ops, &e)); /* epoll does not take it; it is closed */
    assert_int_equal(errno, EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REACTOR_TEST(small_writes_arrive_joined),
        REACTOR_TEST(big_and_small_stay_in_order),
        REACTOR_TEST(flush_writes_at_once),
        REACTOR_TEST(marks_and_sent),
        REACTOR_TEST(drained_after_one_flush),
        REACTOR_TEST(raising_the_low_mark_drains),
        REACTOR_TEST(sent_with_nothing_queued),
        REACTOR_TEST(writing_in_the_flush_phase),
        REACTOR_TEST(paused_gets_no_data),
        REACTOR_TEST(hangup_while_paused),
        REACTOR_TEST(peer_closes_while_paused),
        KERNEL_TEST(pausing_in_data_with_fin_behind),
        REACTOR_TEST(reset_is_told),
        REACTOR_TEST(reset_after_fin),
        KERNEL_TEST(answer_before_reset_is_heard),
        KERNEL_TEST(write_to_a_peer_that_left_while_paused),
        REACTOR_TEST(closing_inside_every_callback),
        REACTOR_TEST(closing_a_neighbour),
        REACTOR_TEST(closing_what_is_still_dirty),
        EPOLL_TEST(endless_sender_leaves_room_for_others),
        EPOLL_TEST(a_message_costs_three_system_calls_and_no_memory),
        REACTOR_TEST(connects_and_talks),
        REACTOR_TEST(refused),
        REACTOR_TEST(closing_while_connecting),
        KERNEL_TEST(an_unsuitable_descriptor_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
