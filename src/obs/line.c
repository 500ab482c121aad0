/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/line.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/counter.h"

/* Descriptors are shared with other processes (stderr), so they cannot be made non-blocking; but a
 * pipe that has room at all has room for PIPE_BUF bytes. */
static bool has_room(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

void line_write(int fd, const struct buf *line)
{
    struct slice s = buf_slice(line);

    if (buf_failed(line) || s.len > PIPE_BUF || !has_room(fd) || write(fd, s.ptr, s.len) < 0) {
        counter_add(COUNTER_LOG_DROPPED, 1);
    }
}
