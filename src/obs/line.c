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

static bool write_whole(int fd, struct slice s)
{
    return s.len <= PIPE_BUF && has_room(fd) && write(fd, s.ptr, s.len) >= 0;
}

void line_write(int fd, const struct buf *line)
{
    if (buf_failed(line) || !write_whole(fd, buf_slice(line))) {
        counter_add(COUNTER_LOG_DROPPED, 1);
    }
}

void lines_write(int fd, struct slice lines)
{
    if (!write_whole(fd, lines)) {
        for (size_t i = 0; i < lines.len; i++) {
            counter_add(COUNTER_LOG_DROPPED, lines.ptr[i] == '\n' ? 1 : 0);
        }
    }
}
