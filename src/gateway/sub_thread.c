/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/sub_thread.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct sub_thread {
    pthread_t thread;
    struct sub *sub;
    struct nodes *leader;
    struct sub_options options;
    loop_cb on_drained; /* of the main reactor */
    void *on_drained_owner;
    sem_t made;   /* by the thread: `error` says how it went */
    sem_t go;     /* by the main reactor: to run, or `never` */
    int error;    /* errno; 0: there is a loop */
    bool started; /* the main reactor's */
    bool never;   /* it ends without having run */
};

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) != 0) {
        ASSERT(errno == EINTR);
    }
}

/* For what the end depends on: without memory there will be some, or somebody who kills us. */
static void post_surely(struct loop *loop, loop_cb cb, void *owner)
{
    static const struct timespec a_moment = {.tv_nsec = 1000000};

    while (loop_post(loop, cb, owner) != MCP_OK) {
        (void)nanosleep(&a_moment, NULL); /* shorter is as good */
    }
}

/* The loop runs on: it can still be asked about what it did. */
static void on_drained(void *owner)
{
    struct sub_thread *t = owner;

    post_surely(nodes_loop(t->leader), t->on_drained, t->on_drained_owner);
}

static void serve(struct sub_thread *t, struct loop *loop)
{
    /* The starter waits, so that nothing runs on the leader's loop. */
    struct nodes *nodes = nodes_follow(t->leader, loop);

    sub_init(t->sub, loop, nodes, &t->options);
    (void)sem_post(&t->made);
    wait_for(&t->go);
    if (!t->never) {
        loop_run(loop);
    }
    sub_fini(t->sub);
    nodes_free(&nodes);
}

/* The loop is made, run and freed here: some backends want one and the same thread for that. */
static void *run(void *arg)
{
    struct sub_thread *t = arg;
    struct loop *loop = loop_new();

    if (loop == NULL) {
        t->error = errno;
        (void)sem_post(&t->made);
        return NULL;
    }
    counters_attach(&t->sub->counters);
    serve(t, loop);
    loop_free(&loop);
    counters_attach(NULL);
    return NULL;
}

struct sub_thread *sub_thread_new(struct sub *s, struct nodes *leader, const struct sub_options *o,
                                  struct err *e)
{
    struct sub_thread *t = xcalloc(1, sizeof(*t));
    char name[16];
    int rv;

    t->sub = s;
    t->leader = leader;
    t->options = *o;
    t->options.on_drained = on_drained;
    t->options.on_drained_owner = t;
    t->on_drained = o->on_drained;
    t->on_drained_owner = o->on_drained_owner;
    (void)sem_init(&t->made, 0, 0); /* neither can fail */
    (void)sem_init(&t->go, 0, 0);
    rv = loop_thread_create(&t->thread, run, t);
    if (rv == 0) {
        (void)snprintf(name, sizeof(name), "sub-%u", o->index % 1000);
        (void)pthread_setname_np(t->thread, name); /* for who looks with top -H */
        wait_for(&t->made);
        if (t->error == 0) {
            return t;
        }
        (void)pthread_join(t->thread, NULL);
        rv = t->error;
    }
    (void)err_set(e, MCP_EINTERNAL, "the kernel gives no sub reactor: %s%s", strerror(rv),
                  rv == ENOMEM ? "; rings of io_uring count as locked memory (ulimit -l)" : "");
    free(t);
    return NULL;
}

void sub_thread_start(struct sub_thread *t)
{
    t->started = true;
    (void)sem_post(&t->go);
}

static void drain(void *owner)
{
    struct sub *s = owner;

    sub_drain(s);
}

void sub_thread_drain(struct sub_thread *t)
{
    post_surely(t->sub->loop, drain, t->sub);
}

static void stop(void *owner)
{
    struct sub *s = owner;

    loop_stop(s->loop);
}

void sub_thread_free(struct sub_thread **tp)
{
    struct sub_thread *t = *tp;

    if (t == NULL) {
        return;
    }
    *tp = NULL;
    if (t->started) {
        post_surely(t->sub->loop, stop, t->sub);
    } else {
        t->never = true;
        (void)sem_post(&t->go);
    }
    (void)pthread_join(t->thread, NULL);
    (void)sem_destroy(&t->made);
    (void)sem_destroy(&t->go);
    free(t);
}
