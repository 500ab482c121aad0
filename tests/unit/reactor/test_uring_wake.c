/* SPDX-License-Identifier: Apache-2.0 */
/* Loops on io_uring in several threads: rings that wake each other, those that fail, and a loop
 * that is freed by another thread than it ran in. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "reactor/loop_internal.h"
#include "reactor/uring_internal.h"

enum { ROUNDS = 500 };

static struct uring_sys uring;
static struct loop_sys sys;
static atomic_uint poll_in_count; /* of all loops */

static int counted_result(uint64_t user_data, int res)
{
    if (uring_op_of(user_data) == URING_POLL_IN) {
        atomic_fetch_add(&poll_in_count, 1);
    }
    return res;
}

static int setup(void **state)
{
    uring = uring_sys_real;
    uring.result = counted_result;
    sys = loop_sys_real;
    sys.uring = &uring;
    atomic_store(&poll_in_count, 0);
    return fixture_setup(state);
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static struct loop *other;
static unsigned rounds;

static void stop_other(void *owner)
{
    (void)owner;
    loop_stop(other);
}

static void ping(void *owner);
static void (*ping_next)(void *owner) = ping;

static void pong(void *owner)
{
    rounds++;
    if (rounds == ROUNDS) {
        if (loop_post(other, stop_other, NULL) != 0) {
            abort();
        }
        loop_stop(loop);
    } else if (loop_post(other, ping_next, owner) != 0) {
        abort();
    }
}

static void ping(void *owner)
{
    if (loop_post(loop, pong, owner) != 0) {
        abort();
    }
}

static void *run_other(void *owner)
{
    (void)owner;
    loop_run(other);
    return NULL;
}

static void rings_wake_each_other(void **state)
{
    pthread_t thread;
    struct task first;

    (void)state;
    fixture_loop_again(&sys);
    other = loop_new_on(&backend_uring, &sys);
    assert_non_null(other);
    rounds = 0;
    assert_int_equal(pthread_create(&thread, NULL, run_other, NULL), 0);
    task_init(&first, pong, NULL);
    task_defer(loop, &first);
    loop_run(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rounds, ROUNDS);
    /* An eventfd only as long as the other did not run. */
    assert_true(atomic_load(&poll_in_count) <= 2);
    /* A ring that the other did not live to hear. */
    assert_true(backend_uring.wake(other->backend, loop->backend));
    loop_free(&other); /* the thread that ran it has ended */
    run_turns(3);
}

/* Spoils a ring under way: it goes nowhere. */
static bool spoil_next;
static unsigned spoiled;
static unsigned submits_to_fail;

static int spoiling_submit(struct io_uring *ring)
{
    if (submits_to_fail > 0) {
        submits_to_fail--;
        return -EAGAIN;
    }
    for (unsigned i = *ring->sq.khead; spoil_next && i != ring->sq.sqe_tail; i++) {
        struct io_uring_sqe *sqe = &ring->sq.sqes[i & ring->sq.ring_mask];

        if (sqe->opcode == IORING_OP_MSG_RING) {
            sqe->fd = -1;
            spoil_next = false;
        }
    }
    return io_uring_submit(ring);
}

/* That was for lack of memory, there is no free entry either, and none to be had for now. */
static int spoiled_result(uint64_t user_data, int res)
{
    struct io_uring_sqe *sqe;

    if (uring_op_of(user_data) != URING_NO_IO || res != -EBADF) {
        return res;
    }
    while ((sqe = io_uring_get_sqe(&uring_of(loop->backend)->ring)) != NULL) {
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data64(sqe, URING_CANCELLED);
    }
    submits_to_fail = 2;
    spoiled++;
    return -ENOMEM;
}

static void spoiled_pong(void *owner)
{
    spoil_next = rounds % 100 == 50;
    pong(owner);
}

static void spoiled_ping(void *owner)
{
    if (loop_post(loop, spoiled_pong, owner) != 0) {
        abort();
    }
}

static void a_ring_that_finds_no_memory_and_no_entry_is_not_lost(void **state)
{
    struct timer limit;
    pthread_t thread;
    struct task first;

    (void)state;
    uring.entries = 2;
    uring.submit = spoiling_submit;
    uring.result = spoiled_result;
    ping_next = spoiled_ping;
    spoil_next = false;
    spoiled = submits_to_fail = rounds = 0;
    fixture_loop_again(&sys);
    other = loop_new_on(&backend_uring, &loop_sys_real);
    assert_non_null(other);
    assert_int_equal(pthread_create(&thread, NULL, run_other, NULL), 0);
    timer_init(&limit, stop, NULL);
    timer_arm(loop, &limit, 10000);
    task_init(&first, spoiled_pong, NULL);
    task_defer(loop, &first);
    loop_run(loop);
    assert_int_equal(rounds, ROUNDS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(spoiled, ROUNDS / 100 - 1, ROUNDS / 100);
    timer_cancel(loop, &limit);
    loop_free(&other);
    ping_next = ping;
}

/* With a socket in the kernel's hands. */
static void freed_by_another_thread(void **state)
{
    struct end e = {0};
    pthread_t thread;
    int fds[2];
    char in[8];

    (void)state;
    other = loop_new_on(&backend_uring, &loop_sys_real);
    assert_non_null(other);
    pair_fds(fds, AF_UNIX);
    e.sock = sock_adopt(other, fds[0], &end_ops, &e);
    assert_non_null(e.sock);
    assert_int_equal(pthread_create(&thread, NULL, run_other, NULL), 0);
    run_for_ms(5);
    assert_int_equal(loop_post(other, stop_other, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(sock_write(e.sock, SLICE("bye")));
    sock_close_gently(&e.sock);
    loop_free(&other);
    assert_int_equal(read(fds[1], in, sizeof(in)), 3);
    assert_int_equal(read(fds[1], in, sizeof(in)), 0);
    assert_int_equal(close(fds[1]), 0);
    end_fini(&e);
}

int main(void)
{
#define OWN_TEST(f) URING_TEST_WITH(f, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        OWN_TEST(rings_wake_each_other),
        OWN_TEST(a_ring_that_finds_no_memory_and_no_entry_is_not_lost),
        OWN_TEST(freed_by_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
