/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <time.h>

#include "fixture.h"
#include "reactor/backend.h"

enum { COUNT = 500 };

struct alarm {
    struct timer t;
    unsigned id;
    unsigned order; /* when it was armed last */
    unsigned again; /* rearm so often */
    unsigned again_ms;
    struct alarm *kill; /* cancel that one */
};

static unsigned fired[4 * COUNT];
static size_t fired_count;

static void ring(void *owner)
{
    struct alarm *a = owner;

    assert_false(timer_armed(&a->t));
    assert_true(a->t.due_us <= loop_now_us(loop));
    fired[fired_count++] = a->id;
    if (a->kill != NULL) {
        timer_cancel(loop, &a->kill->t);
    }
    if (a->again > 0) {
        a->again--;
        timer_arm(loop, &a->t, a->again_ms);
    }
}

static bool fired_enough(void *count)
{
    return fired_count >= *(size_t *)count;
}

static void arm(struct alarm *a, unsigned id, unsigned ms)
{
    a->id = id;
    timer_init(&a->t, ring, a);
    assert_false(timer_armed(&a->t));
    timer_arm(loop, &a->t, ms);
    assert_true(timer_armed(&a->t));
}

static void wait_fired(size_t count)
{
    run_until(fired_enough, &count);
    assert_int_equal(fired_count, count);
}

static void fires_in_order(void **state)
{
    struct alarm a[5] = {0};

    (void)state;
    fired_count = 0;
    arm(&a[0], 0, 6);
    arm(&a[1], 1, 2);
    arm(&a[2], 2, 4);
    arm(&a[3], 3, 2);
    arm(&a[4], 4, 0);
    wait_fired(5);
    assert_memory_equal(fired, ((unsigned[]){4, 1, 3, 2, 0}), 5 * sizeof(fired[0]));
}

static long waited_ns;

static int note_epoll_wait(int epfd, struct epoll_event *events, int max,
                           const struct timespec *timeout)
{
    assert_non_null(timeout);
    waited_ns = timeout->tv_nsec > waited_ns ? timeout->tv_nsec : waited_ns;
    return loop_sys_real.epoll_wait(epfd, events, max, timeout);
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static void a_fraction_of_a_millisecond_is_no_whole_one(void **state)
{
    struct loop_sys sys = loop_sys_real;
    struct timer t;

    (void)state;
    sys.epoll_wait = note_epoll_wait;
    fixture_loop_again(&sys);
    timer_init(&t, stop, NULL);
    waited_ns = 0;
    timer_arm_us(loop, &t, 900);
    loop_run(loop);
    assert_in_range(waited_ns, 1, 900 * 1000);
}

static void arming_again_moves(void **state)
{
    struct alarm a[3] = {0};

    (void)state;
    fired_count = 0;
    arm(&a[0], 0, 1);
    arm(&a[1], 1, 2);
    arm(&a[2], 2, 100000);
    timer_arm(loop, &a[0].t, 4);
    timer_arm(loop, &a[2].t, 1);
    wait_fired(3);
    assert_memory_equal(fired, ((unsigned[]){2, 1, 0}), 3 * sizeof(fired[0]));
}

static void cancel_and_cancel_again(void **state)
{
    struct alarm a[3] = {0};

    (void)state;
    fired_count = 0;
    arm(&a[0], 0, 1);
    arm(&a[1], 1, 1);
    arm(&a[2], 2, 2);
    timer_cancel(loop, &a[1].t);
    timer_cancel(loop, &a[1].t);
    assert_false(timer_armed(&a[1].t));
    wait_fired(2);
    assert_memory_equal(fired, ((unsigned[]){0, 2}), 2 * sizeof(fired[0]));
}

static void callback_cancels_another_due_now(void **state)
{
    struct alarm a[3] = {0};

    (void)state;
    fired_count = 0;
    arm(&a[0], 0, 0);
    arm(&a[1], 1, 0);
    arm(&a[2], 2, 0);
    a[0].kill = &a[1];
    wait_fired(2);
    assert_memory_equal(fired, ((unsigned[]){0, 2}), 2 * sizeof(fired[0]));
}

static void rearming_for_now_waits_a_turn(void **state)
{
    struct alarm a = {.again = 3};

    (void)state;
    fired_count = 0;
    arm(&a, 7, 0);
    run_turns(1);
    assert_int_equal(fired_count, 1);
    run_turns(2);
    assert_int_equal(fired_count, 3);
    run_turns(2);
    assert_int_equal(fired_count, 4);
}

static void a_far_timer_does_not_overflow(void **state)
{
    struct alarm a[2] = {0};

    (void)state;
    fired_count = 0;
    arm(&a[0], 0, 1);
    arm(&a[1], 1, 1);
    timer_arm(loop, &a[0].t, UINT64_MAX);
    wait_fired(1);
    assert_int_equal(fired[0], 1);
    timer_cancel(loop, &a[0].t);
}

/* Many, with cancelling and moving, against what sorting says. */
static int compare_alarms(const void *x, const void *y)
{
    const struct alarm *const *a = x;
    const struct alarm *const *b = y;

    if ((*a)->t.due_us != (*b)->t.due_us) {
        return (*a)->t.due_us < (*b)->t.due_us ? -1 : 1;
    }
    return (*a)->order < (*b)->order ? -1 : 1;
}

static void many_against_a_model(void **state)
{
    static struct alarm a[COUNT];
    static struct alarm *sorted[COUNT];
    size_t armed = 0;
    uint32_t seed = 12345;

    (void)state;
    fired_count = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        seed = seed * 1664525 + 1013904223;
        a[i] = (struct alarm){0};
        arm(&a[i], i, (seed >> 16) % 20);
        a[i].order = i;
    }
    for (unsigned i = 0; i < COUNT * 2; i++) {
        struct alarm *one;

        seed = seed * 1664525 + 1013904223;
        one = &a[(seed >> 8) % COUNT];
        if (seed >> 31 == 0) {
            timer_cancel(loop, &one->t);
        } else {
            timer_arm(loop, &one->t, (seed >> 20) % 20);
            one->order = COUNT + i;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (timer_armed(&a[i].t)) {
            sorted[armed++] = &a[i];
        }
    }
    qsort(sorted, armed, sizeof(sorted[0]), compare_alarms);
    wait_fired(armed);
    for (size_t i = 0; i < armed; i++) {
        assert_int_equal(fired[i], sorted[i]->id);
    }
}

static void never_early(void **state)
{
    struct alarm a = {0};
    uint64_t start = loop_clock_us(loop);
    size_t one = 1;

    (void)state;
    fired_count = 0;
    arm(&a, 0, 5);
    run_until(fired_enough, &one);
    /* loop_now at arming may be older than the clock by what setup took. */
    assert_true(loop_clock_us(loop) >= a.t.due_us);
    assert_true(a.t.due_us <= start + 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REACTOR_TEST(fires_in_order),
        EPOLL_TEST(a_fraction_of_a_millisecond_is_no_whole_one),
        REACTOR_TEST(arming_again_moves),
        REACTOR_TEST(cancel_and_cancel_again),
        REACTOR_TEST(callback_cancels_another_due_now),
        REACTOR_TEST(rearming_for_now_waits_a_turn),
        REACTOR_TEST(a_far_timer_does_not_overflow),
        REACTOR_TEST(many_against_a_model),
        REACTOR_TEST(never_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
