/* SPDX-License-Identifier: Apache-2.0 */
#include "loop_fixture.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct loop *loop;

struct waiter {
    condition_fn condition;
    void *arg;
    struct timer tick;
    struct task task;
    uint64_t deadline_us;
    unsigned turns;
    bool held;
};

static void look(void *owner)
{
    struct waiter *w = owner;

    w->held = w->condition(w->arg);
    if (w->held || loop_now_us(loop) > w->deadline_us) {
        loop_stop(loop);
    } else {
        timer_arm(loop, &w->tick, 1);
    }
}

void run_until(condition_fn condition, void *arg)
{
    struct waiter w = {.condition = condition, .arg = arg};

    w.deadline_us = loop_clock_us(loop) + 10 * 1000 * 1000;
    timer_init(&w.tick, look, &w);
    timer_arm(loop, &w.tick, 0);
    loop_run(loop);
    timer_cancel(loop, &w.tick);
    assert_true(w.held);
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

void run_for_ms(unsigned ms)
{
    struct timer t;

    timer_init(&t, stop, NULL);
    timer_arm(loop, &t, ms);
    loop_run(loop);
}

static void count_turn(void *owner)
{
    struct waiter *w = owner;

    if (--w->turns == 0) {
        loop_stop(loop);
    } else {
        task_defer(loop, &w->task);
    }
}

void run_turns(unsigned n)
{
    struct waiter w = {.turns = n};

    task_init(&w.task, count_turn, &w);
    task_defer(loop, &w.task);
    loop_run(loop);
}

int listen_local(struct addr *at)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 16), 0);
    at->len = sizeof(at->ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at->ss, &at->len), 0);
    return fd;
}

void tcp_pair(int fds[2])
{
    struct addr at;
    int listener = listen_local(&at);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&at.ss, at.len), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    assert_int_equal(close(listener), 0);
}
