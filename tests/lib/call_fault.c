/* SPDX-License-Identifier: Apache-2.0 */
#include "call_fault.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

const struct loop_sys call_fault_sys = {
    .recv = fault_recv,
    .sendmsg = fault_sendmsg,
    .accept4 = fault_accept4,
    .connect = fault_connect,
    .epoll_wait = fault_epoll_wait,
};
