/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the load generator. A connection that ends while its bytes are read is closed when
 * they are; so nobody's memory goes away under a caller. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load/load.h"

static void watch(struct load_conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (epoll_ctl(c->load->epoll_fd, op, c->fd, &ev) != 0) {
        load_conn_end(c, LOAD_FAILS, strerror(errno));
    }
}

static bool begin(struct load_conn *c)
{
    bool ok = c->load->o.mcp ? load_mcp_begin(c) : load_http_begin(c);

    if (!ok) {
        load_conn_end(c, LOAD_FAILS, "out of memory");
    }
    return ok;
}

void load_conn_open(struct load_conn *c)
{
    const struct load_options *o = &c->load->o;
    int on = 1;

    c->fd = socket(o->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = LOAD_OPENING;
    c->end = LOAD_GOES_ON;
    c->load->opening++;
    if (c->fd < 0 ||
        (connect(c->fd, (const struct sockaddr *)&o->at, o->at_len) != 0 && errno != EINPROGRESS)) {
        load_conn_end(c, LOAD_FAILS, strerror(errno));
        return;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on unix sockets */
    if (begin(c)) {
        watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    }
}

void load_conn_close(struct load_conn *c)
{
    if (c->state == LOAD_CLOSED) {
        return;
    }
    if (c->state == LOAD_OPENING) {
        c->load->opening--;
    }
    c->state = LOAD_CLOSED;
    c->waits_for_room = false;
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    if (c->load->o.mcp) {
        load_mcp_finish(c);
    } else {
        load_http_finish(c);
    }
    buf_clear(&c->out);
}

void load_conn_end(struct load_conn *c, enum load_end end, const char *why)
{
    load_conn_close(c);
    load_closed(c, end, why);
}

bool load_conn_fail(struct load_conn *c, const char *why)
{
    load_error(c->load, why, 0); /* counted when it is closed */
    c->end = LOAD_FAILS;
    return false;
}

void load_conn_flush(struct load_conn *c)
{
    bool left;

    while (c->state == LOAD_OPEN && buf_len(&c->out) > 0) {
        struct slice s = buf_slice(&c->out);
        ssize_t n = send(c->fd, s.ptr, s.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0) {
            load_conn_end(c, LOAD_FAILS, strerror(errno));
            return;
        }
        buf_consume(&c->out, (size_t)n);
    }
    left = buf_len(&c->out) > 0;
    if (c->state == LOAD_OPEN && left != c->waits_for_room) {
        c->waits_for_room = left;
        watch(c, EPOLL_CTL_MOD, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void connected(struct load_conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        load_conn_end(c, LOAD_FAILS, strerror(error));
        return;
    }
    c->state = LOAD_OPEN;
    c->load->opening--;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (c->state == LOAD_OPEN) {
        load_opened(c);
        load_conn_flush(c);
    }
}

static void receive(struct load_conn *c)
{
    struct load *l = c->load;
    ssize_t n = recv(c->fd, l->input, LOAD_READ_BYTES, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        load_conn_end(c, LOAD_ENDS_WELL, n < 0 ? strerror(errno) : "closed by the peer");
        return;
    }
    l->now_ns = load_now_ns();
    if (l->phase == LOAD_MEASURING) {
        l->counts->reads++;
        l->counts->bytes += (uint64_t)n;
    }
    if (l->o.mcp) {
        load_mcp_recv(c, slice_of(l->input, (size_t)n));
    } else {
        load_http_recv(c, slice_of(l->input, (size_t)n));
    }
    if (c->end != LOAD_GOES_ON) {
        load_conn_end(c, c->end, "lost with its connection");
    } else {
        load_conn_flush(c);
    }
}

void load_conn_event(struct load_conn *c, uint32_t events)
{
    if (c->state == LOAD_OPENING) {
        connected(c);
        return;
    }
    if (c->state == LOAD_OPEN && (events & EPOLLOUT) != 0) {
        load_conn_flush(c);
    }
    if (c->state == LOAD_OPEN && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        receive(c);
    }
}
