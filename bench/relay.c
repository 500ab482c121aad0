/* SPDX-License-Identifier: Apache-2.0 */
/* bench-relay: the floor for any proxy. Two threads move bytes between each client and a connection
 * of its own to the node, and look at none of them.
 *   usage: bench-relay HOST:PORT   (prints where it listens)
 * The first thread also accepts; connections go to the threads in turn. A pair belongs to its
 * thread. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 2, READ_BYTES = 64 * 1024, EVENTS_MAX = 256 };

struct end {
    int fd;
    struct end *other;
    char *left; /* for this end, and not written yet: the other end is not read meanwhile */
    size_t left_at, left_len;
    struct pair *pair;
};

struct pair {
    struct end ends[2];
    bool dead;
    struct pair *next_dead;
};

struct thread {
    pthread_t id;
    int epoll_fd;
    struct pair *dead; /* freed behind the turn: an event for it may still be in hand */
    char input[READ_BYTES];
};

static struct thread threads[THREADS];
static struct sockaddr_storage node;
static socklen_t node_len;
static struct end listening; /* its events are those of the listener */

static void die(const char *what)
{
    fprintf(stderr, "bench-relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void kill_pair(struct thread *t, struct pair *p)
{
    if (!p->dead) {
        p->dead = true;
        p->next_dead = t->dead;
        t->dead = p;
        (void)close(p->ends[0].fd);
        (void)close(p->ends[1].fd);
    }
}

static void free_dead(struct thread *t)
{
    while (t->dead != NULL) {
        struct pair *p = t->dead;

        t->dead = p->next_dead;
        free(p->ends[0].left);
        free(p->ends[1].left);
        free(p);
    }
}

static bool watch(int epoll_fd, int op, struct end *e, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = e};

    return epoll_ctl(epoll_fd, op, e->fd, &ev) == 0;
}

/* How much was written; below 0: the end is gone. */
static ssize_t write_some(struct end *e, const char *bytes, size_t len)
{
    ssize_t n = send(e->fd, bytes, len, MSG_NOSIGNAL);

    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

/* Keeps what `to` does not take, and reads `from` again only when it is gone. */
static bool keep(struct thread *t, struct end *from, struct end *to, const char *bytes, size_t len)
{
    to->left = malloc(len);
    if (to->left == NULL) {
        return false;
    }
    memcpy(to->left, bytes, len);
    to->left_at = 0;
    to->left_len = len;
    return watch(t->epoll_fd, EPOLL_CTL_MOD, from, from->left == NULL ? 0 : EPOLLOUT) &&
           watch(t->epoll_fd, EPOLL_CTL_MOD, to, EPOLLOUT | (from->left == NULL ? EPOLLIN : 0));
}

static bool can_read(struct thread *t, struct end *from)
{
    ssize_t n = recv(from->fd, t->input, READ_BYTES, 0);
    ssize_t written;

    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    written = write_some(from->other, t->input, (size_t)n);
    if (written < 0) {
        return false;
    }
    return written == n || keep(t, from, from->other, t->input + written, (size_t)(n - written));
}

static bool can_write(struct thread *t, struct end *to)
{
    ssize_t n = write_some(to, to->left + to->left_at, to->left_len - to->left_at);

    if (n < 0) {
        return false;
    }
    to->left_at += (size_t)n;
    if (to->left_at < to->left_len) {
        return true;
    }
    free(to->left);
    to->left = NULL;
    return watch(t->epoll_fd, EPOLL_CTL_MOD, to, to->other->left == NULL ? EPOLLIN : 0) &&
           watch(t->epoll_fd, EPOLL_CTL_MOD, to->other,
                 EPOLLIN | (to->other->left == NULL ? 0 : EPOLLOUT));
}

static bool prepare(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static void take_client(struct thread *t, int client, int upstream)
{
    struct pair *p = calloc(1, sizeof(*p));

    if (p == NULL || !prepare(client) || !prepare(upstream)) {
        die("a connection");
    }
    for (int i = 0; i < 2; i++) {
        p->ends[i] =
            (struct end){.fd = i == 0 ? client : upstream, .other = &p->ends[1 - i], .pair = p};
    }
    /* The upstream end first: with the client's, the pair is its thread's. */
    if (!watch(t->epoll_fd, EPOLL_CTL_ADD, &p->ends[1], EPOLLIN) ||
        !watch(t->epoll_fd, EPOLL_CTL_ADD, &p->ends[0], EPOLLIN)) {
        die("epoll");
    }
}

static void accept_clients(void)
{
    static unsigned turn;
    int client, upstream;

    while ((client = accept4(listening.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        upstream = socket(node.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (upstream < 0 || connect(upstream, (struct sockaddr *)&node, node_len) != 0) {
            (void)close(client);
            if (upstream >= 0) {
                (void)close(upstream);
            }
            continue;
        }
        take_client(&threads[turn++ % THREADS], client, upstream);
    }
}

static void handle(struct thread *t, struct end *e, uint32_t events)
{
    if (e == &listening) {
        accept_clients();
        return;
    }
    if (e->pair->dead) {
        return;
    }
    if (e->left != NULL && (events & EPOLLOUT) != 0 && !can_write(t, e)) {
        kill_pair(t, e->pair);
        return;
    }
    if (e->other->left != NULL) {
        if ((events & (EPOLLHUP | EPOLLERR)) != 0) { /* reset, and it would be told for ever */
            kill_pair(t, e->pair);
        }
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !can_read(t, e)) {
        kill_pair(t, e->pair);
    }
}

static void *run(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    struct thread *t = arg;

    while (true) {
        int n = epoll_wait(t->epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < n; i++) {
            handle(t, events[i].data.ptr, events[i].events);
        }
        free_dead(t);
    }
    return NULL;
}

static void find_node(const char *text)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char *host = strdup(text), *colon = host == NULL ? NULL : strrchr(host, ':');
    struct addrinfo *found;

    if (colon != NULL) {
        *colon = '\0';
    }
    if (colon == NULL || getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        fprintf(stderr, "bench-relay: expected HOST:PORT in numbers, not '%s'\n", text);
        exit(2);
    }
    memcpy(&node, found->ai_addr, found->ai_addrlen);
    node_len = found->ai_addrlen;
    freeaddrinfo(found);
    free(host);
}

static void listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    listening.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening.fd < 0 || bind(listening.fd, (struct sockaddr *)&at, len) != 0 ||
        listen(listening.fd, SOMAXCONN) != 0 ||
        getsockname(listening.fd, (struct sockaddr *)&at, &len) != 0) {
        die("listen");
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(at.sin_port));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc != 2) {
        fprintf(stderr, "usage: bench-relay HOST:PORT\n");
        return 2;
    }
    find_node(argv[1]);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (int i = 0; i < THREADS; i++) {
        threads[i].epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (threads[i].epoll_fd < 0) {
            die("epoll");
        }
    }
    listen_somewhere();
    if (!watch(threads[0].epoll_fd, EPOLL_CTL_ADD, &listening, EPOLLIN)) {
        die("epoll");
    }
    for (int i = 1; i < THREADS; i++) {
        errno = pthread_create(&threads[i].id, NULL, run, &threads[i]);
        if (errno != 0) {
            die("a thread");
        }
    }
    (void)run(&threads[0]);
    return 0;
}
