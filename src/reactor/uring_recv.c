/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives on a stream. The kernel picks a buffer for each piece; it goes back when the
 * callback returns, or, where output refers to it, when that is written. Such a write may be under
 * way until the next turn, or, to a slow reader, for long: then too it is one that is kept.
 * Receiving that was stopped stays armed until something does arrive: that is
 * kept, and told first when receiving goes on. The same when a socket has used up its share of a
 * turn. What is kept leaves half of the buffers to the others; beyond that it is copied. How much
 * that can be is bounded: the request is cancelled before the next wait. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "reactor/net.h"
#include "reactor/uring_internal.h"

enum { DRAIN_BYTES = 16 * 1024 };

static void free_held(struct uring_backend *u, struct uring_held *h)
{
    if (h >= u->held && h < u->held + u->uring->buffers) {
        u->held_buffers--;
        uring_give_back(u, (unsigned)(h - u->held));
    } else {
        free(h);
    }
}

void uring_on_lease_over(struct lease *l)
{
    struct uring_held *h = (struct uring_held *)(void *)l; /* its first member */

    free_held(h->uring, h);
}

void uring_drop_held(struct uring_backend *u, struct io *io)
{
    struct uring_held *h;

    while ((h = io->held) != NULL) {
        io->held = h->next;
        free_held(u, h);
    }
}

static void hold(struct uring_backend *u, struct io *io, unsigned id, uint32_t len)
{
    struct uring_held *h = &u->held[id];

    if (u->held_buffers >= u->lent / 2) {
        h = malloc(sizeof(*h) + len);
        if (h != NULL) {
            h->data = (char *)(h + 1);
            memcpy(h->data, u->held[id].data, len);
        }
        uring_give_back(u, id);
        if (h == NULL) {
            uring_queue_failure(u, io, ENOMEM);
            return;
        }
    } else {
        u->held_buffers++;
    }
    h->len = len;
    h->next = NULL;
    if (io->held == NULL) {
        io->held_last = &io->held;
    }
    *io->held_last = h;
    io->held_last = &h->next;
    uring_sync_later(u, io);
}

/* Whether the socket may have so many more bytes in this turn. */
static bool take_share(struct uring_backend *u, struct io *io, uint32_t len)
{
    if (io->turn != u->turn) {
        io->turn = u->turn;
        io->turn_bytes = 0;
    }
    if (io->turn_bytes + len > SOCK_TURN_BYTES) {
        counter_add(COUNTER_READ_BUDGET_USED, 1);
        return false;
    }
    io->turn_bytes += len;
    return true;
}

static void hand_over(struct uring_backend *u, struct io *io, unsigned id, uint32_t len)
{
    struct slice in = slice_of(u->held[id].data, len);

    if (u->held_buffers >= u->lent / 2) {
        uring_lend_more(u);
    }
    if (u->held_buffers >= u->lent / 2) {
        backend_hand_over(&u->base, io, in, NULL);
        uring_give_back(u, id);
        return;
    }
    u->held_buffers++;
    backend_hand_over(&u->base, io, in, &u->held[id].lease);
}

static void on_bytes(struct uring_backend *u, struct io *io, unsigned id, uint32_t len)
{
    if (uring_is_gone(io) || io->fin) {
        uring_give_back(u, id);
    } else if (!io->receiving || io->held != NULL) {
        hold(u, io, id, len);
    } else if (!take_share(u, io, len)) {
        hold(u, io, id, len);
        uring_tell_later(u, io);
    } else {
        hand_over(u, io, id, len);
    }
}

static void tell_hangup(struct io *io)
{
    if (!io->told_hangup) {
        io->told_hangup = true;
        io->ops->hangup(io);
    }
}

static void on_fin(struct uring_backend *u, struct io *io)
{
    io->fin = true;
    if (!io->receiving) {
        tell_hangup(io);
    } else if (io->held != NULL || io->error != 0) {
        uring_tell_later(u, io);
    } else {
        io->got_end = true;
        io->ops->ended(io);
    }
}

void uring_on_recv(struct uring_backend *u, struct io *io, const struct io_uring_cqe *c)
{
    bool has_buffer = (c->flags & IORING_CQE_F_BUFFER) != 0;
    unsigned id = c->flags >> IORING_CQE_BUFFER_SHIFT;

    if (has_buffer && c->res > 0) {
        on_bytes(u, io, id, (uint32_t)c->res);
    } else if (has_buffer) {
        uring_give_back(u, id);
    }
    if (!uring_is_gone(io)) {
        if (c->res == 0) {
            on_fin(u, io);
        } else if (c->res == -ENOBUFS) {
            counter_add(COUNTER_RECEIVE_BUFFERS_SHORT, 1);
            uring_lend_more(u); /* and others are given back before the turn ends */
        } else if (c->res < 0 && c->res != -ECANCELED && c->res != -EAGAIN && c->res != -EINTR) {
            io->fin = io->got_end = true; /* nothing is left to be read, and this is no end */
            uring_queue_failure(u, io, -c->res);
        }
    }
    if (!uring_is_armed(io, URING_RECV)) {
        uring_sync_later(u, io);
        if (io->error != 0) {
            uring_tell_later(u, io); /* it waited for this one */
        }
    }
}

void uring_on_hup(struct uring_backend *u, struct io *io, int revents)
{
    uring_sync_later(u, io);
    if (uring_is_gone(io) || revents < 0) {
        return;
    }
    /* Where receiving is armed and stays so, it tells the error, behind the bytes. */
    if ((revents & (POLLERR | POLLHUP)) != 0 &&
        (!uring_is_armed(io, URING_RECV) || (io->cancelling & 1U << URING_RECV) != 0)) {
        int error = net_error(io->fd);

        if (error != 0) {
            uring_queue_failure(u, io, error);
            return;
        }
    }
    if (!io->receiving && !io->fin) {
        tell_hangup(io);
    }
}

/* --- news that do not come from the kernel ------------------------------------------------------
 */

void uring_queue_failure(struct uring_backend *u, struct io *io, int error)
{
    if (io->error == 0 && !io->told_failed) {
        io->error = error;
        uring_tell_later(u, io);
        uring_sync_later(u, io);
    }
}

void uring_tell_failed(struct uring_backend *u, struct io *io, int error)
{
    if (uring_list_has(io)) {
        uring_list_remove(&u->news, io);
    }
    uring_drop_held(u, io);
    io->error = 0;
    io->told_failed = true;
    io->ops->failed(io, error);
}

static void tell_held(struct uring_backend *u, struct io *io)
{
    struct uring_held *h;

    while (!uring_is_gone(io) && io->receiving && (h = io->held) != NULL) {
        if (!take_share(u, io, h->len)) {
            uring_tell_later(u, io);
            return;
        }
        io->held = h->next;
        io->ops->received(io, slice_of(h->data, h->len));
        free_held(u, h);
    }
}

/* What the kernel still has of a connection that broke; false: more than a turn's share. */
static bool drain(struct uring_backend *u, struct io *io)
{
    char in[DRAIN_BYTES];

    while (!uring_is_gone(io) && io->receiving && !io->fin) {
        ssize_t n = u->sys->recv(io->fd, in, sizeof(in), MSG_DONTWAIT);

        if (n > 0) {
            io->ops->received(io, slice_of(in, (size_t)n));
            if (!take_share(u, io, (uint32_t)n)) {
                return false;
            }
        } else if (n == 0) {
            io->fin = io->got_end = true;
            io->ops->ended(io);
        } else if (errno != EINTR) {
            break;
        }
    }
    return true;
}

/* A broken connection is told as such behind what it had brought. */
static void run_failure(struct uring_backend *u, struct io *io)
{
    if (io->receiving && io->held != NULL) {
        return; /* on the list again */
    }
    if (uring_is_armed(io, URING_RECV) && io->receiving) {
        return; /* being cancelled; its last completion comes first */
    }
    if (!io->connecting && !drain(u, io)) {
        uring_tell_later(u, io);
    } else if (!uring_is_gone(io)) {
        uring_tell_failed(u, io, io->error);
    }
}

void uring_run_news(struct uring_backend *u)
{
    size_t count = u->news.count;
    struct io *io;

    while (count-- > 0 && (io = uring_list_pop(&u->news)) != NULL) {
        tell_held(u, io);
        if (!uring_is_gone(io) && io->fin && io->held == NULL && io->receiving && !io->got_end) {
            io->got_end = true;
            io->ops->ended(io);
        }
        if (!uring_is_gone(io) && io->error != 0) {
            run_failure(u, io);
        }
        if (!uring_is_gone(io)) {
            uring_sync_later(u, io);
        }
    }
}
