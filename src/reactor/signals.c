/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of a loop, through one signalfd; threads that get none. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "reactor/loop_internal.h"

static struct loop *loop_of(struct io *io)
{
    return (struct loop *)(void *)((char *)io - offsetof(struct loop, signal_io));
}

static void arrived(struct io *io)
{
    struct loop *loop = loop_of(io);
    struct signalfd_siginfo info[8];
    ssize_t n = read(io->fd, info, sizeof(info));

    for (ssize_t i = 0; i < n / (ssize_t)sizeof(info[0]); i++) {
        const struct signal_hook *h = &loop->signals[info[i].ssi_signo];

        h->cb(h->owner);
    }
}

static void released(struct io *io)
{
    (void)io; /* part of the loop, which goes next */
}

static const struct io_ops signal_ops = {.readable = arrived, .released = released};

static int watch(struct loop *loop, const sigset_t *set)
{
    struct backend *b = loop->backend;
    int fd = signalfd(loop->signal_io.fd, set, SFD_CLOEXEC | SFD_NONBLOCK);
    int rv;

    if (fd < 0 || loop->signal_io.fd >= 0) {
        return fd < 0 ? -1 : 0;
    }
    loop->signal_io = (struct io){.ops = &signal_ops, .kind = IO_EVENT, .fd = fd};
    rv = b->ops->open(b, &loop->signal_io);
    if (rv < 0) {
        (void)close(fd); /* nothing was written */
        loop->signal_io.fd = -1;
        errno = -rv;
        return -1;
    }
    return 0;
}

int loop_signal(struct loop *loop, int signal, loop_cb cb, void *owner)
{
    sigset_t set;

    if (signal < 1 || signal >= NSIG) {
        errno = EINVAL;
        return -1;
    }
    if (loop->signals == NULL) {
        loop->signals = calloc(NSIG, sizeof(*loop->signals));
        if (loop->signals == NULL) {
            return -1;
        }
    }
    loop->signals[signal] = (struct signal_hook){cb, owner};
    (void)sigemptyset(&set); /* these three cannot fail: the numbers were checked */
    for (int i = 1; i < NSIG; i++) {
        if (loop->signals[i].cb != NULL) {
            (void)sigaddset(&set, i);
        }
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (watch(loop, &set) < 0) {
        loop->signals[signal].cb = NULL;
        return -1;
    }
    return 0;
}

int loop_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    int rv;

    (void)sigfillset(&all); /* these fail on bad arguments alone */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

void signals_fini(struct loop *loop)
{
    if (loop->signal_io.fd >= 0) {
        loop->backend->ops->close(loop->backend, &loop->signal_io, false);
    }
    free(loop->signals);
    loop->signals = NULL;
}
