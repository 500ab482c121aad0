/* SPDX-License-Identifier: Apache-2.0 */
#include "call_fault.h"

#include <errno.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "reactor/uring.h"

static struct uring_sys fault_uring; /* made by call_fault_at */

/* The request that was replaced; 0: none. */
static uint64_t replaced;
static int replaced_result;

static int fault_enter(struct io_uring *ring, uint64_t timeout_us);
static int fault_submit(struct io_uring *ring);
static int fault_result(uint64_t user_data, int res);

static enum call_fault fault;
static size_t failing;
static size_t calls;
static bool fatal;

void call_fault_at(enum call_fault what, size_t n)
{
    fault = what;
    failing = n;
    calls = 0;
    fatal = false;
    replaced = 0;
    fault_uring = uring_sys_real;
    fault_uring.enter = fault_enter;
    fault_uring.submit = fault_submit;
    fault_uring.result = fault_result;
}

size_t call_fault_count(void)
{
    return calls;
}

bool call_fault_was_fatal(void)
{
    return fatal;
}

static bool fails(void)
{
    return ++calls == failing;
}

static int fail_with(int error, bool ends_it)
{
    fatal = fatal || ends_it;
    errno = error;
    return -1;
}

/* Of a call on a connection that is there. */
static int fail_stream(void)
{
    static const int errors[CALL_FAULT_COUNT] = {0, EAGAIN, EINTR, ECONNRESET, ENOMEM};

    return fail_with(errors[fault], fault == CALL_FAULT_ECONNRESET || fault == CALL_FAULT_ENOMEM);
}

static ssize_t fault_recv(int fd, void *buf, size_t len, int flags)
{
    if (!fails()) {
        return recv(fd, buf, len, flags);
    }
    return fault == CALL_FAULT_SHORT ? recv(fd, buf, 1, flags) : fail_stream();
}

static ssize_t fault_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr one = *msg;
    struct iovec iov = msg->msg_iov[0];

    if (!fails()) {
        return sendmsg(fd, msg, flags);
    }
    if (fault != CALL_FAULT_SHORT) {
        return fail_stream();
    }
    iov.iov_len = 1;
    one.msg_iov = &iov;
    one.msg_iovlen = 1;
    return sendmsg(fd, &one, flags);
}

/* Who waits to be accepted goes on waiting, whatever the error. */
static int fault_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    static const int errors[CALL_FAULT_COUNT] = {0, EAGAIN, EINTR, ECONNABORTED, EMFILE};

    if (fails() && errors[fault] != 0) {
        return fail_with(errors[fault], false);
    }
    return accept4(fd, sa, len, flags);
}

static int fault_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
    if (!fails() || fault == CALL_FAULT_SHORT || fault == CALL_FAULT_EAGAIN) {
        return connect(fd, sa, len);
    }
    if (fault == CALL_FAULT_EINTR) {
        (void)connect(fd, sa, len); /* goes on in the kernel */
        return fail_with(EINTR, false);
    }
    return fail_with(fault == CALL_FAULT_ENOMEM ? ENOMEM : ECONNREFUSED, true);
}

static int fault_epoll_wait(int epfd, struct epoll_event *events, int max,
                            const struct timespec *timeout)
{
    if (fails() && fault == CALL_FAULT_EINTR) {
        return fail_with(EINTR, false);
    }
    return loop_sys_real.epoll_wait(epfd, events, max, timeout);
}

/* In place of the C library's. What is watched already needs no memory to be changed. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && fails() && fault == CALL_FAULT_ENOMEM) {
        return fail_with(ENOMEM, true);
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/* --- io_uring --------------------------------------------------------------------------------- */

/* Of the kernel's memory, or what it points to: less than was asked for. */
static void shorten(struct io_uring_sqe *sqe)
{
    struct msghdr *msg;

    if (sqe->opcode == IORING_OP_SENDMSG) {
        msg = (struct msghdr *)(uintptr_t)sqe->addr;
        msg->msg_iovlen = 1;
        msg->msg_iov[0].iov_len = 1;
    } else if (sqe->opcode == IORING_OP_SEND ||
               (sqe->opcode == IORING_OP_RECV && (sqe->ioprio & IORING_RECV_MULTISHOT) == 0)) {
        sqe->len = 1;
    }
}

/* 0: it cannot go wrong so. */
static int error_of(const struct io_uring_sqe *sqe)
{
    static const int stream[CALL_FAULT_COUNT] = {0, EAGAIN, EINTR, ECONNRESET, ENOMEM};
    static const int accept[CALL_FAULT_COUNT] = {0, EAGAIN, EINTR, ECONNABORTED, EMFILE};
    static const int connect[CALL_FAULT_COUNT] = {0, 0, EINTR, ECONNREFUSED, ENOMEM};

    switch (sqe->opcode) {
    case IORING_OP_ACCEPT:
        return accept[fault];
    case IORING_OP_CONNECT:
        return connect[fault];
    default:
        return stream[fault];
    }
}

static bool is_of_a_socket(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_SEND || sqe->opcode == IORING_OP_SENDMSG ||
           sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_CONNECT ||
           sqe->opcode == IORING_OP_ACCEPT;
}

static void spoil(struct io_uring_sqe *sqe)
{
    uint64_t user_data = sqe->user_data;
    int error;

    if (!is_of_a_socket(sqe) || !fails()) {
        return;
    }
    error = error_of(sqe);
    if (error == 0) {
        shorten(sqe);
        return;
    }
    fatal = fatal || sqe->opcode == IORING_OP_CONNECT ||
            (sqe->opcode != IORING_OP_ACCEPT && error != EAGAIN && error != EINTR);
    replaced = user_data;
    replaced_result = -error;
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = user_data};
}

/* Of those that the kernel does not have yet. */
static void spoil_new(struct io_uring *ring)
{
    struct io_uring_sq *sq = &ring->sq;

    for (unsigned at = sq->sqe_head; at != sq->sqe_tail; at++) {
        spoil(&sq->sqes[at & sq->ring_mask]);
    }
}

/* Where it fails, nothing was submitted and nothing waited for. */
static int fault_enter(struct io_uring *ring, uint64_t timeout_us)
{
    static const int errors[CALL_FAULT_COUNT] = {EBUSY, EAGAIN, EINTR, 0, ENOMEM};

    if (fails() && errors[fault] != 0) {
        return -errors[fault];
    }
    spoil_new(ring);
    return uring_sys_real.enter(ring, timeout_us);
}

static int fault_submit(struct io_uring *ring)
{
    spoil_new(ring);
    return uring_sys_real.submit(ring);
}

static int fault_result(uint64_t user_data, int res)
{
    if (replaced == 0 || user_data != replaced) {
        return res;
    }
    replaced = 0;
    return replaced_result;
}

const struct loop_sys call_fault_sys = {
    .uring = &fault_uring,
    .send_batch_min = 1, /* so that writes are requests there */
    .recv = fault_recv,
    .sendmsg = fault_sendmsg,
    .accept4 = fault_accept4,
    .connect = fault_connect,
    .epoll_wait = fault_epoll_wait,
};
