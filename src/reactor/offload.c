/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's helper threads for what blocks. At most HELPERS_MAX, each started when work comes and
 * all others are busy. loop_free joins them, but for those in work that can be dropped: a look-up
 * of a name may take half a minute, and nobody waits for it any more. Such a thread ends by itself,
 * and the last one frees what they share. */
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
    loop_cb drop;
    void *owner;
};

struct helper {
    struct offload *offload;
    pthread_t thread;
    struct post *doing; /* NULL: nothing; guarded by the lock */
};

struct offload {
    struct loop *loop;
    struct errand *errands;
    pthread_mutex_t lock; /* guards the next five */
    pthread_cond_t wake;
    struct post_queue waiting;
    size_t waiting_count;
    size_t idle;
    bool stopping; /* the loop may be gone */
    size_t left;   /* threads that nobody joins, and loop_free itself while it runs */
    struct helper helpers[HELPERS_MAX];
    size_t helper_count; /* the loop's thread only */
};

static void offload_destroy(struct offload *o)
{
    (void)pthread_cond_destroy(&o->wake);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

/* With the lock held, which is given back. */
static void leave(struct offload *o)
{
    bool last = --o->left == 0;

    (void)pthread_mutex_unlock(&o->lock);
    if (last) {
        offload_destroy(o);
    }
}

/* Work for the thread; NULL: it is to end. With the lock held. */
static struct post *take_work(struct offload *o)
{
    struct post *p;

    o->idle++;
    while (!o->stopping && o->waiting.first == NULL) {
        (void)pthread_cond_wait(&o->wake, &o->lock);
    }
    o->idle--;
    if (o->stopping) {
        return NULL;
    }
    p = post_queue_pop(&o->waiting);
    o->waiting_count--;
    return p;
}

static void *help(void *arg)
{
    struct helper *h = arg;
    struct offload *o = h->offload;

    (void)pthread_mutex_lock(&o->lock);
    while ((h->doing = take_work(o)) != NULL) {
        struct post *p = h->doing;

        (void)pthread_mutex_unlock(&o->lock);
        p->work(p->owner);
        (void)pthread_mutex_lock(&o->lock);
        if (o->stopping) {
            bool was_left = p->drop != NULL;

            post_drop(p);
            if (was_left) {
                leave(o);
                return NULL;
            }
            break;
        }
        h->doing = NULL;
        /* Under the lock: the loop is there until `stopping` is set. */
        mailbox_put(o->loop, p);
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
    struct helper *h = &o->helpers[o->helper_count];
    bool started;

    h->offload = o;
    started = loop_thread_create(&h->thread, help, h) == 0;
    o->helper_count += started;
    return started;
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

static int run_errand(struct offload *o, const struct post *like)
{
    struct backend *b = o->loop->backend;
    struct errand *r = malloc(sizeof(*r));

    if (r == NULL) {
        return MCP_ENOMEM;
    }
    *r = (struct errand){.next = o->errands,
                         .offload = o,
                         .work = like->work,
                         .done = like->cb,
                         .drop = like->drop,
                         .owner = like->owner};
    o->errands = r;
    timer_init(&r->timer, on_errand, r);
    timer_arm_us(o->loop, &r->timer, b->ops->offload_us(b));
    return 0;
}

int loop_offload(struct loop *loop, loop_cb work, loop_cb done, loop_cb drop, void *owner)
{
    const struct post call = {.work = work, .cb = done, .drop = drop, .owner = owner};
    struct offload *o = loop->offload;
    struct post *p;
    bool busy;

    if (o == NULL) {
        o = loop->offload = offload_new(loop);
    }
    if (o != NULL && loop->backend->ops->offload_us != NULL) {
        return run_errand(o, &call);
    }
    p = o == NULL ? NULL : malloc(sizeof(*p));
    if (p == NULL) {
        return MCP_ENOMEM;
    }
    (void)pthread_mutex_lock(&o->lock);
    busy = o->waiting_count >= o->idle;
    (void)pthread_mutex_unlock(&o->lock);
    /* One helper is enough to go on when the kernel has no thread for us. */
    if (busy && o->helper_count < HELPERS_MAX && !start_helper(o) && o->helper_count == 0) {
        free(p);
        return MCP_ENOMEM;
    }
    *p = call;
    (void)pthread_mutex_lock(&o->lock);
    post_queue_put(&o->waiting, p);
    o->waiting_count++;
    (void)pthread_cond_signal(&o->wake);
    (void)pthread_mutex_unlock(&o->lock);
    return 0;
}

/* Who is not in work, or in work that must be waited for, is put into `join`. */
static size_t stop_helpers(struct offload *o, pthread_t join[HELPERS_MAX])
{
    size_t count = 0;

    (void)pthread_mutex_lock(&o->lock);
    o->stopping = true;
    o->left = 1;
    for (size_t i = 0; i < o->helper_count; i++) {
        const struct helper *h = &o->helpers[i];

        if (h->doing != NULL && h->doing->drop != NULL) {
            (void)pthread_detach(h->thread);
            o->left++;
        } else {
            join[count++] = h->thread;
        }
    }
    (void)pthread_cond_broadcast(&o->wake);
    (void)pthread_mutex_unlock(&o->lock);
    return count;
}

void offload_free(struct loop *loop)
{
    struct offload *o = loop->offload;
    pthread_t join[HELPERS_MAX];
    size_t count;

    if (o == NULL) {
        return;
    }
    loop->offload = NULL;
    while (o->errands != NULL) {
        struct errand *r = o->errands;

        if (r->drop != NULL) {
            r->drop(r->owner);
        }
        forget(r);
    }
    count = stop_helpers(o, join);
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(join[i], NULL);
    }
    (void)pthread_mutex_lock(&o->lock);
    post_queue_fini(&o->waiting);
    leave(o);
}
