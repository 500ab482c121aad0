/* SPDX-License-Identifier: Apache-2.0 */
/* What is learnt from calls, held against nodes whose cost is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/batch_cost.h"
#include "seeds.h"

struct truth {
    double call, input, token, padding; /* us */
    unsigned noise;                     /* percent */
};

static uint64_t rng;

static uint64_t roll(uint64_t sides)
{
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (rng >> 33) % sides;
}

static struct batch_size draw(size_t inputs_most, uint32_t from, uint32_t to)
{
    struct batch_size s = {.inputs = 1 + roll(inputs_most)};
    uint64_t longest = 0;

    for (size_t i = 0; i < s.inputs; i++) {
        uint64_t tokens = from + roll(to - from + 1);

        s.tokens += tokens;
        longest = tokens > longest ? tokens : longest;
    }
    s.padding = s.inputs * longest - s.tokens;
    return s;
}

static uint64_t took(const struct truth *t, const struct batch_size *s)
{
    double us = t->call + t->input * (double)s->inputs + t->token * (double)s->tokens +
                t->padding * (double)s->padding;

    return (uint64_t)(us * (double)(100 - t->noise + roll(2 * t->noise + 1)) / 100);
}

static void make_calls(struct batch_cost *c, const struct truth *t, unsigned calls, uint32_t from,
                       uint32_t to)
{
    for (unsigned i = 0; i < calls; i++) {
        struct batch_size s = draw(32, from, to);

        batch_cost_note(c, &s, took(t, &s));
    }
}

static void padding_is_found(uint64_t seed)
{
    const struct truth pads = {5000, 100, 50, 50, 10};
    struct batch_cost c = {0};
    struct batch_size s = {.inputs = 16, .tokens = 1600, .padding = 1600};
    double us;

    rng = seed;
    make_calls(&c, &pads, 100, 10, 400);
    assert_true(c.pads);
    assert_in_range(c.us[3], 30, 70); /* much like that of a token, which it is told from */
    us = batch_cost_us(&c, &s);
    assert_in_range(us, took(&(struct truth){5000, 100, 50, 50, 0}, &s) * 9 / 10,
                    took(&(struct truth){5000, 100, 50, 50, 0}, &s) * 11 / 10);
    /* What follows from it does not make it be forgotten: calls of like lengths. */
    make_calls(&c, &pads, 1000, 100, 130);
    assert_true(c.pads);
    /* Another engine at the same place does. */
    make_calls(&c, &(struct truth){5000, 100, 50, 0, 10}, 600, 10, 400);
    assert_false(c.pads);
}

static void where_there_is_none_none_is_found(uint64_t seed)
{
    const struct truth seed_node = {27200, 1360, 0, 0, 5}, flat = {5000, 100, 50, 0, 20};
    struct batch_cost c = {0};

    rng = seed;
    for (unsigned i = 0; i < 50; i++) {
        make_calls(&c, seed % 2 == 0 ? &seed_node : &flat, 20, 10, 400);
        assert_false(c.pads);
    }
}

static void calls_of_one_size_tell_nothing_apart(void **state)
{
    struct batch_cost c = {0};
    const struct batch_size s = {.inputs = 20, .tokens = 200, .padding = 0};

    (void)state;
    assert_true(batch_cost_us(&c, &s) <= 0);
    for (unsigned i = 0; i < 100; i++) {
        batch_cost_note(&c, &s, 54400 + i % 3);
    }
    assert_false(c.pads);
    assert_in_range(batch_cost_us(&c, &s), 54300, 54500);
}

/* The same mixture each time, as a closed loop has it: a trial now and then tells. */
static void a_trial_finds_it_where_calls_are_alike(void **state)
{
    const struct truth pads = {5000, 0, 10, 10, 3};
    struct batch_size s = {.inputs = 20, .tokens = 10 * 8 + 10 * 400, .padding = 10 * 392};
    struct batch_lengths w = {0};
    struct batch_cost c = {0};
    unsigned calls = 0;

    (void)state;
    rng = 1;
    w.inputs[batch_length(8)] = w.inputs[batch_length(400)] = 10;
    w.tokens[batch_length(8)] = 80;
    w.tokens[batch_length(400)] = 4000;
    while (!c.pads && calls < 1000) {
        size_t from, to;
        size_t of = batch_length(roll(2) == 0 ? 8 : 400);

        batch_cost_range(&c, &w, 32, of, &from, &to);
        if (from == 0 && to == BATCH_LENGTHS - 1) {
            batch_cost_note(&c, &s, took(&pads, &s));
        } else {
            const struct batch_size trial = {.inputs = 10, .tokens = w.tokens[of]};

            batch_cost_note(&c, &trial, took(&pads, &trial));
        }
        calls++;
    }
    assert_in_range(calls, 28, 400);
}

static void one_that_took_far_longer_is_something_else(void **state)
{
    const struct truth pads = {5000, 100, 50, 50, 0};
    struct batch_size s = {.inputs = 8, .tokens = 1600, .padding = 1400};
    struct batch_cost c = {0};

    (void)state;
    rng = 1;
    make_calls(&c, &pads, 100, 10, 400);
    batch_cost_note(&c, &s, 60 * 1000000);
    assert_in_range(batch_cost_us(&c, &s), took(&pads, &s) * 8 / 10, took(&pads, &s) * 14 / 10);
}

static void classes_of_length(void **state)
{
    (void)state;
    assert_int_equal(batch_length(1), 0);
    for (uint32_t tokens = 1; tokens < 100000; tokens++) {
        size_t length = batch_length(tokens), next = batch_length(tokens + 1);

        assert_true(length == next || length < next);
        assert_true(batch_length(2 * tokens) == length + 2 || tokens == 1);
    }
    assert_true(batch_length(UINT32_MAX) < BATCH_LENGTHS);
}

static void range(struct batch_cost *c, const struct batch_lengths *w, uint32_t of, uint32_t from,
                  uint32_t to)
{
    size_t first, last;

    batch_cost_range(c, w, 32, batch_length(of), &first, &last);
    assert_int_equal(first, batch_length(from));
    assert_int_equal(last, batch_length(to));
}

static void add(struct batch_lengths *w, size_t inputs, uint32_t tokens)
{
    w->inputs[batch_length(tokens)] += inputs;
    w->tokens[batch_length(tokens)] += inputs * tokens;
}

static void stretches(void **state)
{
    struct batch_cost c = {.us = {500000, 0, 100, 100}, .pads = true};
    struct batch_lengths w = {0};
    size_t first, last;

    (void)state;
    c.calls = 100;
    add(&w, 10, 7);
    add(&w, 10, 511);
    add(&w, 10, 600); /* near that: together */
    range(&c, &w, 7, 7, 7);
    range(&c, &w, 511, 511, 600);
    range(&c, &w, 600, 511, 600);
    /* Where a call costs much, or padding nothing, all go together. */
    c.us[0] = 1e9;
    batch_cost_range(&c, &w, 32, batch_length(7), &first, &last);
    assert_true(first == 0 && last == BATCH_LENGTHS - 1);
    c.us[0] = 500000;
    c.pads = false;
    batch_cost_range(&c, &w, 32, batch_length(7), &first, &last);
    assert_true(first == 0 && last == BATCH_LENGTHS - 1);
}

static void worlds(void **state)
{
    (void)state;
    seeds_run(60, padding_is_found);
}

static void worlds_without(void **state)
{
    (void)state;
    seeds_run(60, where_there_is_none_none_is_found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(worlds),
        SEEDS_TEST(worlds_without),
        cmocka_unit_test(a_trial_finds_it_where_calls_are_alike),
        cmocka_unit_test(calls_of_one_size_tell_nothing_apart),
        cmocka_unit_test(one_that_took_far_longer_is_something_else),
        cmocka_unit_test(classes_of_length),
        cmocka_unit_test(stretches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
