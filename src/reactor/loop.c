/* SPDX-License-Identifier: Apache-2.0 */
/* The turn, deferred tasks and the graveyard. */
#include "reactor/loop.h"

#include <errno.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "reactor/loop_internal.h"

enum { TRIM_MS = 1000, SEND_BATCH_MIN = 4 };

static _Thread_local struct loop *running;
static void on_trim(void *owner);

struct loop *loop_new_on(const struct backend_ops *ops, const struct loop_sys *sys)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }
    loop->backend = ops->create(sys);
    if (loop->backend == NULL) {
        goto fail_loop;
    }
    loop->backend->batch_min =
        sys == NULL || sys->send_batch_min == 0 ? SEND_BATCH_MIN : sys->send_batch_min;
    loop->signal_io.fd = -1;
    loop->now_us = ops->clock_us(loop->backend);
    timers_init(loop);
    timer_init(&loop->trim, on_trim, loop);
    if (mailbox_init(loop) < 0) {
        goto fail_backend;
    }
    return loop;

fail_backend:
    ops->destroy(loop->backend);
fail_loop:
    free(loop);
    return NULL;
}

static void sweep(struct loop *loop)
{
    loop->backend->ops->sweep(loop->backend);
    /* In the order buried; what is destroyed may bury more. */
    for (size_t i = 0; i < loop->grave_count; i++) {
        struct grave g = loop->graves[i];

        g.destroy(g.ptr);
    }
    loop->grave_count = 0;
}

void loop_free(struct loop **loopp)
{
    struct loop *loop = *loopp;

    if (loop == NULL) {
        return;
    }
    *loopp = NULL;
    offload_free(loop);
    socks_gentle_fini(loop);
    signals_fini(loop);
    mailbox_fini(loop);
    sweep(loop);
    loop->backend->ops->sweep(loop->backend); /* what was closed by the last ones destroyed */
    loop->backend->ops->destroy(loop->backend);
    free(loop->graves);
    free(loop);
    blocks_release();
}

static void run_tasks(struct loop *loop)
{
    uint64_t phase = loop->phase++;
    struct task *t;

    while ((t = task_list_first(&loop->tasks)) != NULL && t->phase <= phase) {
        task_list_remove(&loop->tasks, t);
        t->cb(t->owner);
    }
}

uint64_t loop_wait_limit_us(const struct loop *loop)
{
    uint64_t due = timers_next_us(loop);
    uint64_t now;

    if (loop->tasks.count > 0 || loop->dirty.count > 0) {
        return 0;
    }
    if (due == UINT64_MAX) {
        return UINT64_MAX;
    }
    now = loop_clock_us(loop);
    return due > now ? due - now : 0;
}

static void on_trim(void *owner)
{
    (void)owner; /* blocks are the thread's; the next turn sees whether there are any left */
    blocks_trim();
}

static void set_now(struct loop *loop)
{
    uint64_t now = loop_clock_us(loop);

    loop->now_us = now > loop->now_us ? now : loop->now_us;
}

void loop_set_turn_hook(struct loop *loop, loop_cb cb, void *owner)
{
    loop->turn_hook = cb;
    loop->turn_hook_owner = owner;
}

static void run_hook(struct loop *loop)
{
    if (loop->turn_hook != NULL) {
        loop->turn_hook(loop->turn_hook_owner);
    }
}

void loop_turn(struct loop *loop)
{
    const struct backend_ops *ops = loop->backend->ops;

    ops->wait(loop->backend, loop_wait_limit_us(loop));
    set_now(loop);
    counter_add(COUNTER_LOOP_TURNS, 1);
    ops->dispatch(loop->backend);
    timers_run(loop);
    mailbox_run(loop);
    run_tasks(loop);
    run_hook(loop);
    socks_flush(loop);
    sweep(loop);
    run_hook(loop);
    if (!timer_armed(&loop->trim) && blocks_kept() > 0) {
        timer_arm(loop, &loop->trim, TRIM_MS);
    }
}

void loop_run(struct loop *loop)
{
    const int gauge = loop->backend->ops->gauge;
    struct loop *outer = running;

    running = loop;
    if (gauge != 0) {
        counter_add((enum counter_id)gauge, 1);
    }
    set_now(loop);
    while (!loop->stopping) {
        loop_turn(loop);
    }
    loop->stopping = false;
    running = outer;
    if (gauge != 0) {
        counter_add((enum counter_id)gauge, -1);
    }
}

struct loop *loop_running(void)
{
    return running;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

uint64_t loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

uint64_t loop_clock_us(const struct loop *loop)
{
    return loop->backend->ops->clock_us(loop->backend);
}

uint64_t loop_wall_us(const struct loop *loop)
{
    return loop->backend->ops->wall_us(loop->backend);
}

void task_init(struct task *t, loop_cb cb, void *owner)
{
    *t = (struct task){.cb = cb, .owner = owner};
}

void task_defer(struct loop *loop, struct task *t)
{
    if (!task_list_has(t)) {
        t->phase = loop->phase;
        task_list_push(&loop->tasks, t);
    }
}

void task_cancel(struct loop *loop, struct task *t)
{
    if (task_list_has(t)) {
        task_list_remove(&loop->tasks, t);
    }
}

void loop_bury(struct loop *loop, void *ptr, void (*destroy)(void *ptr))
{
    if (loop->grave_count == loop->grave_cap) {
        size_t cap = loop->grave_cap == 0 ? 64 : loop->grave_cap * 2;
        struct grave *graves = realloc(loop->graves, cap * sizeof(*graves));

        if (graves == NULL) {
            /* Freeing it now could be inside its own callback. */
            LOG_ERROR("loop_grave_leaked", "reason=out_of_memory");
            return;
        }
        loop->graves = graves;
        loop->grave_cap = cap;
    }
    loop->graves[loop->grave_count++] = (struct grave){ptr, destroy};
}

size_t loop_gentle_count(const struct loop *loop)
{
    return loop->gentle.count;
}
