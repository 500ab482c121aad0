/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring backend: one io_uring_enter per turn hands over what is to be armed, cancelled and
 * written, and takes the completions. Receiving and accepting stay armed over many of them. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "reactor/kernel.h"
#include "reactor/net.h"
#include "reactor/uring_internal.h"

enum { END_WAIT_US = 100 * 1000, END_WAITS = 50 };

static struct backend *uring_create(const struct loop_sys *sys)
{
    char why[URING_WHY_MAX];
    struct uring_backend *u = uring_open(sys, why);

    return u == NULL ? NULL : &u->base;
}

/* --- the turn -----------------------------------------------------------------------------------
 */

static void uring_wait(struct backend *b, uint64_t timeout_us)
{
    struct uring_backend *u = uring_of(b);
    int rv;

    uring_sync(u);
    uring_wake_again(u);
    if (u->news.count > 0 || u->sync.count > 0 || u->wakes_owed > 0 || b->woken ||
        io_uring_cq_ready(&u->ring) > 0) {
        timeout_us = 0;
    }
    rv = uring_enter(u, uring_wait_limit(u, timeout_us));
    if (rv == -EBADR) {
        /* The kernel had no memory to keep what did not fit into the queue. Those whose completions
         * are lost have time limits. */
        LOG_ERROR("completions_lost", "reason=out_of_memory");
    } else {
        /* Busy and out of memory: completions are to be read first, what is queued stays. */
        ASSERT(rv >= 0 || rv == -ETIME || rv == -EINTR || rv == -EAGAIN || rv == -EBUSY ||
               rv == -ENOMEM);
    }
    u->turn++;
}

static void on_send(struct uring_backend *u, struct io *io, int res)
{
    if (uring_is_gone(io)) {
        return;
    }
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        uring_queue_failure(u, io, -res);
    } else {
        io->ops->sent(io, res < 0 ? 0 : (size_t)res);
    }
}

static void on_connect(struct uring_backend *u, struct io *io, int res)
{
    if (uring_is_gone(io)) {
        return;
    }
    uring_sync_later(u, io);
    if (res < 0) {
        uring_tell_failed(u, io, io->error != 0 ? io->error : -res);
        return;
    }
    io->connecting = false;
    io->ops->connected(io);
}

static void on_poll_out(struct io *io)
{
    if (!uring_is_gone(io) && io->send_blocked) {
        io->send_blocked = false;
        io->ops->sent(io, 0);
    }
}

static void on_special(struct uring_backend *u, const struct io_uring_cqe *c)
{
    if (c->user_data == URING_WAKE) {
        u->base.woken = true;
    } else if (c->user_data == URING_ALARM) {
        u->alarm_us = UINT64_MAX;
    } else if ((c->user_data & 0xff) == (URING_WAKE_FAILED & 0xff)) {
        uring_on_wake_failed(u, c);
    }
}

static void complete(struct uring_backend *u, const struct io_uring_cqe *c)
{
    struct io *io = (struct io *)(uintptr_t)(c->user_data & ~(uint64_t)URING_OP_MASK);
    enum uring_op op = (enum uring_op)(c->user_data & URING_OP_MASK);
    bool was_closed = io->fd < 0;

    if ((c->flags & IORING_CQE_F_MORE) == 0) {
        io->armed &= (uint8_t) ~(1U << op);
        io->cancelling &= (uint8_t) ~(1U << op);
        u->in_flight--;
    }
    switch (op) {
    case URING_RECV:
        uring_on_recv(u, io, c);
        break;
    case URING_SEND:
        on_send(u, io, c->res);
        break;
    case URING_CONNECT:
        on_connect(u, io, c->res);
        break;
    case URING_ACCEPT:
        uring_on_accept(u, io, c->res);
        break;
    case URING_POLL_IN:
        uring_sync_later(u, io);
        if (io->fd >= 0 && c->res > 0) {
            io->ops->readable(io);
        }
        break;
    case URING_POLL_OUT:
        on_poll_out(io);
        break;
    case URING_POLL_HUP:
        uring_on_hup(u, io, c->res);
        break;
    }
    if (io->fd < 0 && io->armed == 0) {
        if (uring_sync_list_has(io)) {
            uring_sync_list_remove(&u->sync, io);
        }
        if (was_closed) {
            uring_list_remove(&u->dying, io);
            uring_list_push(&u->closed, io);
        }
    }
}

static void uring_dispatch(struct backend *b)
{
    struct uring_backend *u = uring_of(b);
    unsigned count = io_uring_cq_ready(&u->ring);

    uring_run_news(u);
    for (unsigned i = 0; i < count; i++) {
        const struct io_uring_cq *cq = &u->ring.cq;
        struct io_uring_cqe c = cq->cqes[*cq->khead & cq->ring_mask];

        io_uring_cq_advance(&u->ring, 1);
        if (u->uring->result != NULL) {
            c.res = u->uring->result(c.user_data, c.res);
        }
        if ((c.user_data & URING_SPECIAL) != 0) {
            on_special(u, &c);
        } else {
            complete(u, &c);
        }
    }
}

static void uring_sweep(struct backend *b)
{
    struct uring_backend *u = uring_of(b);
    struct io *io;

    uring_send_wakes(u); /* others wait, and this may be the last turn */
    while ((io = uring_list_pop(&u->closed)) != NULL) {
        io->ops->released(io);
    }
}

/* All were closed: waits until the kernel has let go. Where another thread ran the loop it has
 * ended, and with it what it had in the kernel. */
static void uring_destroy(struct backend *b)
{
    struct uring_backend *u = uring_of(b);
    struct io *io;

    for (int i = 0; i < END_WAITS && (u->in_flight > 0 || u->wakes_owed > 0) && uring_is_ours(u);
         i++) {
        uring_sync(u);
        uring_wake_again(u);
        (void)uring_enter(u, END_WAIT_US);
        uring_dispatch(b);
    }
    while ((io = uring_list_pop(&u->dying)) != NULL) {
        uring_list_push(&u->closed, io);
    }
    u->wakes_queued = false;
    uring_sweep(b);
    uring_free(u);
}

/* --- what it is asked ---------------------------------------------------------------------------
 */

static int uring_open_io(struct backend *b, struct io *io)
{
    struct stat st;

    if (io->kind == IO_STREAM) {
        int rv = net_set_nonblocking(io->fd);

        if (rv < 0) {
            return rv;
        }
        if (fstat(io->fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
            return -EPERM; /* as epoll says it */
        }
    }
    uring_sync_later(uring_of(b), io);
    return 0;
}

static int uring_listen(struct backend *b, struct io *io, const struct addr *at, struct addr *bound)
{
    (void)b;
    io->fd = net_listen(at, bound);
    return io->fd < 0 ? io->fd : 0;
}

static void uring_recv_start(struct backend *b, struct io *io)
{
    struct uring_backend *u = uring_of(b);

    io->receiving = true;
    if (io->kind == IO_STREAM && (io->held != NULL || (io->fin && !io->got_end))) {
        uring_tell_later(u, io);
    } else if (!uring_is_armed(io, URING_RECV)) {
        uring_sync_later(u, io);
    }
}

static void uring_recv_stop(struct backend *b, struct io *io)
{
    io->receiving = false;
    if (!uring_is_armed(io, URING_RECV)) {
        uring_sync_later(uring_of(b), io);
    }
}

/* What is armed for the other way of receiving is replaced, in time. */
static void uring_recv_changed(struct backend *b, struct io *io)
{
    if (io->little && uring_is_armed(io, URING_RECV) && !io->one_by_one) {
        uring_sync_later(uring_of(b), io);
    }
}

static void uring_fail(struct backend *b, struct io *io, int error)
{
    uring_queue_failure(uring_of(b), io, error);
}

static void uring_close(struct backend *b, struct io *io, bool reset)
{
    struct uring_backend *u = uring_of(b);

    if (uring_list_has(io)) {
        uring_list_remove(&u->news, io);
    }
    uring_drop_held(u, io);
    if (uring_is_armed(io, URING_SEND) && io_uring_sq_ready(&u->ring) > 0 && uring_is_ours(u)) {
        uring_submit(u); /* what was taken is at least tried, as a call would have */
    }
    /* The peer hears of it when the requests that still hold the socket are cancelled. */
    net_close(io->fd, reset);
    io->fd = -1;
    if (io->armed == 0) {
        if (uring_sync_list_has(io)) {
            uring_sync_list_remove(&u->sync, io);
        }
        uring_list_push(&u->closed, io);
    } else {
        uring_list_push(&u->dying, io);
        uring_sync_later(u, io);
    }
}

const struct backend_ops backend_uring = {
    .name = "io_uring",
    .gauge = COUNTER_LOOPS_URING,
    .create = uring_create,
    .destroy = uring_destroy,
    .clock_us = kernel_clock_us,
    .wall_us = kernel_wall_us,
    .wait = uring_wait,
    .dispatch = uring_dispatch,
    .sweep = uring_sweep,
    .open = uring_open_io,
    .connect = uring_connect,
    .listen = uring_listen,
    .recv_start = uring_recv_start,
    .recv_stop = uring_recv_stop,
    .recv_changed = uring_recv_changed,
    .send = uring_send,
    .unacked = kernel_unacked,
    .shutdown = kernel_shutdown,
    .fail = uring_fail,
    .close = uring_close,
    .wake = uring_wake,
};
