/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 10,
    KEEPALIVE_PROBES = 6,
};

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int net_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    if (family != AF_UNIX) {
        /* Output is coalesced per turn already. Accepted sockets inherit it from the listener. */
        (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* works without */
    }
    return fd;
}

static bool is_any_v6(const struct addr *a)
{
    struct sockaddr_in6 in6;

    if (a->ss.ss_family != AF_INET6) {
        return false;
    }
    memcpy(&in6, &a->ss, sizeof(in6));
    return IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
}

/* A client that vanished without a word is noticed. Accepted sockets inherit all of it. */
static void set_keepalive(int fd)
{
    (void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

static int bind_and_listen(int fd, const struct addr *at)
{
    if (at->ss.ss_family != AF_UNIX) {
        /* A restart must not wait for connections of the last run to time out. */
        (void)set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        set_keepalive(fd);
    }
    if (at->ss.ss_family == AF_INET6) {
        /* [::] is every interface, of IPv4 too. */
        (void)set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any_v6(at));
    }
    if (bind(fd, (const struct sockaddr *)&at->ss, at->len) < 0 || listen(fd, BACKLOG) < 0) {
        return -errno;
    }
    return 0;
}

/* 0.0.0.0 with the port of [::], for kernels without IPv6. */
static struct addr any_v4(const struct addr *any6)
{
    struct addr a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)addr_port(any6))};

    memcpy(&a.ss, &in, sizeof(in));
    return a;
}

int net_listen(const struct addr *at, struct addr *bound)
{
    struct addr v4;
    int fd = net_socket(at->ss.ss_family);
    int rv;

    if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && is_any_v6(at)) {
        v4 = any_v4(at);
        return net_listen(&v4, bound);
    }
    if (fd < 0) {
        return fd;
    }
    rv = bind_and_listen(fd, at);
    if (rv == -EADDRNOTAVAIL && is_any_v6(at)) {
        (void)close(fd); /* nothing was written */
        v4 = any_v4(at);
        return net_listen(&v4, bound);
    }
    if (rv < 0) {
        (void)close(fd);
        return rv;
    }
    *bound = *at;
    bound->len = sizeof(bound->ss);
    if (getsockname(fd, (struct sockaddr *)&bound->ss, &bound->len) < 0) {
        *bound = *at;
    }
    return fd;
}

int net_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)) {
        return -errno;
    }
    return 0;
}

void net_peer(int fd, struct addr *peer)
{
    *peer = (struct addr){.len = sizeof(peer->ss)};
    if (getpeername(fd, (struct sockaddr *)&peer->ss, &peer->len) < 0) {
        *peer = (struct addr){.len = sizeof(sa_family_t)}; /* it has gone already */
    }
}

int net_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

size_t net_unacked(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCOUTQ, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes;
}

void net_close(int fd, bool reset)
{
    if (reset) {
        const struct linger now = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* FIN then, at worst */
    }
    (void)close(fd); /* never again on EINTR: Linux has freed the number */
}
