/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "fixture.h"

static char trace[64];
static size_t trace_len;

static void note(char c)
{
    assert_true(trace_len + 1 < sizeof(trace));
    trace[trace_len++] = c;
    trace[trace_len] = '\0';
}

static void trace_clear(void)
{
    trace_len = 0;
    trace[0] = '\0';
}

struct job {
    struct task t;
    char name;
    struct job *defer;
    struct job *cancel;
};

static void run_job(void *owner)
{
    struct job *j = owner;

    note(j->name);
    if (j->defer != NULL) {
        task_defer(loop, &j->defer->t);
    }
    if (j->cancel != NULL) {
        task_cancel(loop, &j->cancel->t);
    }
}

static void defer(struct job *j, char name)
{
    j->name = name;
    task_init(&j->t, run_job, j);
    task_defer(loop, &j->t);
}

static void tasks_run_once_in_order(void **state)
{
    struct job a = {0};
    struct job b = {0};

    (void)state;
    trace_clear();
    defer(&a, 'a');
    defer(&b, 'b');
    task_defer(loop, &a.t);
    run_turns(2);
    assert_string_equal(trace, "ab");
}

static void deferring_from_a_task_waits_a_turn(void **state)
{
    struct job a = {0};
    struct job b = {0};

    (void)state;
    trace_clear();
    a.defer = &a; /* itself: every turn once */
    b.defer = &a; /* it is deferred already */
    defer(&a, 'a');
    defer(&b, 'b');
    run_turns(1);
    assert_string_equal(trace, "ab");
    run_turns(2);
    assert_string_equal(trace, "abaa");
    task_cancel(loop, &a.t);
    run_turns(1);
    assert_string_equal(trace, "abaa");
}

static void cancelled_tasks_do_not_run(void **state)
{
    struct job a = {0};
    struct job b = {0};
    struct job c = {0};

    (void)state;
    trace_clear();
    a.cancel = &b;
    defer(&a, 'a');
    defer(&b, 'b');
    defer(&c, 'c');
    task_cancel(loop, &c.t);
    task_cancel(loop, &c.t);
    run_turns(2);
    assert_string_equal(trace, "a");
}

/* --- graveyard
 * ----------------------------------------------------------------------------------------- */

static void destroy(void *ptr)
{
    note(*(char *)ptr);
    free(ptr);
}

static void bury(char name)
{
    char *c = malloc(1);

    assert_non_null(c);
    *c = name;
    loop_bury(loop, c, destroy);
}

static void destroy_and_bury(void *ptr)
{
    destroy(ptr);
    bury('2');
}

static void bury_in_task(void *owner)
{
    char *c = malloc(1);

    assert_non_null(c);
    *c = '1';
    loop_bury(loop, c, destroy_and_bury);
    note('t');
    (void)owner;
}

static void the_buried_last_until_the_end_of_the_turn(void **state)
{
    struct task t;
    struct job after = {0};

    (void)state;
    trace_clear();
    task_init(&t, bury_in_task, NULL);
    task_defer(loop, &t);
    defer(&after, 'a');
    run_turns(1);
    assert_string_equal(trace, "ta12");
    trace_clear();
    for (int i = 0; i < 30; i++) {
        bury('x');
    }
    run_turns(1);
    assert_int_equal(trace_len, 30);
    bury('y'); /* loop_free frees it */
}

/* --- posted
 * -------------------------------------------------------------------------------------------- */

enum { POSTERS = 4, POSTS = 500 };

struct poster {
    pthread_t thread;
    unsigned next;
    struct numbered {
        struct poster *from;
        unsigned number;
    } posts[POSTS];
};

static unsigned arrived;

static void take_post(void *owner)
{
    struct numbered *n = owner;

    assert_int_equal(n->number, n->from->next);
    n->from->next++;
    arrived++;
}

static void *post_all(void *arg)
{
    struct poster *p = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        p->posts[i] = (struct numbered){p, i};
        if (loop_post(loop, take_post, &p->posts[i]) != 0) {
            abort();
        }
    }
    return NULL;
}

static bool all_arrived(void *count)
{
    return arrived == *(unsigned *)count;
}

static void posts_of_many_threads_arrive_in_order(void **state)
{
    static struct poster posters[POSTERS];
    unsigned count = POSTERS * POSTS;

    (void)state;
    arrived = 0;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].next = 0;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    run_until(all_arrived, &count);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    }
}

static void note_post(void *owner)
{
    note(*(const char *)owner);
}

static void post_more(void *owner)
{
    note('m');
    assert_int_equal(loop_post(loop, note_post, owner), 0);
}

static bool two_noted(void *unused)
{
    (void)unused;
    return trace_len == 2;
}

static void posting_from_a_post(void **state)
{
    (void)state;
    trace_clear();
    assert_int_equal(loop_post(loop, post_more, "p"), 0);
    run_until(two_noted, NULL);
    assert_string_equal(trace, "mp");
    /* What was never run is dropped by loop_free. */
    assert_int_equal(loop_post(loop, note_post, "z"), 0);
}

/* --- offloaded
 * ----------------------------------------------------------------------------------------- */

static pthread_barrier_t four_at_once;
static atomic_int working;
static atomic_int most_working;
static unsigned done_count;
static pthread_t loop_thread;

static void work(void *owner)
{
    int now = atomic_fetch_add(&working, 1) + 1;
    int most = atomic_load(&most_working);
    sigset_t blocked;

    if (pthread_equal(pthread_self(), loop_thread) ||
        pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0 || !sigismember(&blocked, SIGTERM)) {
        abort();
    }
    while (now > most && !atomic_compare_exchange_weak(&most_working, &most, now)) {
        continue;
    }
    if (owner != NULL) {
        (void)pthread_barrier_wait(&four_at_once);
    }
    atomic_fetch_sub(&working, 1);
}

static void done(void *owner)
{
    (void)owner;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    done_count++;
}

static bool all_done(void *count)
{
    return done_count == *(unsigned *)count;
}

static void four_work_at_once(void **state)
{
    unsigned count = 12;

    (void)state;
    loop_thread = pthread_self();
    done_count = 0;
    atomic_store(&most_working, 0);
    assert_int_equal(pthread_barrier_init(&four_at_once, NULL, 4), 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(loop_offload(loop, work, done, NULL, &four_at_once), 0);
    }
    assert_int_equal(done_count, 0);
    run_until(all_done, &count);
    assert_int_equal(atomic_load(&most_working), 4);
    assert_int_equal(pthread_barrier_destroy(&four_at_once), 0);
}

static void freeing_the_loop_under_work(void **state)
{
    (void)state;
    loop_thread = pthread_self();
    done_count = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(loop_offload(loop, work, done, NULL, NULL), 0);
    }
    loop_free(&loop);
    assert_int_equal(done_count, 0);
    assert_int_equal(atomic_load(&working), 0);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* guards the next three */
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static unsigned at_gate;
static unsigned dropped;

static void wait_at_gate(void *owner)
{
    (void)owner;
    (void)pthread_mutex_lock(&gate);
    at_gate++;
    (void)pthread_cond_broadcast(&gate_moved);
    while (!gate_open) {
        (void)pthread_cond_wait(&gate_moved, &gate);
    }
    (void)pthread_mutex_unlock(&gate);
}

static void drop(void *owner)
{
    free(owner);
    (void)pthread_mutex_lock(&gate);
    dropped++;
    (void)pthread_cond_broadcast(&gate_moved);
    (void)pthread_mutex_unlock(&gate);
}

static void wait_for(unsigned *number, unsigned value)
{
    (void)pthread_mutex_lock(&gate);
    while (*number != value) {
        (void)pthread_cond_wait(&gate_moved, &gate);
    }
    (void)pthread_mutex_unlock(&gate);
}

/* `working` of the helpers are in work when the loop goes, which ends after that. */
static void freeing_the_loop_waits_for_nothing_that_can_be_dropped(void **state)
{
    static const unsigned rows[] = {1, 4, 20};

    (void)state;
    done_count = 0;
    for (size_t i = 0; i < 3; i++) {
        gate_open = false;
        at_gate = dropped = 0;
        for (unsigned k = 0; k < rows[i]; k++) {
            assert_int_equal(loop_offload(loop, wait_at_gate, done, drop, malloc(1)), 0);
        }
        wait_for(&at_gate, rows[i] < 4 ? rows[i] : 4);
        fixture_loop_again(&loop_sys_real);
        wait_for(&dropped, rows[i] - at_gate); /* what no helper had taken */
        (void)pthread_mutex_lock(&gate);
        gate_open = true;
        (void)pthread_cond_broadcast(&gate_moved);
        (void)pthread_mutex_unlock(&gate);
        wait_for(&dropped, rows[i]);
    }
    assert_int_equal(done_count, 0);
}

/* It was done, but the loop had no turn any more. */
static void what_has_come_back_is_dropped_with_the_loop(void **state)
{
    (void)state;
    gate_open = true;
    at_gate = dropped = done_count = 0;
    assert_int_equal(loop_offload(loop, wait_at_gate, done, drop, malloc(1)), 0);
    wait_for(&at_gate, 1);
    fixture_loop_again(&loop_sys_real);
    wait_for(&dropped, 1);
    assert_int_equal(done_count, 0);
}

/* --- signals
 * ------------------------------------------------------------------------------------------- */

static void signals_come_as_calls(void **state)
{
    (void)state;
    trace_clear();
    assert_int_equal(loop_signal(loop, SIGUSR1, note_post, "1"), 0);
    assert_int_equal(loop_signal(loop, SIGUSR2, note_post, "2"), 0);
    assert_int_equal(loop_signal(loop, 0, note_post, "0"), -1);
    assert_int_equal(loop_signal(loop, 1000, note_post, "0"), -1);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    run_turns(2);
    assert_string_equal(trace, "1");
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    run_until(two_noted, NULL);
    assert_string_equal(trace, "12");
}

/* --- time and stopping
 * --------------------------------------------------------------------------------- */

static void stop_in_task(void *owner)
{
    loop_stop(loop);
    note('s');
    task_defer(loop, owner);
}

static void the_running_turn_is_finished(void **state)
{
    struct task t;
    struct job after = {0};

    (void)state;
    trace_clear();
    task_init(&t, stop_in_task, &after.t);
    after.name = 'a';
    task_init(&after.t, run_job, &after);
    task_defer(loop, &t);
    loop_run(loop);
    assert_string_equal(trace, "s");
    loop_stop(loop);
    loop_run(loop); /* stopped before: not even one turn */
    assert_string_equal(trace, "s");
    run_turns(1);
    assert_string_equal(trace, "sa");
}

static void clocks(void **state)
{
    uint64_t before = loop_now_us(loop);

    (void)state;
    assert_true(before > 0);
    run_for_ms(3);
    assert_true(loop_now_us(loop) >= before + 3000);
    assert_true(loop_clock_us(loop) >= loop_now_us(loop));
    assert_int_equal(loop_now_ms(loop), loop_now_us(loop) / 1000);
    assert_true(loop_wall_us(loop) / 1000000 > 1700000000);
}

/* --- the hook of a turn */

struct hooked {
    struct sock *sock;
    unsigned calls;
    unsigned unsent; /* calls that found something unsent */
};

static void on_turn(void *owner)
{
    struct hooked *h = owner;

    h->calls++;
    h->unsent += sock_unsent(h->sock) > 0 ? 1 : 0;
}

static void a_turn_calls_its_hook_around_the_flush(void **state)
{
    struct hooked h = {0};
    struct end a = {0};
    struct end b = {0};

    (void)state;
    pair_open(&a, &b, AF_UNIX);
    h.sock = a.sock;
    loop_set_turn_hook(loop, on_turn, &h);
    assert_true(sock_write(a.sock, SLICE("x")));
    run_turns(1);
    assert_int_equal(h.calls, 2);
    assert_int_equal(h.unsent, 1);
    loop_set_turn_hook(loop, NULL, NULL);
    run_turns(1);
    assert_int_equal(h.calls, 2);
    end_fini(&a);
    end_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REACTOR_TEST(tasks_run_once_in_order),
        REACTOR_TEST(deferring_from_a_task_waits_a_turn),
        REACTOR_TEST(cancelled_tasks_do_not_run),
        REACTOR_TEST(the_buried_last_until_the_end_of_the_turn),
        KERNEL_TEST(posts_of_many_threads_arrive_in_order),
        REACTOR_TEST(posting_from_a_post),
        KERNEL_TEST(four_work_at_once),
        KERNEL_TEST(freeing_the_loop_under_work),
        KERNEL_TEST(freeing_the_loop_waits_for_nothing_that_can_be_dropped),
        KERNEL_TEST(what_has_come_back_is_dropped_with_the_loop),
        REACTOR_TEST(signals_come_as_calls),
        REACTOR_TEST(the_running_turn_is_finished),
        REACTOR_TEST(clocks),
        EPOLL_TEST(a_turn_calls_its_hook_around_the_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
