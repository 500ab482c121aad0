/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fds.h"
#include "reactor/uring.h"
#include "reactor/virtual.h"

static const struct backend_ops *backend;
static struct virtual_net *net;

static const struct backend_ops *const backends[] = {&backend_epoll, &backend_uring,
                                                     &backend_virtual};

__attribute__((constructor)) static void leave_out_what_cannot_run(void)
{
    char why[URING_WHY_MAX];

    if (!uring_probe(&uring_sys_real, why)) {
        (void)fprintf(stderr, "left out, all on io_uring: %s\n", why);
        cmocka_set_skip_filter("* on io_uring");
    }
}

void fixture_loop_again(const struct loop_sys *sys)
{
    loop_free(&loop);
    loop = loop_new_on(backend, sys);
    assert_non_null(loop);
}

int fixture_setup(void **state)
{
    const char *name = *state == NULL ? "epoll" : *state;

    backend = NULL;
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        backend = strcmp(backends[i]->name, name) == 0 ? backends[i] : backend;
    }
    assert_non_null(backend);
    net = virtual_net_new(1, &virtual_calm);
    fds_remember();
    fixture_loop_again(&loop_sys_real);
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    assert_null(loop);
    fds_check();
    assert_int_equal(virtual_net_open(net), 0);
    virtual_net_free(&net);
    return 0;
}

/* --- ends
 * ------------------------------------------------------------------------------------------- */

static void told(struct end *e, char what)
{
    bool more_data = what == 'd' && e->told_len > 0 && e->told[e->told_len - 1] == 'd';

    assert_non_null(e->sock); /* nothing comes after closing */
    if (!more_data) {
        assert_true(e->told_len + 1 < sizeof(e->told));
        e->told[e->told_len++] = what;
        e->told[e->told_len] = '\0';
    }
    if (e->on_told != NULL) {
        e->on_told(e, what);
    }
    if (e->close_in == what && e->sock != NULL) {
        if (e->how == 'g') {
            sock_close_gently(&e->sock);
        } else {
            sock_close(&e->sock, e->how == 'r');
        }
        assert_null(e->sock);
    }
}

static void on_connected(void *owner)
{
    told(owner, 'c');
}

static void on_data(void *owner, struct slice in)
{
    struct end *e = owner;

    assert_true(in.len > 0);
    assert_true(buf_append(&e->in, in));
    if (e->pause_in_data) {
        sock_pause(e->sock);
    }
    told(e, 'd');
}

static void on_eof(void *owner)
{
    told(owner, 'e');
}

static void on_hangup(void *owner)
{
    told(owner, 'h');
}

static void on_drained(void *owner)
{
    told(owner, 'l');
}

static void on_sent(void *owner)
{
    told(owner, 's');
}

static void on_closed(void *owner, int error)
{
    struct end *e = owner;

    assert_int_not_equal(error, 0);
    e->error = error;
    told(e, 'x');
}

const struct sock_ops end_ops = {
    .connected = on_connected,
    .data = on_data,
    .eof = on_eof,
    .hangup = on_hangup,
    .drained = on_drained,
    .sent = on_sent,
    .closed = on_closed,
};

void end_adopt(struct end *e, int fd)
{
    e->sock = sock_adopt(loop, fd, &end_ops, e);
    assert_non_null(e->sock);
}

void end_connect(struct end *e, const struct addr *to)
{
    e->sock = sock_connect(loop, to, &end_ops, e);
    assert_non_null(e->sock);
}

void end_fini(struct end *e)
{
    sock_close(&e->sock, false);
    buf_fini(&e->in);
}

bool end_was_told(const struct end *e, char what)
{
    return memchr(e->told, what, e->told_len) != NULL;
}

void end_echo(struct end *e, char what)
{
    if (what == 'd') {
        assert_true(sock_write(e->sock, SLICE("half ")));
        assert_true(sock_write(e->sock, SLICE("and half")));
        if (buf_len(&e->in) > (size_t)ECHO_BYTES * ECHO_COUNT) {
            loop_stop(loop);
        }
    }
}

void pair_fds(int fds[2], int family)
{
    if (family == AF_UNIX) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    } else {
        tcp_pair(fds);
    }
}

void pair_open(struct end *a, struct end *b, int family)
{
    int fds[2];

    if (backend == &backend_virtual) {
        virtual_net_pair(net, family, fds);
    } else {
        pair_fds(fds, family);
    }
    end_adopt(a, fds[0]);
    end_adopt(b, fds[1]);
}

bool end_has_eof(void *end)
{
    return end_was_told(end, 'e');
}

bool end_is_closed(void *end)
{
    return end_was_told(end, 'x');
}

bool end_is_connected(void *end)
{
    return end_was_told(end, 'c');
}

bool gentle_is_done(void *unused)
{
    (void)unused;
    return loop_gentle_count(loop) == 0;
}

static char pattern_byte(size_t i)
{
    return (char)(i * 2654435761U >> 13);
}

void pattern_fill(struct buf *b, size_t n)
{
    char *at = buf_reserve(b, n);

    assert_non_null(at);
    for (size_t i = 0; i < n; i++) {
        at[i] = pattern_byte(i);
    }
    buf_commit(b, n);
}

bool pattern_matches(struct slice s, size_t n)
{
    if (s.len != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (s.ptr[i] != pattern_byte(i)) {
            return false;
        }
    }
    return true;
}
