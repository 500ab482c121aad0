/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/kernel.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "reactor/net.h"

enum { ACCEPTS_PER_TURN = 64 };

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t); /* cannot fail for these clocks */
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t kernel_clock_us(struct backend *b)
{
    (void)b; /* one clock for all */
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t kernel_wall_us(struct backend *b)
{
    (void)b;
    return read_clock(CLOCK_REALTIME);
}

size_t kernel_unacked(struct backend *b, const struct io *io)
{
    (void)b;
    return net_unacked(io->fd);
}

void kernel_shutdown(struct backend *b, struct io *io)
{
    (void)b;
    /* Fails when the connection is gone, which is told elsewhere. */
    (void)shutdown(io->fd, SHUT_WR);
}

void kernel_accept(const struct loop_sys *sys, struct io *io)
{
    for (int i = 0; i < ACCEPTS_PER_TURN && io->fd >= 0 && io->receiving; i++) {
        struct addr peer = {.len = sizeof(peer.ss)};
        int fd = sys->accept4(io->fd, (struct sockaddr *)&peer.ss, &peer.len,
                              SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            io->ops->accepted(io, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            io->ops->accept_failed(io, errno);
        }
    }
}
