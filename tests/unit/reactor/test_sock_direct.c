/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that do not wait for the end of the turn. */
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"

static size_t wanted;
static unsigned send_calls;

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

static size_t taken_now;

static ssize_t sendmsg_in_part(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr less = *msg;

    send_calls++;
    less.msg_iovlen = msg->msg_iovlen < taken_now ? msg->msg_iovlen : taken_now;
    return sendmsg(fd, &less, flags);
}

/* What is large goes out with what is queued, in order and at once; what was not taken follows. */
static void large_pieces_are_sent_directly(void **state)
{
    for (taken_now = 1; taken_now <= 4; taken_now++) {
        struct loop_sys sys = loop_sys_real;
        struct end a = {0};
        struct end b = {0};
        struct buf body = {0};
        struct buf expected = {0};
        struct slice pieces[3];

        (void)state;
        sys.sendmsg = sendmsg_in_part;
        fixture_loop_again(&sys);
        pair_open(&a, &b, AF_INET);
        pattern_fill(&body, 50000);
        pieces[0] = SLICE("size");
        pieces[1] = buf_slice(&body);
        pieces[2] = SLICE("end");
        assert_true(buf_append(&expected, SLICE("head")));
        send_calls = 0;
        assert_true(sock_write(a.sock, SLICE("head")));
        for (size_t i = 0; i < 3; i++) {
            assert_true(buf_append(&expected, pieces[i]));
        }
        assert_int_equal(send_calls, 0);
        assert_true(sock_writev(a.sock, pieces, 3));
        assert_int_equal(send_calls, 1);
        sock_notify_sent(a.sock);
        memset(body.data + body.head, 0, buf_len(&body)); /* borrowed no longer */
        if (taken_now == 4) {
            assert_int_equal(sock_unsent(a.sock), 0);
        }
        wait_bytes(&b, buf_len(&expected));
        assert_true(slice_eq(buf_slice(&b.in), buf_slice(&expected)));
        run_turns(1);
        assert_non_null(strchr(a.told, 's'));
        /* Little pieces wait for the end of the turn. */
        send_calls = 0;
        assert_true(sock_writev(a.sock, pieces + 2, 1));
        assert_int_equal(send_calls, 0);
        buf_fini(&body);
        buf_fini(&expected);
        end_fini(&a);
        end_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EPOLL_TEST(large_pieces_are_sent_directly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
