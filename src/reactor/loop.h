/* SPDX-License-Identifier: Apache-2.0 */
/* One event loop: timers, deferred work, signals, and the sockets of sock.h and listener.h on a backend (epoll here;
 * io_uring and virtual time later, behind struct loop_backend). Everything but loop_post runs on the loop's thread,
 * and every callback is called from loop_run, never from inside the call that caused it. A turn is:
 * wait, I/O callbacks, timers that are due, posted and deferred work, flush of all unsent output, graveyard. */
#ifndef MCP_REACTOR_LOOP_H
#define MCP_REACTOR_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

typedef void (*loop_cb)(void *owner);

/* NULL with errno when the kernel refuses. */
struct loop *loop_new(void);
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

/* A timer, embedded in its owner; zeroed is disarmed. Fires once. Arming again moves it. */
struct timer {
    loop_cb cb;
    void *owner;
    uint64_t due_us;
    size_t slot; /* place in the loop's heap, 1-based; 0: disarmed */
};
void timer_init(struct timer *t, loop_cb cb, void *owner);
void timer_arm(struct loop *loop, struct timer *t, uint64_t delay_ms);
void timer_cancel(struct loop *loop, struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return t->slot != 0;
}

/* Runs `cb` once in the deferred phase of this turn (of the next one when called from that phase). Deferring what is
 * deferred does nothing. Embedded in its owner; cancel before freeing the owner. */
struct task {
    loop_cb cb;
    void *owner;
    struct task *next;
    bool queued;
};
void task_init(struct task *t, loop_cb cb, void *owner);
void task_defer(struct loop *loop, struct task *t);
void task_cancel(struct loop *loop, struct task *t);

/* Frees `ptr` with `destroy` at the end of the turn: nothing is freed inside its own callback. */
void loop_bury(struct loop *loop, void *ptr, void (*destroy)(void *ptr));

/* `cb` runs on the loop when `signal` arrives (signalfd; the signal is blocked in this thread). */
int loop_signal(struct loop *loop, int signal, loop_cb cb, void *owner);

/* From any thread: `cb` runs on the loop in a later turn. 0 or MCP_ENOMEM. */
int loop_post(struct loop *loop, loop_cb cb, void *owner);

/* Runs `work` on a helper thread (what blocks: DNS, files), then `done` on the loop. `done` always runs, unless the loop is freed first. 0 or MCP_ENOMEM. */
int loop_offload(struct loop *loop, loop_cb work, loop_cb done, void *owner);

#endif
