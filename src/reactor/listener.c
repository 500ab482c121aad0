/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "reactor/loop_internal.h"
#include "reactor/net.h"
#include "reactor/port_owner.h"

enum { LISTENER_MAGIC = 0x115e, PAUSE_MS = 100, RESERVE_MAX = 1024, SPARES = 4 };

struct listener {
    unsigned magic;
    struct io io;
    struct loop *loop;
    listener_cb cb;
    void *owner;
    struct addr at;
    struct timer pause;
    bool exhausted; /* until a connection is accepted: one log line for one shortage */
    bool stopped;   /* while `pause` runs */
    bool for_operators;
    int spares[SPARES]; /* descriptors held to be given up for a connection */
    size_t spare_count;
    dev_t path_dev; /* our unix path, so that another's is not removed */
    ino_t path_ino;
};

static struct listener *listener_of(struct io *io)
{
    struct listener *l = (struct listener *)(void *)((char *)io - offsetof(struct listener, io));

    OBJ_CHECK(l, LISTENER_MAGIC);
    return l;
}

/* A quarter of the descriptors, 1024 at most, is not for those who come from outside: without it
 * idle clients could keep us from connecting to anybody. */
static bool is_reserved(int fd)
{
    struct rlimit limit;
    rlim_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return false;
    }
    reserve = limit.rlim_cur / 4 < RESERVE_MAX ? limit.rlim_cur / 4 : RESERVE_MAX;
    return (rlim_t)fd >= limit.rlim_cur - reserve;
}

/* Whether the next connection would get one of the reserved: the kernel gives the lowest number. */
static bool reserve_is_reached(const struct listener *l)
{
    int next;
    bool reached;

    if (l->loop->backend->ops->drop != NULL) {
        return false; /* not the kernel's descriptors */
    }
    next = fcntl(l->io.fd, F_DUPFD_CLOEXEC, 0);
    reached = next < 0 || is_reserved(next);
    if (next >= 0) {
        (void)close(next); /* nothing was written */
    }
    return reached;
}

/* Connections stay in the kernel's queue; trying again at once would spin. */
static void pause_accepting(struct listener *l, int error)
{
    if (!l->exhausted) {
        char at[ADDR_TEXT_MAX];

        addr_format(&l->at, at);
        LOG_WARN("accept_failed", "listener=%s error=\"%s\" pause_ms=%d", at, strerror(error),
                 PAUSE_MS);
        l->exhausted = true;
    }
    l->stopped = true;
    l->loop->backend->ops->recv_stop(l->loop->backend, &l->io);
    timer_arm(l->loop, &l->pause, PAUSE_MS);
}

static void take_spares(struct listener *l)
{
    while (l->spare_count < SPARES) {
        int fd = eventfd(0, EFD_CLOEXEC);

        if (fd < 0) {
            return;
        }
        l->spares[l->spare_count++] = fd;
    }
}

static bool give_spare(struct listener *l)
{
    if (l->spare_count == 0) {
        return false;
    }
    (void)close(l->spares[--l->spare_count]); /* nothing was written */
    if (!timer_armed(&l->pause)) {
        timer_arm(l->loop, &l->pause, PAUSE_MS); /* to take one again */
    }
    return true;
}

static void on_accepted(struct io *io, int fd, const struct addr *peer)
{
    struct listener *l = listener_of(io);

    l->exhausted = false;
    if (!l->for_operators && is_reserved(fd + 1) && reserve_is_reached(l)) {
        counter_add(COUNTER_ACCEPT_FAILED, 1);
        pause_accepting(l, EMFILE);
    }
    l->cb(l->owner, fd, peer);
}

static void on_accept_failed(struct io *io, int error)
{
    struct listener *l = listener_of(io);

    if ((error == EMFILE || error == ENFILE) && give_spare(l)) {
        return;
    }
    counter_add(COUNTER_ACCEPT_FAILED, 1);
    if (error != ECONNABORTED && error != EPROTO) { /* those left while they waited */
        pause_accepting(l, error);
    }
}

static void on_pause_over(void *owner)
{
    struct listener *l = owner;
    bool is_short;

    OBJ_CHECK(l, LISTENER_MAGIC);
    if (l->for_operators) {
        take_spares(l);
        is_short = l->spare_count < SPARES;
    } else {
        is_short = reserve_is_reached(l);
    }
    if (is_short) {
        timer_arm(l->loop, &l->pause, PAUSE_MS);
    }
    if (l->stopped && (l->for_operators || !is_short)) {
        l->stopped = false;
        l->loop->backend->ops->recv_start(l->loop->backend, &l->io);
    }
}

static void on_released(struct io *io)
{
    struct listener *l = listener_of(io);

    l->magic = 0;
    free(l);
}

static const struct io_ops listener_ops = {
    .accepted = on_accepted,
    .accept_failed = on_accept_failed,
    .released = on_released,
};

static const char *unix_path(const struct addr *at, struct sockaddr_un *un)
{
    memcpy(un, &at->ss, sizeof(*un));
    return un->sun_path;
}

/* A socket in the file system that nobody listens on any more. */
static bool is_stale(const struct addr *at)
{
    struct sockaddr_un un;
    struct stat st;
    int fd;
    bool refused;

    if (at->ss.ss_family != AF_UNIX || lstat(unix_path(at, &un), &st) < 0 ||
        !S_ISSOCK(st.st_mode)) {
        return false;
    }
    fd = net_socket(AF_UNIX);
    if (fd < 0) {
        return false;
    }
    refused = connect(fd, (const struct sockaddr *)&at->ss, at->len) < 0 && errno == ECONNREFUSED;
    net_close(fd, false);
    return refused;
}

/* Something else that has the name of the socket. */
static bool is_in_the_way(const struct addr *at)
{
    struct sockaddr_un un;
    struct stat st;

    return at->ss.ss_family == AF_UNIX && lstat(unix_path(at, &un), &st) == 0 &&
           !S_ISSOCK(st.st_mode);
}

static void explain(const struct addr *at, int error, struct err *e)
{
    char text[ADDR_TEXT_MAX];
    char owner[PORT_OWNER_TEXT_MAX];

    addr_format(at, text);
    if (error == EADDRINUSE && is_in_the_way(at)) {
        (void)err_set(e, MCP_ECONNECT, "cannot listen on %s: there is a file of that name", text);
    } else if (error == EADDRINUSE) {
        (void)err_set(e, MCP_ECONNECT, "%s is in use by %s", text,
                      port_owner_find(at, owner) ? owner : "another process");
    } else {
        (void)err_set(e, MCP_ECONNECT, "cannot listen on %s: %s", text, strerror(error));
    }
}

static int start_listening(struct listener *l, const struct addr *at)
{
    struct backend *b = l->loop->backend;
    struct sockaddr_un un;
    struct stat st;
    int rv = b->ops->listen(b, &l->io, at, &l->at);

    if (rv == -EADDRINUSE && is_stale(at) && unlink(unix_path(at, &un)) == 0) {
        rv = b->ops->listen(b, &l->io, at, &l->at);
    }
    if (rv == 0 && at->ss.ss_family == AF_UNIX && stat(unix_path(at, &un), &st) == 0) {
        l->path_dev = st.st_dev;
        l->path_ino = st.st_ino;
    }
    return rv;
}

struct listener *listener_new(struct loop *loop, const struct addr *at, listener_cb cb, void *owner,
                              struct err *e)
{
    struct listener *l = calloc(1, sizeof(*l));
    int rv;

    if (l == NULL) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
        return NULL;
    }
    l->magic = LISTENER_MAGIC;
    l->io = (struct io){.ops = &listener_ops, .kind = IO_LISTENER, .fd = -1};
    l->loop = loop;
    l->cb = cb;
    l->owner = owner;
    timer_init(&l->pause, on_pause_over, l);
    rv = start_listening(l, at);
    if (rv < 0) {
        explain(at, -rv, e);
        free(l);
        return NULL;
    }
    loop->backend->ops->recv_start(loop->backend, &l->io);
    return l;
}

void listener_free(struct listener **lp)
{
    struct listener *l = *lp;
    struct sockaddr_un un;
    struct stat st;

    if (l == NULL) {
        return;
    }
    OBJ_CHECK(l, LISTENER_MAGIC);
    *lp = NULL;
    while (l->spare_count > 0) {
        (void)close(l->spares[--l->spare_count]); /* nothing was written */
    }
    timer_cancel(l->loop, &l->pause);
    if (l->at.ss.ss_family == AF_UNIX && lstat(unix_path(&l->at, &un), &st) == 0 &&
        st.st_dev == l->path_dev && st.st_ino == l->path_ino) {
        (void)unlink(un.sun_path); /* it stays behind then, as stale */
    }
    l->loop->backend->ops->close(l->loop->backend, &l->io, false);
}

void listener_keep_reachable(struct listener *l)
{
    OBJ_CHECK(l, LISTENER_MAGIC);
    l->for_operators = true;
    take_spares(l);
}

const struct addr *listener_addr(const struct listener *l)
{
    return &l->at;
}
