/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange (a listener, a client that sends, a server that echoes, FINs both ways) run again
 * and again with the i-th system call, or the i-th allocation, going wrong, for every i. It must
 * always come to an end: whole when the fault is one that happens in good health, told as closed
 * otherwise, and never with a wrong byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "alloc_fault.h"
#include "base/err.h"
#include "fixture.h"
#include "reactor/backend.h"
#include "reactor/uring_internal.h"

enum { SENT_BYTES = 150000, TAKEN_BYTES = 50000, ALL_BYTES = SENT_BYTES + TAKEN_BYTES };

enum fault { FAULT_SHORT, FAULT_EAGAIN, FAULT_EINTR, FAULT_ECONNRESET, FAULT_COUNT };

static const struct backend_ops *backend;
static enum fault fault;
static size_t fault_at; /* 0: none */
static size_t calls;
static bool fault_is_fatal; /* it hit a call where it ends a connection */
static struct buf pattern;

static bool faulty(void)
{
    return ++calls == fault_at;
}

static ssize_t fail_with(int error)
{
    errno = error;
    return -1;
}

static int fault_errno(void)
{
    static const int errors[FAULT_COUNT] = {0, EAGAIN, EINTR, ECONNRESET};

    fault_is_fatal = fault_is_fatal || fault == FAULT_ECONNRESET;
    return errors[fault];
}

static ssize_t faulty_recv(int fd, void *buf, size_t len, int flags)
{
    if (!faulty()) {
        return recv(fd, buf, len, flags);
    }
    return fault == FAULT_SHORT ? recv(fd, buf, 1, flags) : fail_with(fault_errno());
}

static ssize_t faulty_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr one = *msg;
    struct iovec iov = msg->msg_iov[0];

    if (!faulty()) {
        return sendmsg(fd, msg, flags);
    }
    if (fault != FAULT_SHORT) {
        return fail_with(fault_errno());
    }
    iov.iov_len = 1;
    one.msg_iov = &iov;
    one.msg_iovlen = 1;
    return sendmsg(fd, &one, flags);
}

static int faulty_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    bool now = faulty();

    if (now && fault == FAULT_ECONNRESET) {
        return (int)fail_with(ECONNABORTED); /* the client left while it waited */
    }
    if (now && fault != FAULT_SHORT) {
        return (int)fail_with(fault_errno());
    }
    return accept4(fd, sa, len, flags);
}

static int faulty_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
    bool now = faulty();
    int rv = now && fault != FAULT_SHORT && fault != FAULT_EINTR ? -1 : connect(fd, sa, len);

    if (now && fault != FAULT_SHORT) {
        fault_is_fatal = fault != FAULT_EINTR;
        return (int)fail_with(fault_errno());
    }
    return rv;
}

static int faulty_epoll_wait(int epfd, struct epoll_event *events, int max,
                             const struct timespec *timeout)
{
    if (faulty() && fault == FAULT_EINTR) {
        return (int)fail_with(EINTR);
    }
    return loop_sys_real.epoll_wait(epfd, events, max, timeout);
}

/* Nothing was submitted then and nothing waited for. */
static int faulty_enter(struct io_uring *ring, uint64_t timeout_us)
{
    static const int errors[FAULT_COUNT] = {EBUSY, EAGAIN, EINTR, 0};

    return faulty() && errors[fault] != 0 ? -errors[fault] : uring_sys_real.enter(ring, timeout_us);
}

/* What the kernel did cannot be undone: only what ends a connection anyhow can be made up. */
static int faulty_result(uint64_t user_data, int res)
{
    unsigned op = uring_op_of(user_data);
    bool ends = op == URING_RECV || op == URING_SEND || op == URING_CONNECT;
    bool now = faulty();

    if (now && fault == FAULT_EAGAIN && op == URING_CONNECT) {
        fault_is_fatal = true;
        return -EAGAIN;
    }
    return now && ends && fault == FAULT_ECONNRESET ? -fault_errno() : res;
}

static struct uring_sys faulty_uring;

static const struct loop_sys faulty_sys = {
    .uring = &faulty_uring,
    .recv = faulty_recv,
    .sendmsg = faulty_sendmsg,
    .accept4 = faulty_accept4,
    .connect = faulty_connect,
    .epoll_wait = faulty_epoll_wait,
};

/* --- the exchange
 * --------------------------------------------------------------------------------------- */

struct party {
    struct sock *s;
    bool started;
    bool ended;
    bool broken;
    size_t received;
};

struct exchange {
    struct loop *loop;
    struct party client;
    struct party server;
    struct timer limit;
    bool timed_out;
};

static struct exchange x;

/* A client that lost its connection ends it: the server may never have heard of it. */
static void stop_if_over(void)
{
    bool server_over = !x.server.started || x.server.ended || x.server.broken;

    if ((x.client.ended || x.client.broken) && server_over) {
        loop_stop(x.loop);
    }
}

static void check_bytes(struct party *p, struct slice in)
{
    assert_true(p->received + in.len <= ALL_BYTES);
    assert_memory_equal(in.ptr, pattern.data + p->received, in.len);
    p->received += in.len;
}

static void on_connected(void *owner)
{
    (void)owner;
}

static void client_data(void *owner, struct slice in)
{
    (void)owner;
    check_bytes(&x.client, in);
}

static void server_data(void *owner, struct slice in)
{
    (void)owner;
    check_bytes(&x.server, in);
    (void)sock_write(x.server.s, in); /* out of memory comes as closed too */
}

static void client_eof(void *owner)
{
    (void)owner;
    x.client.ended = true;
    stop_if_over();
}

static void server_eof(void *owner)
{
    (void)owner;
    x.server.ended = true;
    sock_shutdown(x.server.s);
    stop_if_over();
}

static void on_closed(void *owner, int error)
{
    struct party *p = owner;

    assert_int_not_equal(error, 0);
    p->broken = true;
    sock_close(&p->s, false);
    stop_if_over();
}

static const struct sock_ops client_ops = {
    .connected = on_connected, .data = client_data, .eof = client_eof, .closed = on_closed};
static const struct sock_ops server_ops = {
    .data = server_data, .eof = server_eof, .closed = on_closed};

static void on_accepted(void *owner, int fd, const struct addr *peer)
{
    (void)owner;
    (void)peer;
    x.server.s = sock_adopt(x.loop, fd, &server_ops, &x.server);
    x.server.started = true;
    x.server.broken = x.server.s == NULL; /* closed: the client is told by the kernel */
}

static void on_limit(void *owner)
{
    (void)owner;
    x.timed_out = true;
    loop_stop(x.loop);
}

static void client_send(void)
{
    struct buf taken = {0};
    struct slice last = slice_of(pattern.data + SENT_BYTES, TAKEN_BYTES);

    if (!sock_write(x.client.s, slice_of(pattern.data, SENT_BYTES))) {
        return;
    }
    if (buf_append(&taken, last)) {
        (void)sock_write_take(x.client.s, &taken);
        sock_shutdown(x.client.s);
    } else {
        sock_close(&x.client.s, false);
        x.client.broken = true;
    }
    buf_fini(&taken);
}

/* False: it could not even begin. */
static bool run_exchange(void)
{
    struct addr at;
    struct err e;
    struct listener *l;

    x = (struct exchange){.loop = loop_new_on(backend, &faulty_sys)};
    if (x.loop == NULL) {
        assert_int_equal(errno, ENOMEM);
        return false;
    }
    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
    l = listener_new(x.loop, &at, on_accepted, NULL, &e);
    if (l != NULL) {
        x.client.s = sock_connect(x.loop, listener_addr(l), &client_ops, &x.client);
    } else {
        assert_int_equal(e.code, MCP_ENOMEM);
    }
    if (x.client.s != NULL) {
        client_send();
        timer_init(&x.limit, on_limit, NULL);
        timer_arm(x.loop, &x.limit, 10000);
        if (x.client.s != NULL) {
            loop_run(x.loop);
        }
        timer_cancel(x.loop, &x.limit);
    }
    assert_false(x.timed_out);
    sock_close(&x.client.s, false);
    sock_close(&x.server.s, false);
    listener_free(&l);
    loop_free(&x.loop);
    return true;
}

static bool is_whole(void)
{
    return x.client.received == ALL_BYTES && x.server.received == ALL_BYTES && x.client.ended &&
           x.server.ended && !x.client.broken && !x.server.broken;
}

static void choose_backend(const char *name)
{
    backend = strcmp(name, "io_uring") == 0 ? &backend_uring : &backend_epoll;
    faulty_uring = uring_sys_real;
    faulty_uring.enter = faulty_enter;
    faulty_uring.result = faulty_result;
}

static void every_system_call_fails_once(void **state)
{
    choose_backend(*state);
    for (fault = 0; fault < FAULT_COUNT; fault++) {
        size_t fatal = 0;

        fault_at = 0;
        do {
            fault_at++;
            calls = 0;
            fault_is_fatal = false;
            assert_true(run_exchange());
            if (!fault_is_fatal) {
                assert_true(is_whole());
            } else {
                assert_false(is_whole());
                fatal++;
            }
        } while (calls >= fault_at);
        assert_true(fault_at > 10);
        /* EAGAIN of connect: a unix socket whose queue is full. */
        assert_int_equal(fatal > 0, fault == FAULT_ECONNRESET || fault == FAULT_EAGAIN);
    }
    fault_at = 0;
}

static void run_out_of_memory(void *arg)
{
    size_t *begun = arg;

    *begun += run_exchange();
}

static void every_allocation_fails_once(void **state)
{
    size_t begun = 0;

    choose_backend(*state);
    fault_at = 0;
    alloc_fault_each(run_out_of_memory, &begun);
    assert_true(begun > 5);
    assert_true(is_whole()); /* the last run was a clean one */
}

static int setup(void **state)
{
    (void)state;
    pattern_fill(&pattern, ALL_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&pattern);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KERNEL_TEST_WITH(every_system_call_fails_once, NULL, NULL),
        KERNEL_TEST_WITH(every_allocation_fails_once, NULL, NULL),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
