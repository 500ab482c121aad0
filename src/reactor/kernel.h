/* SPDX-License-Identifier: Apache-2.0 */
/* What the backends on the kernel's sockets (epoll, io_uring) do in the same way. */
#ifndef MCP_REACTOR_KERNEL_H
#define MCP_REACTOR_KERNEL_H

#include "reactor/backend.h"

/* Of backend_ops. */
uint64_t kernel_clock_us(struct backend *b);
uint64_t kernel_wall_us(struct backend *b);
size_t kernel_unacked(struct backend *b, const struct io *io);
void kernel_shutdown(struct backend *b, struct io *io);

/* Takes connections that wait, a turn's worth, as long as the listener wants them. */
void kernel_accept(const struct loop_sys *sys, struct io *io);

#endif
