/* SPDX-License-Identifier: Apache-2.0 */
#include "client/io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_PROBES = 4,
    USER_TIMEOUT_MS = 90 * 1000, /* as three missed heartbeats */
};

void client_stream_init(struct client_stream *s)
{
    *s = (struct client_stream){.fd = -1};
}

void client_stream_close(struct client_stream *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    s->connecting = false;
    s->write_broken = false;
}

/* Best effort: a unix socket has none of these. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } OPTIONS[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };

    for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(OPTIONS[0]); i++) {
        (void)setsockopt(fd, OPTIONS[i].level, OPTIONS[i].name, &OPTIONS[i].value, sizeof(int));
    }
}

static void close_keep_errno(struct client_stream *s)
{
    int error = errno;

    client_stream_close(s);
    errno = error;
}

/* Starts on the current target. False with errno: it failed at once. */
static bool start_target(struct client_stream *s, uint64_t now_ms)
{
    const struct client_target *t = &s->targets[s->target];
    uint64_t left_ms = s->attempt_end_ms > now_ms ? s->attempt_end_ms - now_ms : 0;
    int rv;

    s->target_end_ms = now_ms + left_ms / (uint64_t)(s->target_count - s->target);
    s->fd = socket(t->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return false;
    }
    if (t->ss.ss_family != AF_UNIX) {
        set_options(s->fd);
    }
    do {
        rv = connect(s->fd, (const struct sockaddr *)&t->ss, t->len);
    } while (rv != 0 && errno == EINTR);
    if (rv != 0 && errno != EINPROGRESS) {
        close_keep_errno(s);
        return false;
    }
    s->connecting = rv != 0;
    return true;
}

/* This and the following targets, until one does not fail at once. */
static int try_targets(struct client_stream *s, uint64_t now_ms, struct err *e)
{
    while (!start_target(s, now_ms)) {
        if (++s->target == s->target_count) {
            return err_set(e, MCP_ECONNECT, "cannot connect to %s: %s", s->address.text,
                           strerror(errno));
        }
    }
    return 0;
}

int client_stream_open(struct client_stream *s, const struct client_address *address,
                       uint64_t timeout_ms, uint64_t now_ms, struct err *e)
{
    int count;

    client_stream_close(s);
    s->address = *address;
    count = client_address_resolve(address, s->targets, e);
    if (count < 0) {
        return count;
    }
    s->target_count = count;
    s->target = 0;
    s->attempt_end_ms = now_ms + timeout_ms;
    return try_targets(s, now_ms, e);
}

int client_stream_go_on(struct client_stream *s, bool ready, uint64_t now_ms, struct err *e)
{
    int error = ETIMEDOUT;
    socklen_t len = sizeof(error);

    if (ready) {
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
            error = errno;
        }
        if (error == 0) {
            s->connecting = false;
            return 0;
        }
    } else if (now_ms < s->target_end_ms) {
        return 0;
    }
    client_stream_close(s);
    if (++s->target < s->target_count) {
        return try_targets(s, now_ms, e);
    }
    return err_set(e, error == ETIMEDOUT ? MCP_ETIMEOUT : MCP_ECONNECT, "cannot connect to %s: %s",
                   s->address.text, strerror(error));
}

ssize_t client_stream_read(struct client_stream *s, char *to, size_t len, struct err *e)
{
    ssize_t n;

    do {
        n = recv(s->fd, to, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        return n;
    }
    if (n == 0) {
        return err_set(e, MCP_ECLOSED, "%s closed the connection", s->address.text);
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return 0;
    }
    return err_set(e, MCP_ECLOSED, "connection to %s: %s", s->address.text, strerror(errno));
}

size_t client_stream_write(struct client_stream *s, struct slice bytes)
{
    ssize_t n;

    if (s->write_broken || bytes.len == 0) {
        return 0;
    }
    do {
        n = send(s->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        return (size_t)n;
    }
    s->write_broken = errno != EAGAIN && errno != EWOULDBLOCK;
    return 0;
}
