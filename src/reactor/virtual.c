/* SPDX-License-Identifier: Apache-2.0 */
/* The backend of virtual time: what a connection has for its io is told in dispatch, in the order
 * it came up. Bytes are handed over in memory of their own, so that who keeps them is caught. */
#include "reactor/virtual.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/counter.h"
#include "reactor/sock.h"
#include "reactor/virtual_internal.h"

#define WALL_START_US 1767225600000000U /* 2026-01-01 */

static struct virtual_backend *virtual_of(struct backend *b)
{
    return (struct virtual_backend *)(void *)b;
}

static struct backend *virtual_create(const struct loop_sys *sys)
{
    struct virtual_backend *v = xcalloc(1, sizeof(*v));
    struct virtual_backend **at;

    (void)sys; /* no system calls */
    v->base.ops = &backend_virtual;
    v->net = virtual_latest();
    ASSERT(v->net != NULL);
    for (at = &v->net->backends; *at != NULL; at = &(*at)->next) {
        continue;
    }
    *at = v;
    return &v->base;
}

static void release_all(struct virtual_backend *v)
{
    struct io *io;

    while ((io = virtual_io_list_pop(&v->closed)) != NULL) {
        io->ops->released(io);
    }
}

static void virtual_destroy(struct backend *b)
{
    struct virtual_backend *v = virtual_of(b);
    struct virtual_backend **at = &v->net->backends;

    release_all(v);
    while (*at != v) {
        at = &(*at)->next;
    }
    *at = v->next;
    free(v);
}

static uint64_t virtual_clock_us(struct backend *b)
{
    return virtual_of(b)->net->now_us;
}

static uint64_t virtual_wall_us(struct backend *b)
{
    return WALL_START_US + virtual_of(b)->net->now_us;
}

/* --- waiting */

/* The descriptors of mailbox and signals are real. That of the mailbox, the first, is never rung
 * (see virtual_wake). */
static bool look_at_events(struct virtual_backend *v)
{
    struct pollfd fds[VIRTUAL_EVENTS_MAX];

    if (v->event_count <= 1) {
        return false;
    }
    for (size_t i = 0; i < v->event_count; i++) {
        fds[i] = (struct pollfd){.fd = v->events[i]->fd, .events = POLLIN};
    }
    if (poll(fds, v->event_count, 0) <= 0) {
        return false;
    }
    for (size_t i = 0; i < v->event_count; i++) {
        v->rung[i] = fds[i].revents != 0;
    }
    return true;
}

static void virtual_wait(struct backend *b, uint64_t timeout_us)
{
    struct virtual_backend *v = virtual_of(b);
    struct virtual_net *net = v->net;
    bool rung = look_at_events(v) || b->woken;

    if (net->driven) {
        return;
    }
    virtual_advance(net, net->now_us);
    if (!rung && v->ready.count == 0 && v->closed.count == 0 && timeout_us > 0) {
        uint64_t limit = timeout_us == UINT64_MAX ? UINT64_MAX : net->now_us + timeout_us;
        uint64_t next = virtual_next_us(net);

        next = next < limit ? next : limit;
        ASSERT(next != UINT64_MAX); /* nothing will ever happen again */
        virtual_advance(net, next);
    }
}

/* --- telling */

static bool is_gone(const struct io *io)
{
    return io->fd < 0 || io->told_failed;
}

static void wake(struct virtual_backend *v, struct io *io)
{
    if (!virtual_io_list_has(io)) {
        virtual_io_list_push(&v->ready, io);
    }
}

static void tell_failed(struct virtual_backend *v, struct io *io, int error)
{
    io->told_failed = true;
    virtual_note(v->net, "failed", io->fd, (uint64_t)error, SLICE(""));
    io->ops->failed(io, error);
}

/* Its own memory, so that a sanitizer sees who looks at it for too long. */
struct handed {
    struct lease lease; /* the first, so that it is where it begins */
    char bytes[];
};

static void free_handed(struct lease *l)
{
    free(l);
}

static void hand_over(struct virtual_backend *v, struct io *io, struct virtual_conn *c, int side,
                      size_t n)
{
    struct slice in = buf_slice(&c->ends[side].in.bytes);
    struct handed *h = virtual_grow(NULL, sizeof(*h) + n, 1);
    struct slice bytes = slice_of(h->bytes, n);

    h->lease = (struct lease){.over = free_handed};
    memcpy(h->bytes, in.ptr, n);
    virtual_conn_handed(v->net, c, side, n);
    virtual_note(v->net, "received", io->fd, n, bytes);
    backend_hand_over(&v->base, io, bytes, &h->lease);
}

/* True when there is no more for now. */
static bool receive(struct virtual_backend *v, struct io *io, struct virtual_conn *c, int side)
{
    struct virtual_end *e = &c->ends[side];
    size_t budget = SOCK_TURN_BYTES;

    while (!is_gone(io) && io->receiving && e->in.arrived > e->in.handed) {
        size_t n = (size_t)(e->in.arrived - e->in.handed);
        size_t most = io->little ? SOCK_LITTLE_BYTES : SOCK_READ_BYTES;
        bool is_short = virtual_chance(v->net, v->net->profile.short_read);

        if (budget == 0) {
            counter_add(COUNTER_READ_BUDGET_USED, 1);
            wake(v, io);
            return false;
        }
        n = n < most ? n : most;
        n = n < budget ? n : budget;
        n = is_short ? virtual_draw_in(v->net, 1, n) : n;
        budget -= n;
        if (is_short && e->in.handed + n < e->in.arrived) {
            e->read_later = true;
            virtual_event_add(v->net, virtual_draw_in(v->net, 0, v->net->profile.jitter_us),
                              VIRTUAL_READ, c->id, side);
        }
        hand_over(v, io, c, side, n);
        if (is_gone(io) || e->read_later) {
            return false;
        }
    }
    return true;
}

static void finish_connect(struct virtual_backend *v, struct io *io, const struct virtual_end *e)
{
    if (e->connected) {
        io->connecting = false;
        virtual_note(v->net, "connected", io->fd, 0, SLICE(""));
        io->ops->connected(io);
    } else if (e->error != 0 || io->error != 0) {
        tell_failed(v, io, e->error != 0 ? e->error : io->error);
    }
}

static void tell_sent(struct virtual_backend *v, struct io *io, struct virtual_end *e)
{
    size_t n = e->sent_bytes;

    e->sent_due = false;
    e->sent_bytes = 0;
    io->send_blocked = io->send_kept = false;
    virtual_note(v->net, "sent", io->fd, n, SLICE(""));
    io->ops->sent(io, n);
}

/* What comes when all bytes are handed over, or nobody wants them. */
static void tell_end(struct virtual_backend *v, struct io *io, const struct virtual_end *e)
{
    bool all_handed = e->in.arrived == e->in.handed;

    if (io->receiving && e->in.fin_arrived && all_handed && !io->got_end) {
        io->got_end = true;
        virtual_note(v->net, "ended", io->fd, 0, SLICE(""));
        io->ops->ended(io);
    } else if (!io->receiving && e->in.fin_arrived && !io->got_end && !io->told_hangup) {
        io->told_hangup = true;
        virtual_note(v->net, "hangup", io->fd, 0, SLICE(""));
        io->ops->hangup(io);
    }
}

static void stream_event(struct virtual_backend *v, struct io *io)
{
    int side = 0;
    struct virtual_conn *c = virtual_conn_of(v->net, io->fd, &side);
    struct virtual_end *e = &c->ends[side];
    bool no_more = true;

    if (io->connecting) {
        finish_connect(v, io, e);
        if (is_gone(io) || io->connecting) {
            return;
        }
    }
    if (e->sent_due && io->error == 0 && e->error == 0) {
        tell_sent(v, io, e);
        if (is_gone(io)) {
            return;
        }
    }
    if (io->receiving && !e->read_later) {
        no_more = receive(v, io, c, side);
        if (is_gone(io)) {
            return;
        }
    }
    if ((io->error != 0 || e->error != 0) && (no_more || !io->receiving)) {
        tell_failed(v, io, io->error != 0 ? io->error : e->error);
    } else if (no_more && !e->read_later) {
        tell_end(v, io, e);
    }
}

static void virtual_dispatch(struct backend *b)
{
    struct virtual_backend *v = virtual_of(b);
    size_t count = v->ready.count;
    struct io *io;

    for (size_t i = 0; i < v->event_count; i++) {
        if (v->rung[i]) {
            v->rung[i] = false;
            v->events[i]->ops->readable(v->events[i]);
        }
    }
    while (count-- > 0 && (io = virtual_io_list_pop(&v->ready)) != NULL) {
        if (is_gone(io)) {
            continue;
        }
        if (io->kind == IO_LISTENER) {
            virtual_listener_event(v, io);
        } else {
            stream_event(v, io);
        }
    }
}

static void virtual_sweep(struct backend *b)
{
    struct virtual_backend *v = virtual_of(b);
    size_t count = v->closed.count;
    struct io *io;

    while (count-- > 0 && (io = virtual_io_list_pop(&v->closed)) != NULL) {
        if (io->kind == IO_STREAM && virtual_chance(v->net, v->net->profile.late_release)) {
            virtual_io_list_push(&v->closed, io);
        } else {
            io->ops->released(io);
        }
    }
}

/* --- calls */

static int virtual_open(struct backend *b, struct io *io)
{
    struct virtual_backend *v = virtual_of(b);
    int side = 0;
    struct virtual_conn *c;

    if (io->kind == IO_EVENT) {
        ASSERT(v->event_count < VIRTUAL_EVENTS_MAX);
        v->events[v->event_count++] = io;
        return 0;
    }
    c = virtual_conn_of(v->net, io->fd, &side);
    if (c == NULL || c->ends[side].state != VIRTUAL_WAITING) {
        return -EBADF;
    }
    c->ends[side].state = VIRTUAL_OPEN;
    c->ends[side].io = io;
    c->ends[side].backend = v;
    return 0;
}

static int virtual_connect(struct backend *b, struct io *io, const struct addr *to)
{
    struct virtual_backend *v = virtual_of(b);
    struct virtual_conn *c;

    if (virtual_chance(v->net, v->net->profile.no_socket)) {
        return -EMFILE;
    }
    c = virtual_conn_new(v->net, to);
    c->ends[0].state = VIRTUAL_OPEN;
    c->ends[0].io = io;
    c->ends[0].backend = v;
    v->net->open++;
    io->fd = virtual_conn_fd(c, 0);
    io->connecting = true;
    virtual_event_add(v->net, c->latency_us, VIRTUAL_SYN, c->id, 1);
    return 0;
}

static int virtual_listen(struct backend *b, struct io *io, const struct addr *at,
                          struct addr *bound)
{
    return virtual_listener_open(virtual_of(b), io, at, bound);
}

static void virtual_recv_start(struct backend *b, struct io *io)
{
    io->receiving = true;
    if (io->fd >= 0) {
        wake(virtual_of(b), io); /* to see what is there already */
    }
}

static void virtual_recv_stop(struct backend *b, struct io *io)
{
    io->receiving = false;
    if (io->fd >= 0) {
        wake(virtual_of(b), io); /* a FIN may be there to tell of */
    }
}

static void virtual_recv_changed(struct backend *b, struct io *io)
{
    (void)b; /* the next read asks */
    (void)io;
}

static ssize_t virtual_send(struct backend *b, struct io *io, const struct iovec *iov, int count)
{
    struct virtual_net *net = virtual_of(b)->net;
    int side = 0;
    struct virtual_conn *c = virtual_conn_of(net, io->fd, &side);

    ASSERT(!io->send_blocked && !io->connecting);
    return virtual_conn_send(net, c, side, iov, count);
}

static size_t virtual_unacked(struct backend *b, const struct io *io)
{
    int side = 0;
    const struct virtual_conn *c = virtual_conn_of(virtual_of(b)->net, io->fd, &side);
    const struct virtual_pipe *in = &c->ends[1 - side].in;

    return (size_t)(in->taken - (c->is_unix ? in->handed : in->arrived));
}

static void virtual_shutdown(struct backend *b, struct io *io)
{
    struct virtual_net *net = virtual_of(b)->net;
    int side = 0;
    struct virtual_conn *c = virtual_conn_of(net, io->fd, &side);

    virtual_conn_fin(net, c, side);
}

static void virtual_fail(struct backend *b, struct io *io, int error)
{
    if (io->error == 0 && !io->told_failed) {
        io->error = error;
        wake(virtual_of(b), io);
    }
}

static void forget_event(struct virtual_backend *v, const struct io *io)
{
    for (size_t i = 0; i < v->event_count; i++) {
        if (v->events[i] == io) {
            v->event_count--;
            v->events[i] = v->events[v->event_count];
            v->rung[i] = v->rung[v->event_count];
            v->rung[v->event_count] = false;
            return;
        }
    }
}

static void virtual_close(struct backend *b, struct io *io, bool reset)
{
    struct virtual_backend *v = virtual_of(b);
    int side = 0;

    if (virtual_io_list_has(io)) {
        virtual_io_list_remove(&v->ready, io);
    }
    if (io->kind == IO_EVENT) {
        forget_event(v, io);
        (void)close(io->fd); /* nothing was written */
    } else if (io->kind == IO_LISTENER) {
        virtual_listener_close(v->net, io);
    } else {
        struct virtual_conn *c = virtual_conn_of(v->net, io->fd, &side);

        virtual_note(v->net, "close", io->fd, reset, SLICE(""));
        virtual_conn_close(v->net, c, side, reset);
    }
    io->fd = -1;
    virtual_io_list_push(&v->closed, io);
}

static bool virtual_wake(struct backend *b, struct backend *by)
{
    (void)by; /* of this thread, as all of them are */
    b->woken = true;
    return true;
}

static void virtual_drop(struct backend *b, int fd)
{
    struct virtual_net *net = virtual_of(b)->net;
    int side = 0;
    struct virtual_conn *c = virtual_conn_of(net, fd, &side);

    if (c != NULL && c->ends[side].state == VIRTUAL_WAITING) {
        virtual_conn_close(net, c, side, false);
    }
}

static uint64_t virtual_offload_us(struct backend *b)
{
    struct virtual_net *net = virtual_of(b)->net;

    return virtual_draw_in(net, 0, net->profile.offload_max_us);
}

const struct backend_ops backend_virtual = {
    .name = "virtual",
    .create = virtual_create,
    .destroy = virtual_destroy,
    .clock_us = virtual_clock_us,
    .wall_us = virtual_wall_us,
    .wait = virtual_wait,
    .dispatch = virtual_dispatch,
    .sweep = virtual_sweep,
    .open = virtual_open,
    .connect = virtual_connect,
    .listen = virtual_listen,
    .recv_start = virtual_recv_start,
    .recv_stop = virtual_recv_stop,
    .recv_changed = virtual_recv_changed,
    .send = virtual_send,
    .unacked = virtual_unacked,
    .shutdown = virtual_shutdown,
    .fail = virtual_fail,
    .close = virtual_close,
    .wake = virtual_wake,
    .drop = virtual_drop,
    .offload_us = virtual_offload_us,
};
