/* SPDX-License-Identifier: Apache-2.0 */
/* One event loop: timers, deferred work, signals, and the sockets of sock.h and listener.h on a
 * backend (epoll, io_uring, virtual time; backend.h). Everything but loop_post runs on the loop's
 * thread, and every callback is called from loop_run, never from inside the call that caused it. A
 * turn is: wait, I/O callbacks, timers that are due, posted and
 * deferred work, flush of all unsent output, graveyard. */
#ifndef MCP_REACTOR_LOOP_H
#define MCP_REACTOR_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

typedef void (*loop_cb)(void *owner);

enum loop_backend { LOOP_BACKEND_AUTO, LOOP_BACKEND_EPOLL, LOOP_BACKEND_URING };
enum { LOOP_WHY_MAX = 192 };
/* Which backend loop_new takes, epoll before; at start-up, before there are threads. Its name, and
 * why it is that one; NULL: the one named cannot be had here, and why. */
const char *loop_choose(enum loop_backend wanted, char why[LOOP_WHY_MAX]);

/* NULL with errno when the kernel refuses. */
struct loop *loop_new(void);
/* After every sock and listener on it was closed; by the thread that ran it, or after that one has
 * ended. Sockets still being closed gently are written to once more and cut; posted and offloaded
 * calls that have not run are dropped. Waits for offloaded work that is running and has no `drop`.
 */
void loop_free(struct loop **loop);
/* Returns after loop_stop, once the running turn is over. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic time of the running turn; never goes back. */
uint64_t loop_now_us(const struct loop *loop);
static inline uint64_t loop_now_ms(const struct loop *loop)
{
    return loop_now_us(loop) / 1000;
}
/* The monotonic clock itself, for measuring inside a turn. */
uint64_t loop_clock_us(const struct loop *loop);
/* Wall clock in microseconds since 1970, for what people and Ollama's created_at read. */
uint64_t loop_wall_us(const struct loop *loop);

/* A timer, embedded in its owner; zeroed is disarmed. Fires once. Arming again moves it. Timers due
 * at the same time fire in the order they were armed; one armed by a timer callback fires in a
 * later turn. Arming cannot fail. */
struct timer {
    loop_cb cb;
    void *owner;
    uint64_t due_us;
    struct list_link link; /* on a list of the loop's timing wheel while it is armed */
};
void timer_init(struct timer *t, loop_cb cb, void *owner);
void timer_arm(struct loop *loop, struct timer *t, uint64_t delay_ms);
void timer_arm_us(struct loop *loop, struct timer *t, uint64_t delay_us);
void timer_cancel(struct loop *loop, struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return t->link.next != NULL;
}

/* Runs `cb` once in the deferred phase of this turn (of the next one when called from that phase).
 * Deferring what is deferred does nothing. Embedded; cancel before freeing the owner. */
struct task {
    loop_cb cb;
    void *owner;
    struct list_link link;
    uint64_t phase; /* deferred for this deferred phase of the loop */
};
void task_init(struct task *t, loop_cb cb, void *owner);
void task_defer(struct loop *loop, struct task *t);
void task_cancel(struct loop *loop, struct task *t);

/* `cb` is called in every turn before its output is flushed, and after; NULL: none. For what is
 * gathered over a turn. */
void loop_set_turn_hook(struct loop *loop, loop_cb cb, void *owner);

/* Frees `ptr` with `destroy` at the end of the turn: nothing is freed inside its own callback. */
void loop_bury(struct loop *loop, void *ptr, void (*destroy)(void *ptr));

/* Sockets handed to sock_close_gently that are not closed yet; a process that ends well waits for
 * 0. */
size_t loop_gentle_count(const struct loop *loop);

/* `cb` runs on the loop when `signal` arrives. 0, or -1 with errno. The signal is blocked in this
 * thread, and stays so after loop_free; call it before other threads are started, so that they
 * inherit that. */
int loop_signal(struct loop *loop, int signal, loop_cb cb, void *owner);
/* pthread_create for a thread that gets no signals: those are some loop's. */
int loop_thread_create(pthread_t *thread, void *(*run)(void *arg), void *arg);

/* From any thread: `cb` runs on the loop in a later turn, in the order posted. 0 or MCP_ENOMEM. */
int loop_post(struct loop *loop, loop_cb cb, void *owner);

/* Runs `work` on a helper thread (what blocks: DNS, files), then `done` on the loop. Instead of
 * `done` comes `drop` when the loop is freed first, on any thread and as late as the work ends:
 * then `work` and `drop` may use nothing but what `owner` owns. `drop` may be NULL. 0, or
 * MCP_ENOMEM (no memory, or not a single thread can be had). */
int loop_offload(struct loop *loop, loop_cb work, loop_cb done, loop_cb drop, void *owner);

#endif
