/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of other loops, which end their wait. Only one that fails has a completion. One that failed
 * for lack of memory is owed until it went through: everyone ever rung has a place for that, so
 * that none is lost when there is no entry for it either. */
#include <errno.h>
#include <stdlib.h>

#include "reactor/uring_internal.h"

static struct uring_bell *find(struct uring_backend *u, int fd)
{
    for (size_t i = 0; i < u->bell_count; i++) {
        if (u->bells[i].fd == fd) {
            return &u->bells[i];
        }
    }
    return NULL;
}

static bool add(struct uring_backend *u, int fd)
{
    struct uring_bell *bells = realloc(u->bells, (u->bell_count + 1) * sizeof(*bells));

    if (bells == NULL) {
        return false;
    }
    bells[u->bell_count++] = (struct uring_bell){.fd = fd};
    u->bells = bells;
    return true;
}

/* False: no entry is free. */
static bool ring(struct uring_backend *u, int fd)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_msg_ring(sqe, fd, 0, URING_WAKE, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, URING_WAKE_FAILED | (uint64_t)fd << 8);
    return true;
}

bool uring_wake(struct backend *b, struct backend *by)
{
    struct uring_backend *u = uring_of(b);
    struct uring_backend *from = uring_of(by);

    if (by == b) {
        b->woken = true;
        return true;
    }
    if (by == NULL || by->ops != &backend_uring ||
        !atomic_load_explicit(&u->enabled, memory_order_acquire)) {
        return false;
    }
    if (find(from, u->ring.ring_fd) == NULL && !add(from, u->ring.ring_fd)) {
        return false;
    }
    if (!ring(from, u->ring.ring_fd)) {
        return false;
    }
    from->wakes_queued = true;
    return true;
}

void uring_on_wake_failed(struct uring_backend *u, const struct io_uring_cqe *c)
{
    struct uring_bell *bell = find(u, URING_WAKE_FD(c->user_data));

    /* With other errors it is not there any more. */
    if (bell != NULL && !bell->owed &&
        (c->res == -ENOMEM || c->res == -EAGAIN || c->res == -EOVERFLOW)) {
        bell->owed = true;
        u->wakes_owed++;
    }
}

void uring_send_wakes(struct uring_backend *u)
{
    if (u->wakes_queued) {
        u->wakes_queued = false;
        uring_submit(u);
    }
}

void uring_wake_again(struct uring_backend *u)
{
    for (size_t i = 0; i < u->bell_count && u->wakes_owed > 0; i++) {
        if (u->bells[i].owed && ring(u, u->bells[i].fd)) {
            u->bells[i].owed = false;
            u->wakes_owed--;
        }
    }
}
