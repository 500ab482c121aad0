/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/post_box.h"

#include <time.h>

#include "base/check.h"
#include "base/err.h"

static void run_all(struct post_messages *messages)
{
    struct post_message *m;

    while ((m = post_messages_pop(messages)) != NULL) {
        m->run(m);
    }
}

/* Those that come while these run are for the next turn. */
static void run_own(void *owner)
{
    struct post_box *b = owner;
    size_t count = b->own.count;

    while (count-- > 0) {
        struct post_message *m = post_messages_pop(&b->own);

        m->run(m);
    }
    if (b->own.count > 0) {
        task_defer(b->loop, &b->task);
    }
}

static void run_others(void *owner)
{
    struct post_box *b = owner;
    struct post_messages taken = {0};
    struct post_message *m;

    (void)pthread_mutex_lock(&b->lock);
    while ((m = post_messages_pop(&b->others)) != NULL) {
        post_messages_push(&taken, m);
    }
    b->posted = false;
    (void)pthread_mutex_unlock(&b->lock);
    run_all(&taken);
}

void post_box_init(struct post_box *b, struct loop *loop)
{
    *b = (struct post_box){.loop = loop};
    task_init(&b->task, run_own, b);
    (void)pthread_mutex_init(&b->lock, NULL); /* cannot fail for a default mutex */
}

void post_box_fini(struct post_box *b)
{
    ASSERT(b->own.count == 0 && b->others.count == 0);
    (void)pthread_mutex_destroy(&b->lock); /* nobody holds it any more */
}

void post_box_put(struct post_box *to, const struct post_box *from, struct post_message *m)
{
    static const struct timespec a_moment = {.tv_nsec = 1000000};
    bool post;

    if (to == from) {
        post_messages_push(&to->own, m);
        task_defer(to->loop, &to->task);
        return;
    }
    (void)pthread_mutex_lock(&to->lock);
    post_messages_push(&to->others, m);
    post = !to->posted;
    to->posted = true;
    (void)pthread_mutex_unlock(&to->lock);
    while (post && loop_post(to->loop, run_others, to) != MCP_OK) {
        (void)nanosleep(&a_moment, NULL); /* there will be memory, or somebody who kills us */
    }
}
