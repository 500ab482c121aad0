/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 4, BACKLOG = 64 };

static struct peer *peers[PEERS_MAX];
static size_t peer_count;

static void adopt(struct peer *p)
{
    assert_true(peer_count < PEERS_MAX);
    peers[peer_count++] = p;
    p->count = p->route_count = 0;
    p->routing = false;
    p->asked[0] = '\0';
}

static void bind_tcp(struct peer *p)
{
    int on = 1;

    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(p->listener >= 0);
    assert_int_equal(setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&p->at.ss, p->at.len), 0);
}

void peer_open(struct peer *p)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    adopt(p);
    p->at.len = sizeof(in);
    memcpy(&p->at.ss, &in, sizeof(in));
    bind_tcp(p);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&p->at.ss, &p->at.len), 0);
    (void)snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%u", addr_port(&p->at));
    peer_listen(p);
}

void peer_open_unix(struct peer *p, const char *path)
{
    struct err e = {0};

    adopt(p);
    assert_int_equal(addr_from_unix(&p->at, path, &e), 0);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&p->at.ss, p->at.len), 0);
    (void)snprintf(p->url, sizeof(p->url), "unix:%s", path);
    peer_listen(p);
}

void peer_refuse(struct peer *p)
{
    assert_int_equal(close(p->listener), 0);
    bind_tcp(p); /* so that nobody else takes the port */
}

void peer_listen(struct peer *p)
{
    assert_int_equal(listen(p->listener, BACKLOG), 0);
}

struct node *peer_node(struct peer *p)
{
    struct node *n = node_add(p->url);

    n->addr = p->at;
    n->has_addr = true;
    return n;
}

void peer_route(struct peer *p, const char *path, const char *status, const char *body)
{
    size_t i = 0;

    p->routing = true;
    while (i < p->route_count && strcmp(p->routes[i].path, path) != 0) {
        i++;
    }
    assert_true(i < PEER_ROUTES_MAX);
    p->route_count = i < p->route_count ? p->route_count : i + 1;
    p->routes[i] = (struct peer_route){.path = path, .status = status, .answer = body};
}

void peer_route_raw(struct peer *p, const char *path, const char *bytes)
{
    peer_route(p, path, NULL, bytes);
}

const char *peer_take_asked(struct peer *p)
{
    static char taken[PEER_ASKED_BYTES];

    memcpy(taken, p->asked, sizeof(taken));
    p->asked[0] = '\0';
    return taken;
}

/* --- pumping
 * --------------------------------------------------------------------------------------- */

static void accept_some(struct peer *p)
{
    int fd;

    while ((fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        assert_true(p->count < PEER_CONNS_MAX);
        p->conns[p->count++] = (struct peer_conn){.fd = fd};
    }
    assert_true(errno == EAGAIN || errno == EINVAL); /* EINVAL: it does not listen */
}

static void read_some(struct peer_conn *c)
{
    char in[8192];

    while (c->fd >= 0 && !c->gone && !c->deaf) {
        ssize_t n = recv(c->fd, in, sizeof(in), 0);

        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            c->gone = true;
            return;
        }
        c->in_total += (size_t)n;
        for (ssize_t i = 0; i < n && c->in_len < PEER_IN_BYTES; i++) {
            c->in[c->in_len++] = in[i];
        }
        c->in[c->in_len] = '\0';
    }
}

static void send_answer(struct peer *p, size_t conn, const char *path, size_t len)
{
    struct peer_route r = {.status = "404 Not Found", .answer = ""};
    char out[1024];
    int size;

    for (size_t i = 0; i < p->route_count; i++) {
        if (strlen(p->routes[i].path) == len && memcmp(p->routes[i].path, path, len) == 0) {
            p->routes[i].conn = conn;
            r = p->routes[i];
        }
    }
    if (r.status == NULL) {
        if (r.answer != NULL) {
            peer_send(p, conn, slice_str(r.answer));
        }
        return;
    }
    size = snprintf(out, sizeof(out), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", r.status,
                    strlen(r.answer), r.answer);
    assert_in_range(size, 1, sizeof(out) - 1);
    peer_send(p, conn, slice_of(out, (size_t)size));
}

static void answer_request(struct peer *p, size_t conn)
{
    struct peer_conn *c = &p->conns[conn];
    const char *path = strchr(c->in, ' ');
    size_t len;
    size_t used = strlen(p->asked);

    if (strstr(c->in, "\r\n\r\n") == NULL) {
        return;
    }
    assert_non_null(path);
    p->last = conn;
    len = strcspn(++path, " ");
    (void)snprintf(p->asked + used, sizeof(p->asked) - used, "%.*s ", (int)len, path);
    send_answer(p, conn, path, len);
    c->in_len = 0;
    c->in[0] = '\0';
}

size_t peer_asked_on(const struct peer *p, const char *path)
{
    size_t conn = PEER_CONNS_MAX;

    for (size_t i = 0; i < p->route_count; i++) {
        if (strcmp(p->routes[i].path, path) == 0) {
            conn = p->routes[i].conn;
        }
    }
    assert_true(conn < p->count);
    return conn;
}

void node_peers_pump(void)
{
    for (size_t i = 0; i < peer_count; i++) {
        struct peer *p = peers[i];

        accept_some(p);
        for (size_t k = 0; k < p->count; k++) {
            read_some(&p->conns[k]);
            if (p->routing) {
                answer_request(p, k);
            }
        }
    }
}

void node_peers_close(void)
{
    for (size_t i = 0; i < peer_count; i++) {
        struct peer *p = peers[i];

        assert_int_equal(close(p->listener), 0);
        if (p->at.ss.ss_family == AF_UNIX) {
            assert_int_equal(unlink(p->url + strlen("unix:")), 0);
        }
        for (size_t k = 0; k < p->count; k++) {
            peer_close(p, k, false);
        }
    }
    peer_count = 0;
}

/* --- what a test does
 * ------------------------------------------------------------------------------ */

struct wanted {
    struct peer *peer;
    size_t count;
    const char *text;
};

static struct peer_conn *conn_of(struct peer *p, size_t conn)
{
    assert_true(conn < p->count);
    return &p->conns[conn];
}

static bool has_conns(void *arg)
{
    struct wanted *w = arg;

    return w->peer->count >= w->count;
}

void peer_wait_conns(struct peer *p, size_t count)
{
    struct wanted w = {p, count, NULL};

    run_until(has_conns, &w);
    assert_int_equal(p->count, count);
}

static bool has_text(void *arg)
{
    struct wanted *w = arg;

    return conn_of(w->peer, w->count)->in_len >= strlen(w->text);
}

void peer_wait_text(struct peer *p, size_t conn, const char *text)
{
    struct wanted w = {p, conn, text};

    run_until(has_text, &w);
    run_turns();
    assert_string_equal(conn_of(p, conn)->in, text);
}

static bool has_request(void *arg)
{
    struct wanted *w = arg;

    return w->count < w->peer->count && strstr(w->peer->conns[w->count].in, "\r\n\r\n") != NULL;
}

void peer_wait_request(struct peer *p, size_t conn)
{
    struct wanted w = {p, conn, NULL};
    struct peer_conn *c;

    run_until(has_request, &w);
    c = conn_of(p, conn);
    c->in_len = 0;
    c->in[0] = '\0';
}

static bool is_gone(void *arg)
{
    struct wanted *w = arg;

    return conn_of(w->peer, w->count)->gone;
}

void peer_wait_gone(struct peer *p, size_t conn)
{
    struct wanted w = {p, conn, NULL};

    run_until(is_gone, &w);
}

bool peer_is_gone(struct peer *p, size_t conn)
{
    run_turns();
    return conn_of(p, conn)->gone;
}

void peer_send(struct peer *p, size_t conn, struct slice bytes)
{
    /* Small enough for the kernel to take at once. */
    assert_int_equal(send(conn_of(p, conn)->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL), bytes.len);
}

void peer_close(struct peer *p, size_t conn, bool reset)
{
    struct peer_conn *c = conn_of(p, conn);
    const struct linger now = {.l_onoff = 1};

    if (c->fd >= 0) {
        if (reset) {
            assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        }
        assert_int_equal(close(c->fd), 0);
        c->fd = -1;
    }
}
