/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fds.h"

struct counters counters;

int fixture_setup(void **state)
{
    (void)state;
    fds_remember();
    counters = (struct counters){0};
    counters_attach(&counters);
    loop = loop_new();
    assert_non_null(loop);
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    counters_attach(NULL);
    fds_check();
    return 0;
}

/* --- sockets
 * --------------------------------------------------------------------------------------- */

void peer_init(struct peer *p, int fd)
{
    const int on = 1;

    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    *p = (struct peer){.fd = fd, .in = malloc(PEER_BYTES_MAX + 1)};
    assert_non_null(p->in);
    p->in[0] = '\0';
}

void peer_close(struct peer *p, bool reset)
{
    struct linger hard = {.l_onoff = 1};

    if (p->fd >= 0) {
        if (reset) {
            assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
        }
        assert_int_equal(close(p->fd), 0);
        p->fd = -1;
    }
}

void peer_fini(struct peer *p)
{
    peer_close(p, false);
    free(p->in);
    p->in = NULL;
}

void peer_half_close(struct peer *p)
{
    assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
}

struct sending {
    struct peer *peer;
    struct slice rest;
};

static bool send_some(void *arg)
{
    struct sending *s = arg;

    while (s->rest.len > 0) {
        ssize_t n = send(s->peer->fd, s->rest.ptr, s->rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return true;
        }
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            return false;
        }
        s->rest = slice_skip(s->rest, (size_t)n);
    }
    return true;
}

void peer_send(struct peer *p, struct slice bytes)
{
    struct sending s = {p, bytes};

    if (!send_some(&s)) {
        run_until(send_some, &s);
    }
}

void peer_pull(struct peer *p)
{
    while (p->fd >= 0 && !p->eof && p->error == 0) {
        ssize_t n = recv(p->fd, p->in + p->in_len, PEER_BYTES_MAX - p->in_len, MSG_DONTWAIT);

        if (n > 0) {
            p->in_len += (size_t)n;
            p->in[p->in_len] = '\0';
            assert_true(p->in_len < PEER_BYTES_MAX);
        } else if (n == 0) {
            p->eof = true;
        } else if (errno == EAGAIN) {
            return;
        } else {
            p->error = errno;
        }
    }
}

struct wanted {
    struct peer *peer;
    const char *text;
    size_t bytes;
};

static bool has_text(void *arg)
{
    struct wanted *w = arg;

    peer_pull(w->peer);
    return strstr(w->peer->in, w->text) != NULL;
}

void peer_wait_text(struct peer *p, const char *text)
{
    struct wanted w = {.peer = p, .text = text};

    run_until(has_text, &w);
}

static bool has_bytes(void *arg)
{
    struct wanted *w = arg;

    peer_pull(w->peer);
    return w->peer->in_len >= w->bytes;
}

void peer_wait_bytes(struct peer *p, size_t count)
{
    struct wanted w = {.peer = p, .bytes = count};

    run_until(has_bytes, &w);
}

static bool has_end(void *arg)
{
    struct peer *p = arg;

    peer_pull(p);
    return p->eof || p->error != 0;
}

void peer_wait_end(struct peer *p)
{
    run_until(has_end, p);
}

const char *peer_take_text(struct peer *p)
{
    static const char date[] = "Date: Sun, 01 Jan 2023 00:00:00 GMT\r\n";
    char *at;

    while ((at = strstr(p->in, "Date: ")) != NULL) {
        size_t len = sizeof(date) - 1;
        size_t behind = p->in_len - (size_t)(at - p->in) - len;

        assert_true(at[9] == ',' && memcmp(at + len - 6, " GMT\r\n", 6) == 0 && at[22] == ' ');
        memmove(at, at + len, behind + 1);
        p->in_len -= len;
    }
    p->in_len = 0;
    return p->in;
}
