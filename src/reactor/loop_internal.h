/* SPDX-License-Identifier: Apache-2.0 */
/* The loop as its own files see it: loop.c, timer.c, mailbox.c, signals.c, offload.c, sock.c,
 * sock_gentle.c. */
#ifndef MCP_REACTOR_LOOP_INTERNAL_H
#define MCP_REACTOR_LOOP_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "reactor/backend.h"
#include "reactor/loop.h"
#include "reactor/outq.h"
#include "reactor/sock_internal.h"

LIST_DECLARE(task_list, struct task, link);
LIST_DECLARE(sock_dirty_list, struct sock, dirty_link);
LIST_DECLARE(sock_gentle_list, struct sock, gentle_link);

enum {
    TIMER_LEVELS = 11,
    TIMER_SLOTS = 64,
};

struct timer_wheel {
    uint64_t time_us;                  /* how far it has turned: the `now_us` of the last turn */
    uint64_t used_slots[TIMER_LEVELS]; /* a bit for each slot that holds timers, */
    uint32_t used_levels;              /* and one for each level that does */
    struct list_link due; /* ring of those due at time_us or before, first to fire first */
    struct list_link slots[TIMER_LEVELS][TIMER_SLOTS]; /* rings too, each the end of its own */
};

struct grave {
    void *ptr;
    void (*destroy)(void *ptr);
};

/* A call on its way to the loop, or to a helper thread first. */
struct post {
    struct post *next;
    loop_cb work; /* NULL: posted, not offloaded */
    loop_cb cb;
    loop_cb drop; /* in place of cb where the loop has gone; may be NULL */
    void *owner;
};

struct post_queue {
    struct post *first;
    struct post **last;
};

struct signal_hook {
    loop_cb cb;
    void *owner;
};

struct offload;

struct loop {
    struct backend *backend;
    uint64_t now_us;
    bool stopping;
    loop_cb turn_hook;
    void *turn_hook_owner;

    struct task_list tasks;
    uint64_t phase; /* number of the deferred phase that runs or comes next */

    struct grave *graves;
    size_t grave_count;
    size_t grave_cap;

    pthread_mutex_t post_lock; /* guards `posts` */
    struct post_queue posts;
    struct io post_io; /* an eventfd */
    bool posted;       /* it has rung */

    struct io signal_io;
    struct signal_hook *signals; /* by number; NULL until the first */

    struct offload *offload; /* NULL until the first */

    struct sock_dirty_list dirty;
    struct sock_gentle_list gentle;
    struct timer trim; /* gives back the memory that this thread keeps and does not use */

    struct timer_wheel timers; /* last: it is large */
};

/* loop.c: a turn, and how long it would wait at most; 0: there is work already. */
void loop_turn(struct loop *loop);
uint64_t loop_wait_limit_us(const struct loop *loop);

/* The one that this thread is in loop_run of; NULL: none. */
struct loop *loop_running(void);

/* timer.c */
void timers_init(struct loop *loop);
void timers_run(struct loop *loop);
/* When the next is due; UINT64_MAX: none is armed. */
uint64_t timers_next_us(const struct loop *loop);

/* mailbox.c */
int mailbox_init(struct loop *loop);
void mailbox_fini(struct loop *loop);
void mailbox_run(struct loop *loop);
/* Takes a post that is already allocated. Any thread. */
void mailbox_put(struct loop *loop, struct post *p);
void post_queue_init(struct post_queue *q);
void post_queue_put(struct post_queue *q, struct post *p);
struct post *post_queue_pop(struct post_queue *q);
void post_drop(struct post *p);
/* Frees what is left, uncalled. */
void post_queue_fini(struct post_queue *q);

/* signals.c */
void signals_fini(struct loop *loop);

/* offload.c: ends the helper threads; those in work that can be dropped, once that is done. */
void offload_free(struct loop *loop);

#endif
