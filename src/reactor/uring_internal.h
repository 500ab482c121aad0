/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring backend as its files see it: uring_ring.c (made, probed, entered), uring_recv.c
 * (what arrives), uring_io.c (what is armed), uring_wake.c (other loops), uring_alarm.c (time),
 * uring.c (the turn and the table of operations).
 *
 * An io has at most one request of each kind in the kernel, `armed`; a request's user_data is the
 * io's address and the kind. What should be armed follows from the io's state: whoever changes that
 * puts it on the sync list, which is looked through before each wait. An io is released when
 * nothing of it is armed any more. */
#ifndef MCP_REACTOR_URING_INTERNAL_H
#define MCP_REACTOR_URING_INTERNAL_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "reactor/backend.h"
#include "reactor/sock.h"
#include "reactor/uring.h"

LIST_DECLARE(uring_list, struct io, link);
LIST_DECLARE(uring_sync_list, struct io, sync_link);

/* The low three bits of user_data, and a bit in `armed`. */
enum uring_op {
    URING_RECV,
    URING_SEND,
    URING_CONNECT,
    URING_ACCEPT,
    URING_POLL_IN,  /* eventfd, signalfd */
    URING_POLL_OUT, /* a send came back short */
    URING_POLL_HUP, /* the peer's FIN or a break, while nothing is received */
};
enum {
    URING_OP_MASK = 7,
    URING_NO_IO = URING_OP_MASK, /* for a test: what belongs to no io */
};

/* user_data of what belongs to no io. */
#define URING_SPECIAL (UINT64_C(1) << 63)
#define URING_CANCELLED (URING_SPECIAL | 1)   /* a cancellation that found nothing */
#define URING_WAKE (URING_SPECIAL | 2)        /* from another ring */
#define URING_WAKE_FAILED (URING_SPECIAL | 3) /* and, above bit 8, that ring's descriptor */
#define URING_ALARM (URING_SPECIAL | 4)
#define URING_WAKE_FD(data) ((int)((data) >> 8 & 0x7fffffff))

enum { URING_SENDS = 256, URING_IOVS = 1024, URING_CONNECTS = 32 };

/* Bytes that arrived while receiving was stopped or the turn's share used up: in a buffer of the
 * ring, or, where too many of those are kept, copied. Also a buffer that output refers to. */
struct uring_held {
    struct lease lease; /* of a buffer of the ring, which goes back when it is over */
    struct uring_backend *uring;
    struct uring_held *next;
    char *data;
    uint32_t len;
};

/* Another loop's. */
struct uring_bell {
    int fd; /* of its ring */
    bool owed;
};

struct uring_backend {
    struct backend base;
    const struct loop_sys *sys;
    const struct uring_sys *uring;
    struct io_uring ring;
    pthread_t owner;     /* who may enter it, once it is enabled */
    atomic_bool enabled; /* read by other threads that want to wake it */
    uint32_t turn;
    size_t in_flight;  /* requests in the kernel or on their way */
    uint64_t alarm_us; /* when it rings, by the loop's clock; UINT64_MAX: it is not set */
    struct __kernel_timespec alarm_time;
    bool wakes_queued;
    size_t wakes_owed;
    size_t bell_count;
    struct uring_bell *bells;

    struct uring_list news;   /* held bytes, an end or an error to be told, not from the kernel */
    struct uring_list dying;  /* closed, with requests in the kernel */
    struct uring_list closed; /* released is to be told */
    struct uring_sync_list sync;

    /* The ring of buffers, and behind it their memory. */
    struct io_uring_buf_ring *buf_ring;
    char *buffers;
    size_t mapped_bytes;
    unsigned lent;           /* so many the kernel got, the first ones; more when it lacks some */
    size_t held_buffers;     /* those that are not given back by the end of the turn */
    struct uring_held *held; /* one for each buffer */

    /* What requests point to until they are submitted. */
    size_t send_count;
    size_t iov_count;
    size_t connect_count;
    struct msghdr sends[URING_SENDS];
    struct iovec iovs[URING_IOVS];
    struct addr connects[URING_CONNECTS];
};

static inline struct uring_backend *uring_of(struct backend *b)
{
    return (struct uring_backend *)(void *)b;
}

static inline bool uring_is_gone(const struct io *io)
{
    return io->fd < 0 || io->told_failed;
}

static inline bool uring_is_armed(const struct io *io, enum uring_op op)
{
    return (io->armed & 1U << op) != 0;
}

static inline unsigned uring_op_of(uint64_t user_data)
{
    return (user_data & URING_SPECIAL) != 0 ? (unsigned)URING_NO_IO
                                            : (unsigned)(user_data & URING_OP_MASK);
}

/* Has its requests compared with its state before the next wait. */
static inline void uring_sync_later(struct uring_backend *u, struct io *io)
{
    if (!uring_sync_list_has(io)) {
        uring_sync_list_push(&u->sync, io);
    }
}

static inline void uring_tell_later(struct uring_backend *u, struct io *io)
{
    if (io->fd >= 0 && !uring_list_has(io)) {
        uring_list_push(&u->news, io);
    }
}

/* uring_ring.c */
/* NULL: errno, and `why`. */
struct uring_backend *uring_open(const struct loop_sys *sys, char why[URING_WHY_MAX]);
/* The ring and all memory. */
void uring_free(struct uring_backend *u);
/* False: this is not the thread that may enter it. */
bool uring_is_ours(const struct uring_backend *u);
void uring_enable(struct uring_backend *u);
int uring_enter(struct uring_backend *u, uint64_t timeout_us);
/* Hands over what is queued, without waiting. */
void uring_submit(struct uring_backend *u);
/* A free entry; NULL: there is none before completions were read. */
struct io_uring_sqe *uring_sqe(struct uring_backend *u);
/* It holds a request of the io. */
void uring_arm(struct uring_backend *u, struct io *io, enum uring_op op, struct io_uring_sqe *sqe);
void uring_give_back(struct uring_backend *u, unsigned id);
/* Twice as many buffers as before, up to all. */
void uring_lend_more(struct uring_backend *u);

/* uring_wake.c */
bool uring_wake(struct backend *b, struct backend *by);
void uring_on_wake_failed(struct uring_backend *u, const struct io_uring_cqe *c);
/* Hands over the rings that are queued. */
void uring_send_wakes(struct uring_backend *u);
/* Queues those that are owed. */
void uring_wake_again(struct uring_backend *u);

/* uring_alarm.c */
/* What to give the wait in place of this limit; also sees to it that it ends by then. */
uint64_t uring_wait_limit(struct uring_backend *u, uint64_t timeout_us);

/* uring_recv.c */
void uring_on_recv(struct uring_backend *u, struct io *io, const struct io_uring_cqe *c);
void uring_on_hup(struct uring_backend *u, struct io *io, int revents);
void uring_run_news(struct uring_backend *u);
void uring_queue_failure(struct uring_backend *u, struct io *io, int error);
void uring_tell_failed(struct uring_backend *u, struct io *io, int error);
void uring_drop_held(struct uring_backend *u, struct io *io);
void uring_on_lease_over(struct lease *l);

/* uring_io.c */
/* Arms and cancels what the states ask for; what found no entry stays on the list. */
void uring_sync(struct uring_backend *u);
void uring_on_accept(struct uring_backend *u, struct io *io, int res);
int uring_connect(struct backend *b, struct io *io, const struct addr *to);
ssize_t uring_send(struct backend *b, struct io *io, const struct iovec *iov, int count);

#endif
