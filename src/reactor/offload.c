/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's helper threads for what blocks. At most HELPERS_MAX, each started when work comes and
 * all others are busy, joined by loop_free. Signals are blocked in them: those are the loop's. */
#include <signal.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "reactor/loop_internal.h"

enum { HELPERS_MAX = 4 };

/* Done on the loop itself, where the backend wants that. */
struct errand {
    struct errand *next;
    struct offload *offload;
    struct timer timer;
    loop_cb work;
    loop_cb done;
    void *owner;
};

struct offload {
    struct loop *loop;
    struct errand *errands;
    pthread_mutex_t lock; /* guards the next four */
    pthread_cond_t wake;
    struct post_queue waiting;
    size_t waiting_count;
    size_t idle;
    bool stopping;
    pthread_t threads[HELPERS_MAX]; /* the loop's thread only */
    size_t thread_count;
};

static void *help(void *arg)
{
    struct offload *o = arg;

    (void)pthread_mutex_lock(&o->lock);
    for (;;) {
        struct post *p;

        o->idle++;
        while (!o->stopping && o->waiting.first == NULL) {
            (void)pthread_cond_wait(&o->wake, &o->lock);
        }
        o->idle--;
        if (o->stopping) {
            break;
        }
        p = post_queue_pop(&o->waiting);
        o->waiting_count--;
        (void)pthread_mutex_unlock(&o->lock);
        p->work(p->owner);
        mailbox_put(o->loop, p);
        (void)pthread_mutex_lock(&o->lock);
    }
    (void)pthread_mutex_unlock(&o->lock);
    return NULL;
}

static struct offload *offload_new(struct loop *loop)
{
    struct offload *o = calloc(1, sizeof(*o));

    if (o != NULL) {
        o->loop = loop;
        (void)pthread_mutex_init(&o->lock, NULL); /* neither can fail with default attributes */
        (void)pthread_cond_init(&o->wake, NULL);
        post_queue_init(&o->waiting);
    }
    return o;
}

static bool start_helper(struct offload *o)
{
    sigset_t all;
    sigset_t before;
    int rv;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = pthread_create(&o->threads[o->thread_count], NULL, help, o);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    o->thread_count += rv == 0;
    return rv == 0;
}

static void forget(struct errand *r)
{
    struct errand **at = &r->offload->errands;

    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    timer_cancel(r->offload->loop, &r->timer);
    free(r);
}

static void on_errand(void *owner)
{
    struct errand *r = owner;
    loop_cb done = r->done;
    void *whose = r->owner;

    r->work(whose);
    forget(r);
    done(whose);
}

static int run_errand(struct offload *o, loop_cb work, loop_cb done, void *owner)
{
    struct backend *b = o->loop->backend;
    struct errand *r = malloc(sizeof(*r));

    if (r == NULL) {
        return MCP_ENOMEM;
    }
    *r = (struct errand){
        .next = o->errands, .offload = o, .work = work, .done = done, .owner = owner};
    o->errands = r;
    timer_init(&r->timer, on_errand, r);
    timer_arm_us(o->loop, &r->timer, b->ops->offload_us(b));
    return 0;
}

int loop_offload(struct loop *loop, loop_cb work, loop_cb done, void *owner)
{
    struct offload *o = loop->offload;
    struct post *p;
    bool busy;

    if (o == NULL) {
        o = loop->offload = offload_new(loop);
    }
    if (o != NULL && loop->backend->ops->offload_us != NULL) {
        return run_errand(o, work, done, owner);
    }
    p = o == NULL ? NULL : malloc(sizeof(*p));
    if (p == NULL) {
        return MCP_ENOMEM;
    }
    (void)pthread_mutex_lock(&o->lock);
    busy = o->waiting_count >= o->idle;
    (void)pthread_mutex_unlock(&o->lock);
    /* One helper is enough to go on when the kernel has no thread for us. */
    if (busy && o->thread_count < HELPERS_MAX && !start_helper(o) && o->thread_count == 0) {
        free(p);
        return MCP_ENOMEM;
    }
    *p = (struct post){.work = work, .cb = done, .owner = owner};
    (void)pthread_mutex_lock(&o->lock);
    post_queue_put(&o->waiting, p);
    o->waiting_count++;
    (void)pthread_cond_signal(&o->wake);
    (void)pthread_mutex_unlock(&o->lock);
    return 0;
}

void offload_free(struct loop *loop)
{
    struct offload *o = loop->offload;

    if (o == NULL) {
        return;
    }
    loop->offload = NULL;
    while (o->errands != NULL) {
        forget(o->errands);
    }
    (void)pthread_mutex_lock(&o->lock);
    o->stopping = true;
    (void)pthread_cond_broadcast(&o->wake);
    (void)pthread_mutex_unlock(&o->lock);
    for (size_t i = 0; i < o->thread_count; i++) {
        (void)pthread_join(o->threads[i], NULL);
    }
    post_queue_fini(&o->waiting);
    (void)pthread_cond_destroy(&o->wake);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}
