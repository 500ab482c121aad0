/* SPDX-License-Identifier: Apache-2.0 */
/* The epoll backend. Level-triggered, and masks change as late as possible, so that the usual turn
 * of a socket is one epoll_wait, one recv (a short one ends it) and one sendmsg: EPOLLOUT only
 * while a send came back short, and a stopped stream loses EPOLLIN only when something does arrive.
 * It is edge-triggered then (EPOLLHUP cannot be masked, and would keep the loop spinning until
 * somebody reads). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/counter.h"
#include "reactor/backend.h"
#include "reactor/kernel.h"
#include "reactor/net.h"
#include "reactor/sock.h"

enum {
    EVENTS_MAX = 256,
    LEASED_BYTES =
        4 * SOCK_READ_BYTES, /* so many may be referred to; what is read beyond is copied */
    MASK_OPEN = EPOLLIN | EPOLLRDHUP,
};

/* Not an enum: EPOLLET is the sign bit. */
static const uint32_t mask_quiet = EPOLLRDHUP | (uint32_t)EPOLLET;

LIST_DECLARE(io_list, struct io, link);

struct epoll_backend {
    struct backend base;
    const struct loop_sys *sys;
    int epfd;
    int event_count;
    struct io_list failing; /* io->error is to be told */
    struct io_list closed;  /* released is to be told */
    struct epoll_event events[EVENTS_MAX];
    struct lease lease; /* of all that is referred to in `in` */
    size_t in_at;       /* behind that */
    char in[LEASED_BYTES + SOCK_READ_BYTES];
};

/* Where the kernel is too old for it, or a sandbox forbids it, timers are due in the next whole
 * millisecond. */
static int wait_exactly(int epfd, struct epoll_event *events, int max,
                        const struct timespec *timeout)
{
    int count = epoll_pwait2(epfd, events, max, timeout, NULL);
    int timeout_ms = -1;

    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
        return count;
    }
    if (timeout != NULL) {
        timeout_ms = timeout->tv_sec >= INT_MAX / 1000
                         ? INT_MAX
                         : (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000);
    }
    return epoll_wait(epfd, events, max, timeout_ms);
}

const struct loop_sys loop_sys_real = {
    .recv = recv,
    .sendmsg = sendmsg,
    .accept4 = accept4,
    .connect = connect,
    .epoll_wait = wait_exactly,
};

static struct epoll_backend *epoll_of(struct backend *b)
{
    return (struct epoll_backend *)(void *)b;
}

static void on_lease_over(struct lease *l)
{
    struct epoll_backend *e =
        (struct epoll_backend *)(void *)((char *)l - offsetof(struct epoll_backend, lease));

    e->in_at = 0;
}

static struct backend *epoll_create_backend(const struct loop_sys *sys)
{
    struct epoll_backend *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        return NULL;
    }
    e->base.ops = &backend_epoll;
    e->lease.over = on_lease_over;
    e->sys = sys;
    e->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epfd < 0) {
        free(e);
        return NULL;
    }
    return &e->base;
}

static void epoll_destroy(struct backend *b)
{
    struct epoll_backend *e = epoll_of(b);

    (void)close(e->epfd); /* nothing was written */
    free(e);
}

/* --- masks
 * ---------------------------------------------------------------------------------------- */

static int control(struct epoll_backend *e, struct io *io, int op, uint32_t mask)
{
    struct epoll_event ev = {.events = mask, .data.ptr = io};

    if (epoll_ctl(e->epfd, op, io->fd, &ev) < 0) {
        return -errno;
    }
    io->mask = mask;
    return 0;
}

/* Brings the kernel's mask up to what the stream's state asks for. With EPOLLET it is always set
 * anew, which makes the kernel look again. */
static void update_mask(struct epoll_backend *e, struct io *io)
{
    uint32_t mask = io->receiving && !io->got_end ? (uint32_t)MASK_OPEN : mask_quiet;

    if (io->told_failed) {
        return;
    }
    if (io->send_blocked || io->connecting) {
        mask |= EPOLLOUT;
    }
    if (mask != io->mask || (mask & (uint32_t)EPOLLET) != 0) {
        int rv = control(e, io, EPOLL_CTL_MOD, mask);

        ASSERT(rv == 0); /* changing a mask takes no memory */
    }
}

static void queue_failure(struct epoll_backend *e, struct io *io, int error)
{
    if (io->error == 0 && !io->told_failed) {
        io->error = error;
        io_list_push(&e->failing, io);
    }
}

static void tell_failed(struct epoll_backend *e, struct io *io, int error)
{
    if (io->told_failed) {
        return;
    }
    if (io->error != 0) {
        io_list_remove(&e->failing, io);
        io->error = 0;
    }
    io->told_failed = true;
    io->ops->failed(io, error);
    if (io->fd >= 0) {
        /* Not closed at once: without this a hang-up would wake the loop until it is. */
        (void)epoll_ctl(e->epfd, EPOLL_CTL_DEL, io->fd, NULL); /* it is there */
    }
}

static bool is_gone(const struct io *io)
{
    return io->fd < 0 || io->told_failed;
}

/* --- events
 * --------------------------------------------------------------------------------------- */

/* Of the bytes read at `in_at`; all that is referred to goes by the end of the turn, when it was
 * written, or copied where the kernel had no room. */
static void hand_over(struct epoll_backend *e, struct io *io, size_t n)
{
    struct slice in = slice_of(e->in + e->in_at, n);

    if (e->in_at + n > LEASED_BYTES) {
        backend_hand_over(&e->base, io, in, NULL);
        return;
    }
    e->in_at += n;
    backend_hand_over(&e->base, io, in, &e->lease);
}

/* Reads until a short read, `to_end` until the end or an error; true when there is no more for now.
 */
static bool receive(struct epoll_backend *e, struct io *io, bool to_end)
{
    size_t budget = SOCK_TURN_BYTES;

    while (io->fd >= 0 && io->receiving && !io->got_end) {
        size_t most = io->little ? SOCK_LITTLE_BYTES : SOCK_READ_BYTES;
        size_t wanted = budget < most ? budget : most;
        ssize_t n;

        if (budget == 0) {
            counter_add(COUNTER_READ_BUDGET_USED, 1);
            return false;
        }
        n = e->sys->recv(io->fd, e->in + e->in_at, wanted, 0);
        if (n > 0) {
            budget -= (size_t)n;
            hand_over(e, io, (size_t)n);
            if ((size_t)n < most && !to_end) {
                break;
            }
        } else if (n == 0) {
            io->got_end = true;
            io->ops->ended(io);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            tell_failed(e, io, io->error != 0 ? io->error : errno);
        }
        if (io->told_failed) {
            break;
        }
    }
    return true;
}

/* The first event of a connecting socket; false when it is not connected. */
static bool finish_connect(struct epoll_backend *e, struct io *io, uint32_t events)
{
    int error = 0;

    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) {
        return false;
    }
    io->connecting = false;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        error = net_error(io->fd);
    }
    if (error != 0) {
        tell_failed(e, io, error);
        return false;
    }
    io->ops->connected(io);
    return !is_gone(io);
}

static void stream_event(struct epoll_backend *e, struct io *io, uint32_t events)
{
    bool all_read = true;

    if (io->connecting && !finish_connect(e, io, events)) {
        return;
    }
    if (io->send_blocked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        io->send_blocked = false;
        io->ops->sent(io, 0);
        if (is_gone(io)) {
            return;
        }
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0 && io->error == 0) {
        all_read = receive(e, io, (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0);
        if (is_gone(io)) {
            return;
        }
    }
    if ((events & EPOLLERR) != 0 && all_read && io->error == 0) {
        int error = net_error(io->fd);

        if (error != 0) {
            tell_failed(e, io, error);
            return;
        }
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0 && !io->receiving && !io->got_end &&
        !io->told_hangup) {
        io->told_hangup = true;
        io->ops->hangup(io);
        if (is_gone(io)) {
            return;
        }
    }
    /* Only now: an EPOLLIN that came while stopped shows that masking it is worth a call. */
    if (!io->receiving || io->got_end || (io->mask & EPOLLOUT) != 0) {
        uint32_t mask = io->mask;

        if ((mask & (uint32_t)EPOLLET) == 0 || ((mask & EPOLLOUT) != 0 && !io->send_blocked)) {
            update_mask(e, io);
        }
    }
}

static void epoll_wait_events(struct backend *b, uint64_t timeout_us)
{
    struct epoll_backend *e = epoll_of(b);
    uint64_t us = e->failing.count > 0 ? 0 : timeout_us;
    struct timespec timeout = {
        .tv_sec = (time_t)(us / 1000000),
        .tv_nsec = (long)(us % 1000000) * 1000,
    };

    e->event_count =
        e->sys->epoll_wait(e->epfd, e->events, EVENTS_MAX, us == UINT64_MAX ? NULL : &timeout);
    if (e->event_count < 0) {
        ASSERT(errno == EINTR);
        e->event_count = 0;
    }
}

/* Hands over what had arrived before the connection broke, a turn's worth at a time, then tells. */
static void run_failing(struct epoll_backend *e)
{
    size_t count = e->failing.count;
    struct io *io;

    while (count-- > 0 && (io = io_list_first(&e->failing)) != NULL) {
        bool all_read = io->connecting || receive(e, io, true);

        if (is_gone(io)) {
            continue;
        }
        if (all_read) {
            tell_failed(e, io, io->error);
        } else {
            io_list_remove(&e->failing, io); /* the others first */
            io_list_push(&e->failing, io);
        }
    }
}

static void epoll_dispatch(struct backend *b)
{
    struct epoll_backend *e = epoll_of(b);

    run_failing(e);
    for (int i = 0; i < e->event_count; i++) {
        struct io *io = e->events[i].data.ptr;

        /* Closed by an earlier callback of this turn: its memory lasts until the sweep. */
        if (is_gone(io)) {
            continue;
        }
        switch (io->kind) {
        case IO_STREAM:
            stream_event(e, io, e->events[i].events);
            break;
        case IO_LISTENER:
            kernel_accept(e->sys, io);
            break;
        case IO_EVENT:
            io->ops->readable(io);
            break;
        }
    }
    e->event_count = 0;
}

static void epoll_sweep(struct backend *b)
{
    struct epoll_backend *e = epoll_of(b);
    struct io *io;

    while ((io = io_list_pop(&e->closed)) != NULL) {
        io->ops->released(io);
    }
}

/* --- calls
 * ---------------------------------------------------------------------------------------- */

static int epoll_open(struct backend *b, struct io *io)
{
    struct epoll_backend *e = epoll_of(b);
    int rv = net_set_nonblocking(io->fd);
    uint32_t mask = MASK_OPEN;

    if (io->kind != IO_STREAM) {
        mask = io->kind == IO_EVENT ? EPOLLIN : 0;
    }
    return rv < 0 ? rv : control(e, io, EPOLL_CTL_ADD, mask);
}

static int epoll_connect(struct backend *b, struct io *io, const struct addr *to)
{
    struct epoll_backend *e = epoll_of(b);
    int fd = net_socket(to->ss.ss_family);
    int rv;

    if (fd < 0) {
        return fd;
    }
    io->fd = fd;
    io->connecting = true;
    /* A signal does not stop it: EINTR means it goes on, as EINPROGRESS does. A unix socket is
     * connected at once, and says so as an event. */
    rv = e->sys->connect(fd, (const struct sockaddr *)&to->ss, to->len);
    if (rv < 0 && errno != EINPROGRESS && errno != EINTR) {
        queue_failure(e, io, errno);
        return 0;
    }
    /* Only now: before, the socket would count as hung up. */
    rv = control(e, io, EPOLL_CTL_ADD, MASK_OPEN | EPOLLOUT);
    if (rv < 0) {
        net_close(fd, false);
        io->fd = -1;
    }
    return rv;
}

static int epoll_listen(struct backend *b, struct io *io, const struct addr *at, struct addr *bound)
{
    struct epoll_backend *e = epoll_of(b);
    int rv;

    io->fd = net_listen(at, bound);
    if (io->fd < 0) {
        return io->fd;
    }
    rv = control(e, io, EPOLL_CTL_ADD, 0);
    if (rv < 0) {
        net_close(io->fd, false);
        io->fd = -1;
    }
    return rv;
}

static void epoll_recv_start(struct backend *b, struct io *io)
{
    struct epoll_backend *e = epoll_of(b);

    io->receiving = true;
    if (io->kind == IO_LISTENER) {
        (void)control(e, io, EPOLL_CTL_MOD, EPOLLIN); /* changing a mask takes no memory */
    } else if ((io->mask & (uint32_t)EPOLLET) != 0 && !io->got_end && io->fd >= 0) {
        update_mask(e, io);
    }
}

static void epoll_recv_stop(struct backend *b, struct io *io)
{
    io->receiving = false;
    if (io->kind == IO_LISTENER) {
        (void)control(epoll_of(b), io, EPOLL_CTL_MOD, 0);
    }
}

static void epoll_recv_changed(struct backend *b, struct io *io)
{
    (void)b; /* the next read asks */
    (void)io;
}

static ssize_t epoll_send(struct backend *b, struct io *io, const struct iovec *iov, int count)
{
    struct epoll_backend *e = epoll_of(b);
    struct msghdr msg = {.msg_iovlen = (size_t)count};
    size_t given = 0;
    ssize_t n;

    memcpy(&msg.msg_iov, &iov, sizeof(iov)); /* sendmsg does not write to it */
    for (int i = 0; i < count; i++) {
        given += iov[i].iov_len;
    }
    do {
        n = e->sys->sendmsg(io->fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        return -errno;
    }
    n = n < 0 ? 0 : n;
    if ((size_t)n < given) {
        io->send_blocked = true;
        update_mask(e, io);
    }
    return n;
}

static void epoll_fail(struct backend *b, struct io *io, int error)
{
    queue_failure(epoll_of(b), io, error);
}

static void epoll_close(struct backend *b, struct io *io, bool reset)
{
    struct epoll_backend *e = epoll_of(b);

    if (io->error != 0) {
        io_list_remove(&e->failing, io);
        io->error = 0;
    }
    /* Closing takes it out of the epoll set: nobody duplicates these descriptors. */
    net_close(io->fd, reset);
    io->fd = -1;
    io_list_push(&e->closed, io);
}

const struct backend_ops backend_epoll = {
    .name = "epoll",
    .gauge = COUNTER_LOOPS_EPOLL,
    .create = epoll_create_backend,
    .destroy = epoll_destroy,
    .clock_us = kernel_clock_us,
    .wall_us = kernel_wall_us,
    .wait = epoll_wait_events,
    .dispatch = epoll_dispatch,
    .sweep = epoll_sweep,
    .open = epoll_open,
    .connect = epoll_connect,
    .listen = epoll_listen,
    .recv_start = epoll_recv_start,
    .recv_stop = epoll_recv_stop,
    .recv_changed = epoll_recv_changed,
    .send = epoll_send,
    .send_is_over = true,
    .unacked = kernel_unacked,
    .shutdown = kernel_shutdown,
    .fail = epoll_fail,
    .close = epoll_close,
};
