/* SPDX-License-Identifier: Apache-2.0 */
/* Timers against a list that is searched, on a clock that the test sets: what fires and in which
 * order, and how long the loop may wait. */
#include <string.h>

#include "fixture.h"
#include "reactor/backend.h"

enum {
    COUNT = 48,
    ROUNDS = 4000,
    LEVELS = 11,
};

#define HOUR_US (UINT64_C(3600) * 1000 * 1000)

/* --- a loop whose time passes only by waiting, or by the test --------------------------------- */

static uint64_t clock_us;
static uint64_t waits;
static uint64_t longest_wait_us; /* a wait that is longer makes the loop miss a timer */

static uint64_t fake_clock(struct backend *b)
{
    (void)b;
    return clock_us;
}

static void fake_wait(struct backend *b, uint64_t timeout_us)
{
    (void)b;
    assert_true(timeout_us <= longest_wait_us);
    waits++;
    clock_us += timeout_us;
}

static struct backend_ops fake_ops;

static struct backend *fake_create(const struct loop_sys *sys)
{
    struct backend *b = backend_epoll.create(sys);

    assert_non_null(b);
    b->ops = &fake_ops;
    return b;
}

static void start_at(uint64_t now_us)
{
    loop_free(&loop);
    fake_ops = backend_epoll;
    fake_ops.create = fake_create;
    fake_ops.clock_us = fake_clock;
    fake_ops.wait = fake_wait;
    clock_us = now_us;
    waits = 0;
    longest_wait_us = UINT64_MAX;
    loop = loop_new_on(&fake_ops, &loop_sys_real);
    assert_non_null(loop);
}

/* --- the model ----------------------------------------------------------------------------------
 */

struct entry {
    struct timer t;
    bool armed;
    uint64_t due_us;
    uint64_t order;
};

static struct entry entries[COUNT];
static uint64_t armed_ever;
static uint64_t armed_before_turn;
static uint64_t fired_ever;
static uint64_t seed;

static uint64_t roll(void)
{
    seed ^= seed << 13; /* xorshift64 */
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(2685821657736338717) >> 8;
}

/* All magnitudes are as likely; what is near the borders of slots is frequent. */
static uint64_t some_us(unsigned bits_max)
{
    uint64_t us = (UINT64_C(1) << roll() % bits_max) + roll() % 3 - 1;

    switch (roll() % 3) {
    case 0:
        return us;
    case 1: /* to the beginning of a slot */
        return (((clock_us >> 6) + 1) << 6) - clock_us + (roll() % 3 == 0 ? us : 0);
    default:
        return roll() % (us + 1);
    }
}

static struct entry *first_entry(void)
{
    struct entry *first = NULL;

    for (size_t i = 0; i < COUNT; i++) {
        struct entry *e = &entries[i];

        if (e->armed && (first == NULL || e->due_us < first->due_us ||
                         (e->due_us == first->due_us && e->order < first->order))) {
            first = e;
        }
    }
    return first;
}

static void arm(struct entry *e, uint64_t delay_us)
{
    uint64_t now = loop_now_us(loop);

    e->armed = true;
    e->due_us = delay_us < UINT64_MAX - now ? now + delay_us : UINT64_MAX;
    e->order = armed_ever++;
    timer_arm_us(loop, &e->t, delay_us);
    assert_true(timer_armed(&e->t));
}

static void cancel(struct entry *e)
{
    e->armed = false;
    timer_cancel(loop, &e->t);
    assert_false(timer_armed(&e->t));
}

static void change_some(unsigned bits_max)
{
    struct entry *e = &entries[roll() % COUNT];
    uint64_t now = loop_now_us(loop);
    uint64_t other = entries[0].due_us > now ? entries[0].due_us - now : 0;

    switch (roll() % 4) {
    case 0:
        cancel(e);
        break;
    case 1:
        arm(e, 0);
        break;
    default: /* often due together with another one */
        arm(e, roll() % 2 == 0 ? some_us(bits_max) : other);
    }
}

static void fire(void *owner)
{
    struct entry *e = owner;

    assert_ptr_equal(e, first_entry());
    assert_true(e->order < armed_before_turn);
    assert_true(e->due_us <= loop_now_us(loop));
    assert_false(timer_armed(&e->t));
    e->armed = false;
    fired_ever++;
    for (uint64_t changes = roll() % 3; changes > 0; changes--) {
        change_some(24);
    }
}

static void init_entries(uint64_t first_seed)
{
    seed = first_seed;
    armed_ever = 0;
    fired_ever = 0;
    memset(entries, 0, sizeof(entries));
    for (size_t i = 0; i < COUNT; i++) {
        timer_init(&entries[i].t, fire, &entries[i]);
    }
}

static void check_nothing_is_late(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        const struct entry *e = &entries[i];

        assert_int_equal(e->armed, timer_armed(&e->t));
        assert_false(e->armed && e->due_us <= loop_now_us(loop) && e->order < armed_before_turn);
    }
}

static void one_turn(void)
{
    armed_before_turn = armed_ever;
    run_turns(1);
    check_nothing_is_late();
}

static void rounds(uint64_t first_seed, unsigned bits_max)
{
    init_entries(first_seed);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (uint64_t changes = roll() % 8; changes > 0; changes--) {
            change_some(bits_max);
        }
        if (roll() % 4 == 0) {
            clock_us += some_us(bits_max);
        } else if (first_entry() != NULL && first_entry()->due_us > clock_us) {
            clock_us +=
                (first_entry()->due_us - clock_us) - roll() % 2; /* just there, or not yet */
        }
        one_turn();
    }
    assert_true(fired_ever > ROUNDS);
    for (size_t i = 0; i < COUNT; i++) {
        cancel(&entries[i]);
    }
}

static void as_the_model_says(void **state)
{
    static const uint64_t starts[] = {0, 1, 63, 64, 4095, (UINT64_C(1) << 36) - 2, 86400 * HOUR_US};

    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        start_at(starts[i]);
        rounds(i + 1, 14);
        start_at(starts[i]);
        rounds(i + 100, 34);
    }
}

/* Each jump goes over a border of every level below. */
static void jumps_over_all_levels(void **state)
{
    (void)state;
    start_at(0);
    init_entries(7);
    for (unsigned bits = 1; bits < 64; bits++) {
        for (size_t i = 0; i < COUNT; i++) {
            arm(&entries[i], i % 2 == 0 ? (UINT64_C(1) << bits) - clock_us + i % 3 - 1
                                        : UINT64_C(1) << roll() % 63);
        }
        clock_us = (UINT64_C(1) << bits) - 1;
        one_turn();
        clock_us += bits % 2;
        one_turn();
    }
    assert_true(fired_ever > 1000);
    for (size_t i = 0; i < COUNT; i++) {
        cancel(&entries[i]);
    }
}

static void a_delay_too_long_is_never(void **state)
{
    struct timer ms;

    (void)state;
    start_at(HOUR_US);
    init_entries(1);
    timer_init(&ms, fire, &entries[COUNT - 1]);
    timer_arm(loop, &ms, UINT64_MAX / 1000 + 1);
    arm(&entries[0], UINT64_MAX);
    arm(&entries[1], UINT64_MAX - HOUR_US);
    one_turn();
    clock_us = UINT64_MAX - 1;
    one_turn();
    assert_int_equal(fired_ever, 0);
    timer_cancel(loop, &ms);
    cancel(&entries[0]);
    cancel(&entries[1]);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static unsigned left;

static void one_less(void *owner)
{
    (void)owner;
    if (--left == 0) {
        loop_stop(loop);
    }
}

/* The turns that it takes until `count` timers have fired. */
static uint64_t turns_until(struct timer *timers, const uint64_t *delays_us, unsigned count)
{
    left = count;
    waits = 0;
    for (unsigned i = 0; i < count; i++) {
        timer_init(&timers[i], one_less, NULL);
        timer_arm_us(loop, &timers[i], delays_us[i]);
    }
    loop_run(loop);
    return waits;
}

static void a_long_wait_is_one_wait(void **state)
{
    struct timer timers[2];

    (void)state;
    start_at(12345678901);
    assert_int_equal(turns_until(timers, (uint64_t[]){HOUR_US}, 1), 1);
    assert_int_equal(clock_us, 12345678901 + HOUR_US);
    assert_int_equal(turns_until(timers, (uint64_t[]){HOUR_US, 1000}, 2), 2);
    /* In one slot until the loop woke up to tell them apart. */
    assert_in_range(turns_until(timers, (uint64_t[]){HOUR_US, HOUR_US + 1}, 2), 2, 2 + LEVELS);
    assert_in_range(turns_until(timers, (uint64_t[]){HOUR_US, HOUR_US}, 2), 1, 1 + LEVELS);
}

static void what_was_cancelled_wakes_nobody(void **state)
{
    struct timer timers[2];
    struct timer cancelled;

    (void)state;
    start_at(12345678901);
    for (unsigned bits = 0; bits < 31; bits++) {
        timer_init(&cancelled, one_less, NULL);
        timer_arm_us(loop, &cancelled, UINT64_C(1) << bits);
        timer_cancel(loop, &cancelled);
    }
    assert_int_equal(turns_until(timers, (uint64_t[]){HOUR_US}, 1), 1);
}

static void never_waits_past_one(void **state)
{
    (void)state;
    start_at(999);
    init_entries(3);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct entry *first;
        struct timer t;

        change_some(34);
        first = first_entry();
        armed_before_turn = UINT64_MAX;
        if (first == NULL) {
            continue;
        }
        longest_wait_us = first->due_us > clock_us ? first->due_us - clock_us : 0;
        timer_init(&t, one_less, NULL);
        left = 1;
        timer_arm_us(loop, &t, longest_wait_us);
        while (timer_armed(&t)) {
            loop_run(loop);
        }
    }
    assert_true(fired_ever > ROUNDS / 2);
    for (size_t i = 0; i < COUNT; i++) {
        cancel(&entries[i]);
    }
}

static int stop_loop(void **state)
{
    (void)state;
    loop_free(&loop);
    return 0;
}

#define ON_FAKE(f) cmocka_unit_test_teardown(f, stop_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(as_the_model_says),
        ON_FAKE(jumps_over_all_levels),
        ON_FAKE(a_delay_too_long_is_never),
        ON_FAKE(a_long_wait_is_one_wait),
        ON_FAKE(what_was_cancelled_wakes_nobody),
        ON_FAKE(never_waits_past_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
