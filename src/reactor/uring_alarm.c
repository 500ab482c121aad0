/* SPDX-License-Identifier: Apache-2.0 */
/* The time limit of a wait. A long one stands in the kernel as a request of its own, over many
 * waits, and is set anew only for an earlier one: a limit of the wait itself makes the kernel set a
 * timer and take it back each time. It rings a little early, once for nothing where that timer was
 * cancelled meanwhile; what is left is a short limit, which is the wait's. */
#include "reactor/kernel.h"
#include "reactor/uring_internal.h"

enum {
    LONG_US = 5000,
    EARLY_US = 200, /* more than it takes from asking the clock to asking it again, mostly */
};

static bool set_alarm(struct uring_backend *u, uint64_t at_us)
{
    struct io_uring_sqe *sqe = uring_sqe(u);

    if (sqe == NULL) {
        return false;
    }
    u->alarm_time.tv_sec = (long long)(at_us / 1000000);
    u->alarm_time.tv_nsec = (long long)(at_us % 1000000) * 1000;
    if (u->alarm_us == UINT64_MAX) {
        io_uring_prep_timeout(sqe, &u->alarm_time, 0, IORING_TIMEOUT_ABS);
        io_uring_sqe_set_data64(sqe, URING_ALARM);
    } else {
        /* Fails when it has just rung, which ends the wait as well. */
        io_uring_prep_timeout_update(sqe, &u->alarm_time, URING_ALARM, IORING_TIMEOUT_ABS);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(sqe, URING_CANCELLED);
    }
    u->alarm_us = at_us;
    return true;
}

uint64_t uring_wait_limit(struct uring_backend *u, uint64_t timeout_us)
{
    uint64_t now, due;

    if (timeout_us == 0 || timeout_us == UINT64_MAX) {
        return timeout_us;
    }
    now = kernel_clock_us(&u->base);
    due = now + timeout_us;
    if (u->alarm_us <= now) {
        return timeout_us; /* it has rung, but that was not read yet */
    }
    if (u->alarm_us <= due || (timeout_us >= LONG_US && set_alarm(u, due - EARLY_US))) {
        return UINT64_MAX;
    }
    return timeout_us;
}
