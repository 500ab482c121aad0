/* SPDX-License-Identifier: Apache-2.0 */
/* Calls posted to a loop from any thread: a locked queue and a bell that rings when it was empty,
 * so a burst rings once. The bell is what the backends of two loops have for that, else an eventfd.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "reactor/loop_internal.h"

void post_queue_init(struct post_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

void post_queue_put(struct post_queue *q, struct post *p)
{
    p->next = NULL;
    *q->last = p;
    q->last = &p->next;
}

struct post *post_queue_pop(struct post_queue *q)
{
    struct post *p = q->first;

    if (p != NULL) {
        q->first = p->next;
        if (q->first == NULL) {
            q->last = &q->first;
        }
    }
    return p;
}

void post_drop(struct post *p)
{
    if (p->drop != NULL) {
        p->drop(p->owner);
    }
    free(p);
}

void post_queue_fini(struct post_queue *q)
{
    struct post *p;

    while ((p = post_queue_pop(q)) != NULL) {
        post_drop(p);
    }
}

static struct loop *loop_of(struct io *io)
{
    return (struct loop *)(void *)((char *)io - offsetof(struct loop, post_io));
}

static void rung(struct io *io)
{
    uint64_t count;

    /* Fails only when there is nothing to read, which is as good. */
    (void)!read(io->fd, &count, sizeof(count));
    loop_of(io)->posted = true;
}

static void released(struct io *io)
{
    (void)io; /* part of the loop, which goes next */
}

static const struct io_ops mailbox_ops = {.readable = rung, .released = released};

int mailbox_init(struct loop *loop)
{
    struct backend *b = loop->backend;
    int rv;

    loop->post_io = (struct io){
        .ops = &mailbox_ops, .kind = IO_EVENT, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (loop->post_io.fd < 0) {
        return -1;
    }
    rv = b->ops->open(b, &loop->post_io);
    if (rv < 0) {
        (void)close(loop->post_io.fd); /* nothing was written */
        errno = -rv;
        return -1;
    }
    (void)pthread_mutex_init(&loop->post_lock, NULL); /* cannot fail for a default mutex */
    post_queue_init(&loop->posts);
    return 0;
}

void mailbox_fini(struct loop *loop)
{
    post_queue_fini(&loop->posts);
    loop->backend->ops->close(loop->backend, &loop->post_io, false);
    (void)pthread_mutex_destroy(&loop->post_lock); /* nobody holds it any more */
}

void mailbox_run(struct loop *loop)
{
    struct post_queue taken;
    struct post *p;

    if (!loop->posted && !loop->backend->woken) {
        return;
    }
    loop->posted = loop->backend->woken = false;
    post_queue_init(&taken);
    (void)pthread_mutex_lock(&loop->post_lock);
    if (loop->posts.first != NULL) {
        taken = loop->posts;
        post_queue_init(&loop->posts);
    }
    (void)pthread_mutex_unlock(&loop->post_lock);
    while ((p = post_queue_pop(&taken)) != NULL) {
        p->cb(p->owner);
        free(p);
    }
}

static void ring_bell(struct loop *loop)
{
    static const uint64_t one = 1;
    struct backend *b = loop->backend;
    struct loop *by = loop_running();

    if (b->ops->wake == NULL || !b->ops->wake(b, by == NULL ? NULL : by->backend)) {
        (void)!write(loop->post_io.fd, &one, sizeof(one)); /* full means it rings already */
    }
}

void mailbox_put(struct loop *loop, struct post *p)
{
    bool ring;

    (void)pthread_mutex_lock(&loop->post_lock);
    ring = loop->posts.first == NULL;
    post_queue_put(&loop->posts, p);
    /* Under the lock, so that loop_free, which comes after the last post ran, finds no one at the
     * descriptor. */
    if (ring) {
        ring_bell(loop);
    }
    (void)pthread_mutex_unlock(&loop->post_lock);
}

int loop_post(struct loop *loop, loop_cb cb, void *owner)
{
    struct post *p = malloc(sizeof(*p));

    if (p == NULL) {
        return MCP_ENOMEM;
    }
    *p = (struct post){.cb = cb, .owner = owner};
    mailbox_put(loop, p);
    return 0;
}
