/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sched/route.h"
#include "seeds.h"

#define SECOND UINT64_C(1000000)

enum { KEYS = 20000 };

static const char *const names[] = {"a:v1", "a:v2", "a:v3", "a:v4", "a:v5", "a:v6", "a:v7", "a:v8"};

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 11;
}

static double draw(uint64_t *seed)
{
    return (double)next(seed) / (double)(UINT64_C(1) << 53);
}

static struct model_route_terms terms_of(const uint32_t *weights, size_t count)
{
    struct model_route_terms t = {
        .arm_count = count, .window_us = 600 * SECOND, .min_requests = 50};

    for (size_t i = 0; i < count; i++) {
        t.arms[i].model = slice_str(names[i]);
        t.arms[i].weight = weights[i];
    }
    return t;
}

static struct model_route route_of(const uint32_t *weights, size_t count)
{
    struct model_route_terms t = terms_of(weights, count);
    struct model_route r;

    model_route_init(&r, &t);
    return r;
}

static uint64_t user(size_t i)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "user-%zu", i);
    return model_route_key(slice_str(name));
}

/* --- shares ----------------------------------------------------------------------------------- */

static void shares_are_those_of_the_weights(void **state)
{
    static const uint32_t weights[] = {95, 5, 0, 20};
    struct model_route r = route_of(weights, 4);
    size_t got[4] = {0};

    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        got[model_route_choose(&r, user(i))]++;
    }
    for (size_t a = 0; a < 4; a++) {
        double wanted = KEYS * weights[a] / 120.0;

        /* five deviations of a binomial distribution */
        assert_true(fabs((double)got[a] - wanted) <= 5 * sqrt(wanted) + 0.5);
    }
    assert_int_equal(got[2], 0);
}

static void a_key_keeps_its_arm(void **state)
{
    static const uint32_t weights[] = {1, 1, 1};
    struct model_route r = route_of(weights, 3);
    struct model_route again = route_of(weights, 3);

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(model_route_choose(&r, user(i)), model_route_choose(&again, user(i)));
    }
}

/* A weight that grows takes keys from others and gives none; so no more of them move than its share
 * has grown. */
static void a_changed_weight(uint64_t seed)
{
    uint32_t weights[MODEL_ROUTE_ARMS_MAX];
    size_t count = 2 + next(&seed) % (MODEL_ROUTE_ARMS_MAX - 1), changed = next(&seed) % count;
    struct model_route before, after;
    size_t moved = 0, had = 0, has = 0;

    for (size_t i = 0; i < count; i++) {
        weights[i] = 1 + (uint32_t)(next(&seed) % 100);
    }
    before = route_of(weights, count);
    weights[changed] += 1 + (uint32_t)(next(&seed) % 100);
    after = route_of(weights, count);
    for (size_t i = 0; i < 2000; i++) {
        size_t from = model_route_choose(&before, user(i));
        size_t to = model_route_choose(&after, user(i));

        moved += from != to;
        had += from == changed;
        has += to == changed;
        assert_true(from == to || to == changed);
    }
    assert_int_equal(moved, has - had);
}

static void only_the_needed_share_moves(void **state)
{
    (void)state;
    seeds_run(200, a_changed_weight);
}

static void an_arm_that_is_off_gives_to_the_first(void **state)
{
    static const uint32_t weights[] = {50, 30, 20};
    static const enum model_route_state offs[] = {MODEL_ROUTE_PAUSED, MODEL_ROUTE_ROLLED_BACK};
    struct model_route r = route_of(weights, 3), off = r;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        model_route_turn(&off, 1, offs[k], MODEL_ROUTE_WHY_ASKED);
        for (size_t i = 0; i < 2000; i++) {
            size_t arm = model_route_choose(&r, user(i));

            assert_int_equal(model_route_choose(&off, user(i)), arm == 1 ? 0 : arm);
        }
    }
    model_route_turn(&off, 1, MODEL_ROUTE_ON, MODEL_ROUTE_WHY_NONE);
    for (size_t i = 0; i < 2000; i++) {
        assert_int_equal(model_route_choose(&off, user(i)), model_route_choose(&r, user(i)));
    }
}

static void a_promoted_arm_has_all(void **state)
{
    static const uint32_t weights[] = {95, 5};
    struct model_route r = route_of(weights, 2);

    (void)state;
    model_route_turn(&r, 1, MODEL_ROUTE_ROLLED_BACK, MODEL_ROUTE_WHY_ASKED);
    model_route_promote(&r, 0, 1);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(model_route_choose(&r, user(i)), 1);
    }
    model_route_turn(&r, 1, MODEL_ROUTE_ROLLED_BACK, MODEL_ROUTE_WHY_ASKED);
    assert_int_equal(r.promoted, MODEL_ROUTE_NO_ARM);
    assert_int_equal(model_route_choose(&r, user(1)), 0);
}

/* So many requests, of which each `errors_every`-th fails; until it is rolled back. */
static size_t served(struct model_route *r, uint64_t *now_us, size_t arm, size_t requests,
                     size_t errors_every, uint64_t first_part_us)
{
    for (size_t i = 1; i <= requests; i++) {
        struct model_route_outcome o = {.failed = errors_every > 0 && i % errors_every == 0,
                                        .first_part_us = first_part_us + i % 7};

        *now_us += SECOND / 100;
        if (model_route_ended(r, *now_us, arm, &o)) {
            return i;
        }
    }
    return 0;
}

static struct model_route watched_route(void)
{
    struct model_route_terms t = {.arm_count = 3, .window_us = 60 * SECOND, .min_requests = 50};
    struct model_route r;

    for (size_t i = 0; i < 3; i++) {
        t.arms[i].model = slice_of(&"abc"[i], 1);
        t.arms[i].weight = 1;
    }
    model_route_init(&r, &t);
    return r;
}

/* The first arm gets nothing any more, long after its window. */
static void a_promoted_arm_is_held_against_the_one_before(void **state)
{
    struct model_route r = watched_route();
    uint64_t now_us = 0;
    size_t after;

    (void)state;
    (void)served(&r, &now_us, 0, 200, 100, 1000);
    model_route_promote(&r, now_us, 1);
    now_us += 3600 * SECOND;
    assert_int_equal(served(&r, &now_us, 1, 1000, 100, 1000), 0); /* as good */
    now_us += 120 * SECOND;
    after = served(&r, &now_us, 1, 1000, 4, 1000);
    assert_in_range(after, 50, 200); /* not before the minimum */
    assert_int_equal(r.arms[1].state, MODEL_ROUTE_ROLLED_BACK);
    assert_int_equal(r.arms[1].why, MODEL_ROUTE_WHY_ERRORS);
    assert_int_equal(r.promoted, MODEL_ROUTE_NO_ARM);
    assert_true(r.watch.until_us == 0);
}

static void a_promoted_arm_that_is_slow_gives_way_to_the_promoted_one_before(void **state)
{
    struct model_route r = watched_route();
    uint64_t now_us = 0;

    (void)state;
    (void)served(&r, &now_us, 0, 200, 0, 1000);
    model_route_promote(&r, now_us, 1);
    assert_int_equal(served(&r, &now_us, 1, 200, 0, 1100), 0);
    model_route_promote(&r, now_us, 2);
    model_route_promote(&r, now_us, 2); /* said twice: against the same */
    assert_in_range(served(&r, &now_us, 2, 200, 0, 2000), 50, 60);
    assert_int_equal(r.arms[2].why, MODEL_ROUTE_WHY_FIRST_PART);
    assert_int_equal(r.promoted, 1);
    assert_int_equal(model_route_choose(&r, user(3)), 1);
}

static void it_is_watched_for_a_day_and_only_with_something_to_hold_it_against(void **state)
{
    struct model_route r = watched_route(), few = r;
    uint64_t now_us = 0;

    (void)state;
    (void)served(&r, &now_us, 0, 200, 0, 1000);
    model_route_promote(&r, now_us, 1);
    now_us += MODEL_ROUTE_WATCH_US;
    assert_int_equal(served(&r, &now_us, 1, 500, 2, 9000), 0);
    now_us = 0;
    (void)served(&few, &now_us, 0, 49, 0, 1000);
    model_route_promote(&few, now_us, 1);
    assert_true(few.watch.until_us == 0);
    now_us += 60 * SECOND;
    assert_int_equal(served(&few, &now_us, 1, 500, 2, 9000), 0);
    model_route_promote(&few, now_us, MODEL_ROUTE_NO_ARM);
    assert_int_equal(few.promoted, MODEL_ROUTE_NO_ARM);
}

static void copies(void **state)
{
    struct model_route_terms t = {.arm_count = 2, .window_us = SECOND};
    struct model_route r;
    size_t copied = 0;

    (void)state;
    t.arms[0].model = SLICE("a");
    t.arms[0].weight = 1;
    t.arms[1].model = SLICE("b");
    t.arms[1].weight = 7; /* does not count */
    t.arms[1].shadow_percent = 10;
    model_route_init(&r, &t);
    for (size_t i = 0; i < KEYS; i++) {
        size_t arm = model_route_shadow(&r, user(i));

        assert_int_equal(model_route_choose(&r, user(i)), 0);
        assert_true(arm == 1 || arm == MODEL_ROUTE_NO_ARM);
        copied += arm == 1;
    }
    assert_in_range(copied, KEYS * 9 / 100, KEYS * 11 / 100);
    model_route_turn(&r, 1, MODEL_ROUTE_PAUSED, MODEL_ROUTE_WHY_ASKED);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(model_route_shadow(&r, user(i)), MODEL_ROUTE_NO_ARM);
    }
}

/* --- what is counted -------------------------------------------------------------------------- */

static void means_and_deviations(void **state)
{
    static const uint32_t weights[] = {1};
    static const uint64_t first_part_us[] = {2, 4, 4, 4, 5, 5, 7, 9}; /* mean 5 */
    struct model_route r = route_of(weights, 1);
    struct model_route_summary s;

    (void)state;
    model_route_summarize(&r, 0, 0, &s);
    assert_int_equal(s.requests + s.errors + s.first_part_us.count, 0);
    for (size_t i = 0; i < 8; i++) {
        struct model_route_outcome o = {.failed = i == 0,
                                        .first_part_us = first_part_us[i] * 1000,
                                        .last_part_us = first_part_us[i] * 1000 + 2 * SECOND,
                                        .parts = 21};

        assert_false(model_route_ended(&r, i * SECOND, 0, &o));
    }
    assert_false(model_route_ended(&r, 9 * SECOND, 0, &(struct model_route_outcome){.parts = 1}));
    model_route_summarize(&r, 10 * SECOND, 0, &s);
    assert_int_equal(s.requests, 9);
    assert_int_equal(s.errors, 1);
    assert_int_equal(s.first_part_us.count, 8);
    assert_true(fabs(s.first_part_us.mean - 5000) < 1e-6);
    assert_true(fabs(s.first_part_us.deviation - 1000 * sqrt(32.0 / 7)) < 1e-6);
    assert_int_equal(s.rate.count, 7);
    assert_true(fabs(s.rate.mean - 10) < 1e-9 && s.rate.deviation < 1e-6);
    assert_true(fabs(s.length.mean - 21) < 1e-9);
}

static void what_is_old_does_not_count(void **state)
{
    static const uint32_t weights[] = {1, 1};
    struct model_route r = route_of(weights, 2);
    struct model_route_summary s;

    (void)state;
    (void)model_route_ended(&r, 0, 0, &(struct model_route_outcome){.failed = true});
    model_route_summarize(&r, 500 * SECOND, 0, &s);
    assert_int_equal(s.requests, 1);
    model_route_summarize(&r, 601 * SECOND, 0, &s);
    assert_int_equal(s.requests, 0);
    /* its place is used again */
    (void)model_route_ended(&r, 700 * SECOND, 0, &(struct model_route_outcome){0});
    model_route_summarize(&r, 700 * SECOND, 0, &s);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.errors, 0);
    /* an arm that is on again begins anew */
    model_route_turn(&r, 0, MODEL_ROUTE_ON, MODEL_ROUTE_WHY_NONE);
    model_route_summarize(&r, 700 * SECOND, 0, &s);
    assert_int_equal(s.requests, 0);
}

/* --- rolled back ------------------------------------------------------------------------------ */

/* Ends requests on both arms in turn until the second is rolled back; how many it had. 0: it was
 * not. */
static size_t until_rolled_back(uint64_t *seed, double errors_first, double errors, double slower,
                                size_t most)
{
    static const uint32_t weights[] = {1, 1};
    struct model_route r = route_of(weights, 2);

    for (size_t i = 1; i <= most; i++) {
        for (size_t arm = 0; arm < 2; arm++) {
            double first_part = (0.5 + draw(seed)) * 1e5 * (arm == 1 ? slower : 1);
            struct model_route_outcome o = {
                .failed = draw(seed) < (arm == 1 ? errors : errors_first),
                .first_part_us = (uint64_t)first_part,
                .last_part_us = (uint64_t)first_part + SECOND,
                .parts = 10,
            };

            if (model_route_ended(&r, i * SECOND / 100, arm, &o)) {
                assert_int_equal(arm, 1);
                assert_int_equal(r.arms[1].state, MODEL_ROUTE_ROLLED_BACK);
                assert_int_equal(r.arms[1].why,
                                 slower > 1 ? MODEL_ROUTE_WHY_FIRST_PART : MODEL_ROUTE_WHY_ERRORS);
                assert_int_equal(model_route_choose(&r, next(seed)), 0);
                assert_false(model_route_ended(&r, i * SECOND / 100, arm, &o));
                return i;
            }
        }
    }
    return 0;
}

static void what_is_worse(uint64_t seed)
{
    assert_int_equal(until_rolled_back(&seed, 0, 1, 1, 1000), 50); /* not before the minimum */
    assert_in_range(until_rolled_back(&seed, 0.01, 0.3, 1, 1000), 50, 200);
    assert_in_range(until_rolled_back(&seed, 0.05, 0.05, 2, 1000), 50, 51);
}

static void a_worse_arm_is_rolled_back(void **state)
{
    (void)state;
    seeds_run(200, what_is_worse);
}

static size_t wronged;

static void what_is_as_good(uint64_t seed)
{
    wronged += until_rolled_back(&seed, 0.05, 0.05, 1, 3000) > 0;
    assert_int_equal(until_rolled_back(&seed, 0, 0, 1, 500), 0);
    /* certain, but not worth it */
    assert_int_equal(until_rolled_back(&seed, 0, 0, 1.2, 500), 0);
    /* it may be better */
    assert_int_equal(until_rolled_back(&seed, 0.5, 0.01, 1, 500), 0);
}

/* Asked after each of 3,000 requests, so more often wrong than one question is. */
static void an_equal_arm_mostly_stays(void **state)
{
    (void)state;
    wronged = 0;
    seeds_run(200, what_is_as_good);
    print_message("of 200 equal arms %zu were rolled back\n", wronged);
    assert_true(wronged <= 4);
}

static void errors_of_the_first_arm_change_nothing(void **state)
{
    static const uint32_t weights[] = {1, 1};
    struct model_route r = route_of(weights, 2);
    struct model_route_outcome bad = {.failed = true}, good = {.failed = false};

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        assert_false(model_route_ended(&r, i, 0, &bad));
        assert_false(model_route_ended(&r, i, 1, &good));
    }
    /* without enough of the first one's, nothing is said about the second */
    r = route_of(weights, 2);
    for (size_t i = 0; i < 200; i++) {
        assert_false(model_route_ended(&r, i, 1, &bad));
    }
    r.min_requests = 0;
    for (size_t i = 0; i < 200; i++) {
        assert_false(model_route_ended(&r, i, 0, &good));
        assert_false(model_route_ended(&r, i, 1, &bad));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_those_of_the_weights),
        cmocka_unit_test(a_key_keeps_its_arm),
        SEEDS_TEST(only_the_needed_share_moves),
        cmocka_unit_test(an_arm_that_is_off_gives_to_the_first),
        cmocka_unit_test(a_promoted_arm_has_all),
        cmocka_unit_test(a_promoted_arm_is_held_against_the_one_before),
        cmocka_unit_test(a_promoted_arm_that_is_slow_gives_way_to_the_promoted_one_before),
        cmocka_unit_test(it_is_watched_for_a_day_and_only_with_something_to_hold_it_against),
        cmocka_unit_test(copies),
        cmocka_unit_test(means_and_deviations),
        cmocka_unit_test(what_is_old_does_not_count),
        SEEDS_TEST(a_worse_arm_is_rolled_back),
        SEEDS_TEST(an_equal_arm_mostly_stays),
        cmocka_unit_test(errors_of_the_first_arm_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
