/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that follow from an io's state, and those that write and connect. A write is made at
 * once, by a call, unless many sockets are written in a row: a request costs less than a call then,
 * but it comes back as a completion, for which a loop that would sleep must turn once more. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "reactor/kernel.h"
#include "reactor/net.h"
#include "reactor/uring_internal.h"

/* --- what should be armed -----------------------------------------------------------------------
 */

/* False: no entry is free. */
static bool arm_poll(struct uring_backend *u, struct io *io, enum uring_op op, unsigned mask)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_poll_add(sqe, io->fd, mask);
    uring_arm(u, io, op, sqe);
    return true;
}

static bool cancel(struct uring_backend *u, struct io *io, enum uring_op op)
{
    struct io_uring_sqe *sqe;

    if (!uring_is_armed(io, op) || (io->cancelling & 1U << op) != 0) {
        return true;
    }
    sqe = uring_sqe(u);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)io | op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, URING_CANCELLED);
    io->cancelling |= (uint8_t)(1U << op);
    return true;
}

static bool cancel_all(struct uring_backend *u, struct io *io)
{
    bool done = true;

    for (unsigned op = 0; op < URING_OP_MASK && done; op++) {
        done = cancel(u, io, op);
    }
    return done;
}

static bool arm_recv(struct uring_backend *u, struct io *io)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    if (sqe == NULL) {
        return false;
    }
    io->one_by_one = io->little;
    if (io->little) { /* as much as a buffer has, when there is something */
        io_uring_prep_recv(sqe, io->fd, NULL, 0, 0);
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    } else {
        io_uring_prep_recv_multishot(sqe, io->fd, NULL, 0, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    uring_arm(u, io, URING_RECV, sqe);
    return true;
}

static bool sync_recv(struct uring_backend *u, struct io *io)
{
    bool wanted = io->receiving && io->held == NULL && !io->fin && io->error == 0;
    bool too_much = io->little && !io->one_by_one;

    if (wanted && !uring_is_armed(io, URING_RECV)) {
        return arm_recv(u, io);
    }
    return io->held == NULL && io->error == 0 && !too_much ? true : cancel(u, io, URING_RECV);
}

/* While nothing is received somebody else must notice that the peer leaves, and after its FIN that
 * the connection breaks. Of many shots: the FIN stays there, and would be told again and again. */
static bool sync_hup(struct uring_backend *u, struct io *io)
{
    struct io_uring_sqe *sqe;

    if (io->error != 0 || uring_is_armed(io, URING_POLL_HUP) || uring_is_armed(io, URING_RECV)) {
        return true;
    }
    sqe = uring_sqe(u);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_poll_multishot(sqe, io->fd, POLLRDHUP);
    uring_arm(u, io, URING_POLL_HUP, sqe);
    return true;
}

static bool sync_stream(struct uring_backend *u, struct io *io)
{
    if (io->told_failed) {
        return cancel_all(u, io);
    }
    if (io->connecting) {
        return true;
    }
    return sync_recv(u, io) && sync_hup(u, io) &&
           (!io->send_blocked || uring_is_armed(io, URING_POLL_OUT) ||
            arm_poll(u, io, URING_POLL_OUT, POLLOUT));
}

/* An accept of many shots takes all that wait: when they could use up the descriptors, which are
 * not all for them, they are taken one by one. */
static bool has_room(const struct uring_backend *u, const struct io *io)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           limit.rlim_cur / 2 > (rlim_t)io->fd + u->uring->completions;
}

static bool sync_listener(struct uring_backend *u, struct io *io)
{
    struct io_uring_sqe *sqe;

    if (!io->receiving) {
        return cancel(u, io, URING_ACCEPT);
    }
    if (uring_is_armed(io, URING_ACCEPT)) {
        return true;
    }
    io->one_by_one = !has_room(u, io);
    if (io->one_by_one) {
        return arm_poll(u, io, URING_ACCEPT, POLLIN);
    }
    sqe = uring_sqe(u);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_multishot_accept(sqe, io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    uring_arm(u, io, URING_ACCEPT, sqe);
    return true;
}

static bool sync_io(struct uring_backend *u, struct io *io)
{
    if (io->fd < 0) {
        return cancel_all(u, io);
    }
    switch (io->kind) {
    case IO_STREAM:
        return sync_stream(u, io);
    case IO_LISTENER:
        return sync_listener(u, io);
    case IO_EVENT:
        return uring_is_armed(io, URING_POLL_IN) || arm_poll(u, io, URING_POLL_IN, POLLIN);
    }
    return true;
}

void uring_sync(struct uring_backend *u)
{
    struct io *io;

    while ((io = uring_sync_list_first(&u->sync)) != NULL && sync_io(u, io)) {
        uring_sync_list_remove(&u->sync, io);
    }
}

/* --- accepting ----------------------------------------------------------------------------------
 */

static void accepted(struct uring_backend *u, struct io *io, int fd)
{
    struct addr peer;

    if (io->fd < 0) {
        net_close(fd, false); /* nobody listens any more */
        return;
    }
    if (!has_room(u, io)) {
        (void)cancel(u, io, URING_ACCEPT); /* the limit was lowered, or is near */
    }
    net_peer(fd, &peer);
    io->ops->accepted(io, fd, &peer);
}

void uring_on_accept(struct uring_backend *u, struct io *io, int res)
{
    if (!uring_is_armed(io, URING_ACCEPT)) {
        uring_sync_later(u, io);
    }
    if (io->one_by_one) {
        kernel_accept(u->sys, io);
    } else if (res >= 0) {
        accepted(u, io, res);
    } else if (res != -ECANCELED && res != -EAGAIN && res != -EINTR && io->fd >= 0) {
        io->ops->accept_failed(io, -res);
    }
}

/* --- connecting and writing ---------------------------------------------------------------------
 */

int uring_connect(struct backend *b, struct io *io, const struct addr *to)
{
    struct uring_backend *u = uring_of(b);
    struct io_uring_sqe *sqe;
    struct addr *at;
    int fd = net_socket(to->ss.ss_family);

    if (fd < 0) {
        return fd;
    }
    if (u->connect_count == URING_CONNECTS && uring_is_ours(u)) {
        uring_submit(u);
    }
    sqe = u->connect_count == URING_CONNECTS ? NULL : uring_sqe(u);
    if (sqe == NULL) {
        net_close(fd, false);
        return -EAGAIN; /* the kernel has no memory for more requests */
    }
    io->fd = fd;
    io->connecting = true;
    at = &u->connects[u->connect_count++];
    *at = *to;
    io_uring_prep_connect(sqe, io->fd, (const struct sockaddr *)&at->ss, at->len);
    uring_arm(u, io, URING_CONNECT, sqe);
    return 0;
}

/* As a request, unless there is no room to keep it. */
static bool send_later(struct uring_backend *u, struct io *io, const struct iovec *iov, int count)
{
    struct io_uring_sqe *sqe;

    if (u->send_count == URING_SENDS || u->iov_count + (size_t)count > URING_IOVS) {
        return false;
    }
    sqe = io_uring_get_sqe(&u->ring);
    if (sqe == NULL) {
        return false;
    }
    if (count == 1) {
        io_uring_prep_send(sqe, io->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr *msg = &u->sends[u->send_count++];

        *msg = (struct msghdr){.msg_iov = &u->iovs[u->iov_count], .msg_iovlen = (size_t)count};
        memcpy(msg->msg_iov, iov, (size_t)count * sizeof(*iov));
        u->iov_count += (size_t)count;
        io_uring_prep_sendmsg(sqe, io->fd, msg, MSG_NOSIGNAL);
    }
    uring_arm(u, io, URING_SEND, sqe);
    return true;
}

ssize_t uring_send(struct backend *b, struct io *io, const struct iovec *iov, int count)
{
    struct uring_backend *u = uring_of(b);
    struct msghdr msg = {.msg_iovlen = (size_t)count};
    size_t given = 0;
    ssize_t n;

    if (u->wakes_queued && !b->batching) {
        uring_send_wakes(u); /* whoever reads this finds that the other loops were told */
    }
    if (b->batching && send_later(u, io, iov, count)) {
        return 0;
    }
    memcpy(&msg.msg_iov, &iov, sizeof(iov)); /* sendmsg does not write to it */
    for (int i = 0; i < count; i++) {
        given += iov[i].iov_len;
    }
    do {
        n = u->sys->sendmsg(io->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        return -errno;
    }
    n = n < 0 ? 0 : n;
    if ((size_t)n < given) {
        io->send_blocked = true;
        uring_sync_later(u, io);
    }
    return n;
}
