/* SPDX-License-Identifier: Apache-2.0 */
#include "node_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fds.h"
#include "reactor/backend.h"
#include "reactor/loop_internal.h"

enum { TURNS = 8, DEADLINE_S = 10 };

struct loop *loop;
struct counters counters;
struct nodes *nodes;
unsigned changes;

static uint64_t clock_us;
static int wait_ms; /* how long the kernel may wait for an event, whatever the loop wants */

/* A listening socket that nobody accepts from and whose queue is full: the kernel lets connections
 * to it wait. */
static int full_listener;
static int full_filler;
static struct addr full_at;

static uint64_t fixed_clock_us(struct backend *b)
{
    (void)b;
    return clock_us;
}

static int short_wait(int epfd, struct epoll_event *events, int max, const struct timespec *timeout)
{
    (void)timeout;
    return epoll_wait(epfd, events, max, wait_ms);
}

static int connect_or_hang(int fd, const struct sockaddr *sa, socklen_t len)
{
    if (full_listener >= 0 && sa->sa_family == AF_INET) {
        return connect(fd, (const struct sockaddr *)&full_at.ss, full_at.len);
    }
    return connect(fd, sa, len);
}

void hang_connects(bool hang)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (!hang) {
        if (full_listener >= 0) {
            assert_int_equal(close(full_filler), 0);
            assert_int_equal(close(full_listener), 0);
            full_listener = -1;
        }
        return;
    }
    full_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full_listener, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(full_listener, 0), 0);
    full_at.len = sizeof(full_at.ss);
    assert_int_equal(getsockname(full_listener, (struct sockaddr *)&full_at.ss, &full_at.len), 0);
    full_filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(full_filler, (struct sockaddr *)&full_at.ss, full_at.len), 0);
}

static void make_loop(void)
{
    static struct backend_ops fixed;
    static struct loop_sys sys;

    sys = loop_sys_real;
    sys.epoll_wait = short_wait;
    sys.connect = connect_or_hang;
    fixed = backend_epoll;
    fixed.clock_us = fixed_clock_us;
    clock_us = 1000 * 1000;
    loop = loop_new_on(&fixed, &sys);
    assert_non_null(loop);
    loop->backend->ops = &fixed;
}

static void on_changed(void *owner, struct node *n)
{
    assert_ptr_equal(owner, &changes);
    assert_int_equal(n->magic, NODE_MAGIC);
    changes++;
}

void node_set_make(void)
{
    const struct node_limits limits = {
        .connect_timeout_ms = CONNECT_LIMIT_MS,
        .first_byte_timeout_ms = FIRST_BYTE_LIMIT_MS,
        .idle_timeout_ms = IDLE_LIMIT_MS,
        .pool_idle = POOL_IDLE,
        .pool_idle_ms = POOL_IDLE_MS,
    };

    nodes = nodes_new(loop, &limits, "test-instance", on_changed, &changes);
}

int node_setup(void **state)
{
    (void)state;
    fds_remember();
    counters = (struct counters){0};
    counters_attach(&counters);
    full_listener = -1;
    changes = 0;
    make_loop();
    node_set_make();
    /* What a loop can only log when memory is out: an object it cannot bury. */
    loop_bury(loop, malloc(1), free);
    run_turns();
    return 0;
}

int node_teardown(void **state)
{
    (void)state;
    hang_connects(false);
    node_peers_close();
    nodes_free(&nodes);
    loop_free(&loop);
    counters_attach(NULL);
    fds_check();
    return 0;
}

int64_t counted(enum counter_id id)
{
    return counter_get(&counters, id);
}

struct node *node_add_with(const struct node_options *options)
{
    struct err e = {0};

    if (nodes_add(nodes, options, &e) != MCP_OK) {
        fail_msg("%s", e.text);
    }
    return nodes_at(nodes, nodes_count(nodes) - 1);
}

struct node *node_add(const char *url)
{
    return node_add_with(&(struct node_options){.url = url});
}

/* --- turns
 * ----------------------------------------------------------------------------------------- */

struct runner {
    struct task task;
    condition_fn condition; /* NULL: `turns` */
    void *arg;
    unsigned turns;
    time_t deadline_s;
    bool held;
};

static time_t real_s(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return t.tv_sec;
}

static void on_turn(void *owner)
{
    struct runner *r = owner;

    node_peers_pump();
    r->held = r->condition != NULL && r->condition(r->arg);
    if (r->held || (r->condition == NULL ? --r->turns == 0 : real_s() > r->deadline_s)) {
        loop_stop(loop);
    } else {
        task_defer(loop, &r->task);
    }
}

static void run(struct runner *r)
{
    task_init(&r->task, on_turn, r);
    task_defer(loop, &r->task);
    loop_run(loop);
}

void run_until(condition_fn condition, void *arg)
{
    struct runner r = {.condition = condition, .arg = arg, .deadline_s = real_s() + DEADLINE_S};

    wait_ms = 1;
    run(&r);
    assert_true(r.held);
}

void run_turns(void)
{
    struct runner r = {.turns = TURNS};

    wait_ms = 0;
    run(&r);
}

void move_clock_ms(uint64_t ms)
{
    clock_us += ms * 1000;
    run_turns();
}
