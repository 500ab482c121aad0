/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop asks of the kernel, and what it is told, by backend: epoll.c, uring*.c, virtual*.c.
 * The contract is that of a completion backend, "these bytes arrived", "that much of the writev was
 * taken", which a readiness backend fulfils by making the call itself. Private to src/reactor and
 * its tests; all on the loop's thread.
 *
 * A backend tells through io_ops, only from `dispatch` and (released) from `sweep` and
 * `destroy`. */
#ifndef MCP_REACTOR_BACKEND_H
#define MCP_REACTOR_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/slice.h"
#include "reactor/addr.h"
#include "reactor/lease.h"

struct epoll_event;
struct io;
struct loop;
struct timespec;
struct uring_held;
struct uring_sys;

enum io_kind {
    IO_STREAM,   /* connected, or connecting */
    IO_LISTENER, /* told: accepted, accept_failed */
    IO_EVENT,    /* an eventfd or signalfd; told: readable, until it was read */
};

struct io_ops {
    void (*connected)(struct io *io);
    /* Borrowed until it returns. Never after recv_stop: what a completion backend receives
     * meanwhile it keeps. */
    void (*received)(struct io *io, struct slice in);
    /* The peer's FIN, behind the last byte. Once. */
    void (*ended)(struct io *io);
    /* The peer's FIN is there, but receiving is stopped and bytes may be left. Once; `ended`
     * follows. */
    void (*hangup)(struct io *io);
    /* After a `send` that took less than it was given: `taken` more bytes of that call are gone (0
     * on a readiness backend), send again. */
    void (*sent)(struct io *io, size_t taken);
    /* Broken, errno. Nothing follows but released. */
    void (*failed)(struct io *io, int error);
    void (*accepted)(struct io *io, int fd, const struct addr *peer);
    void (*accept_failed)(struct io *io, int error);
    void (*readable)(struct io *io);
    /* After `close`: the kernel holds nothing of it any more, its memory (and what was being sent)
     * may go. */
    void (*released)(struct io *io);
};

/* One descriptor, embedded in its owner, who sets the first three. The rest is the backend's. */
struct io {
    const struct io_ops *ops;
    enum io_kind kind;
    int fd; /* -1: closed, or not yet made by connect or listen */

    struct list_link
        link; /* on the backend's list of those with news not from the kernel, or closed */
    uint32_t mask;
    int error; /* to be told as failed */
    bool receiving;
    bool little; /* at most SOCK_LITTLE_BYTES are received at a time, and nothing ahead */
    bool connecting;
    bool send_blocked; /* what a send did not take waits for room, where the sender has it, */
    bool send_kept;    /* or, with this, under way */
    bool got_end;
    bool told_hangup;
    bool told_failed;

    /* io_uring's */
    struct list_link sync_link; /* on the list of those that may need arming or cancelling */
    struct uring_held *held;    /* received while nobody wanted it; the first */
    struct uring_held **held_last;
    uint32_t turn;       /* the last one in which it received, */
    uint32_t turn_bytes; /* and how much */
    uint8_t armed;       /* a bit for each operation that the kernel has */
    uint8_t cancelling;
    bool fin;        /* the kernel has reported the end of the input */
    bool one_by_one; /* what is armed on a listener is a poll, on a stream to receive once */
};

struct backend {
    const struct backend_ops *ops;
    /* Set while many sockets are written in a row: what `send` takes may wait for the others. */
    bool batching;
    size_t batch_min; /* from how many sockets on in one flush it is so */
    /* `wake` came. */
    bool woken;
    /* What is being handed over, where a lease goes with it. */
    struct leased in;
};

/* Tells `received`; without a lease the bytes go when this returns. */
static inline void backend_hand_over(struct backend *b, struct io *io, struct slice bytes,
                                     struct lease *lease)
{
    if (lease == NULL) {
        io->ops->received(io, bytes);
        return;
    }
    b->in = (struct leased){bytes, lease};
    lease_take(lease);
    io->ops->received(io, bytes);
    b->in.lease = NULL;
    lease_give(lease);
}

struct loop_sys;

struct backend_ops {
    const char *name;
    int gauge; /* enum counter_id of the loops that run on it; 0: none */
    /* NULL with errno. */
    struct backend *(*create)(const struct loop_sys *sys);
    void (*destroy)(struct backend *b);
    uint64_t (*clock_us)(struct backend *b);
    uint64_t (*wall_us)(struct backend *b);
    /* Waits until there is something to tell, `timeout_us` at most (UINT64_MAX: no limit). */
    void (*wait)(struct backend *b, uint64_t timeout_us);
    /* Tells it. */
    void (*dispatch)(struct backend *b);
    /* End of the turn: tells released. */
    void (*sweep)(struct backend *b);

    /* 0 or -errno. Takes io->fd (made non-blocking) and watches it; streams and listeners begin
     * stopped. */
    int (*open)(struct backend *b, struct io *io);
    /* 0 or -errno when no socket can be made. connected or failed follows. */
    int (*connect)(struct backend *b, struct io *io, const struct addr *to);
    /* 0 or -errno. Listens there; `bound` is where, port 0 resolved. */
    int (*listen)(struct backend *b, struct io *io, const struct addr *at, struct addr *bound);
    /* Receiving bytes, or accepting. */
    void (*recv_start)(struct backend *b, struct io *io);
    void (*recv_stop)(struct backend *b, struct io *io);
    /* io->little is another. */
    void (*recv_changed)(struct backend *b, struct io *io);
    /* Bytes taken at once, or -errno. Less than given (0 too): the rest is under way or waits for
     * room, `sent` comes; until then no other send, and the bytes stay where they are. */
    ssize_t (*send)(struct backend *b, struct io *io, const struct iovec *iov, int count);
    /* Bytes that `send` did not take need not stay: the same ones are given again after `sent`. */
    bool send_is_over;
    /* Bytes sent that the peer's kernel has not acknowledged (on a unix socket: memory they take).
     */
    size_t (*unacked)(struct backend *b, const struct io *io);
    /* FIN behind what was sent. */
    void (*shutdown)(struct backend *b, struct io *io);
    /* failed(error) follows in a later dispatch; what had arrived before is told first, unless
     * receiving is stopped. */
    void (*fail)(struct backend *b, struct io *io, int error);
    /* `released` follows, nothing else. `reset`: with RST. */
    void (*close)(struct backend *b, struct io *io, bool reset);
    /* From a turn of `by`, a loop of another thread or the same (NULL: from no turn): ends b's wait
     * and sets b->woken.
     * False: it cannot, write to an eventfd. May be NULL. */
    bool (*wake)(struct backend *b, struct backend *by);

    /* NULL where descriptors are the kernel's. Else closes one that `accepted` gave and that was
     * not opened. */
    void (*drop)(struct backend *b, int fd);
    /* NULL where helper threads do what is offloaded. Else it is done on the loop, after that long.
     */
    uint64_t (*offload_us)(struct backend *b);
};

extern const struct backend_ops backend_epoll;
extern const struct backend_ops backend_uring;

/* The system calls that can come back short or fail at any time, so that a test can make them. */
struct loop_sys {
    ssize_t (*recv)(int fd, void *buf, size_t len, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
    int (*accept4)(int fd, struct sockaddr *sa, socklen_t *len, int flags);
    int (*connect)(int fd, const struct sockaddr *sa, socklen_t len);
    /* epoll_pwait2 without its signals; NULL: no time limit. */
    int (*epoll_wait)(int epfd, struct epoll_event *events, int max,
                      const struct timespec *timeout);
    const struct uring_sys *uring; /* uring.h; NULL: as it comes */
    size_t send_batch_min;         /* see struct backend; 0: as it comes */
};

extern const struct loop_sys loop_sys_real;

/* As loop_new, on a chosen backend. */
struct loop *loop_new_on(const struct backend_ops *ops, const struct loop_sys *sys);

#endif
