/* SPDX-License-Identifier: Apache-2.0 */
/* The cost model under virtual time: slots, steps, cancelling, the prompt cache. */
#include "alloc_fault.h"
#include "engine_run.h"
#include "sim/random.h"

/* --- profile seed
 * -------------------------------------------------------------------------------------- */

static void seed_computes_one_call_at_a_time(void **state)
{
    struct sim_profile p = profile_of("seed");

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 10, 0));
    submit(call_of(1, 0, 8, 80, 0));
    submit(call_of(2, 0, 1, 10, 32));
    assert_int_equal(model(0).busy, 1);
    assert_int_equal(model(0).waiting, 2);
    run_all();
    ENDED(0, 1, 2);
    assert_int_equal(took(0), 28560);
    assert_int_equal(took(1), 28560 + 38080);
    assert_int_equal(took(2), 28560 + 38080 + 28560);
    sim_engine_free(&e);
}

/* The ceiling of the batching table: n / (27.2 ms + 1.36 ms n). */
static void seed_has_the_throughput_of_its_formula(void **state)
{
    struct sim_profile p = profile_of("seed");

    (void)state;
    for (uint32_t n = 1; n <= 32; n *= 2) {
        uint64_t begun;

        begin(&p, 1, 1);
        begun = now;
        for (size_t i = 0; i < 10; i++) {
            submit(call_of(i, 0, n, n, 0));
        }
        run_all();
        assert_int_equal(calls[9].ended_us - begun, 10 * (27200 + 1360 * n));
        sim_engine_free(&e);
    }
}

static void a_late_caller_changes_no_time(void **state)
{
    struct sim_profile p = profile_of("seed");

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 10, 0));
    submit(call_of(1, 0, 1, 10, 0));
    assert_int_equal(sim_engine_due_us(e), now + 28560);
    now += 10 * S;
    take_news();
    ENDED(0, 1);
    assert_int_equal(took(0), 28560);
    assert_int_equal(took(1), 2 * 28560);
    sim_engine_free(&e);
}

/* --- slots and steps
 * ----------------------------------------------------------------------------------- */

/* No load time and no limits but those that a test sets. */
static struct sim_profile decoding(uint64_t slots)
{
    struct sim_profile p = profile_of("echo");

    p.slots = slots;
    p.decode_us = 20 * MS;
    p.decode_slot_us = 1 * MS;
    p.prompt_us = 100;
    return p;
}

static void a_step_costs_a_and_b_per_call(void **state)
{
    struct sim_profile p = decoding(4);

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 100, 11));
    run_all();
    /* The prompt's step gives the first token. */
    assert_int_equal(took(0), 10 * MS + 10 * 21 * MS);
    assert_int_equal(calls[0].decode_us - calls[0].started_us, 10 * MS);
    for (size_t i = 1; i <= 4; i++) {
        submit(call_of(i, 0, 1, 100, 11));
    }
    run_all();
    /* The first one's prompt is alone in its step; the others' are in its next. */
    assert_int_equal(took(1), 10 * MS + (21 + 30) * MS + 9 * 24 * MS);
    for (size_t i = 2; i <= 4; i++) {
        assert_int_equal(took(i), took(1) + 23 * MS);
    }
    assert_int_equal(totals()->tokens, 55);
    assert_int_equal(totals()->prompt_tokens, 500);
    sim_engine_free(&e);
}

static void tokens_come_one_by_one(void **state)
{
    struct sim_profile p = decoding(4);

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 100, 3));
    run_to(now + 10 * MS - 1);
    assert_int_equal(told[0], 0);
    run_to(now + 1);
    assert_int_equal(told[0], 1);
    run_to(now + 21 * MS);
    assert_int_equal(told[0], 2);
    assert_int_equal(ended_count, 0);
    run_to(now + 21 * MS);
    ENDED(0);
    sim_engine_free(&e);
}

static void calls_above_the_slots_wait_in_order(void **state)
{
    struct sim_profile p = decoding(2);

    (void)state;
    begin(&p, 1, 1);
    for (size_t i = 0; i < 6; i++) {
        submit(call_of(i, 0, 1, 1, 2 + (uint32_t)i));
    }
    take_news();
    assert_int_equal(model(0).busy, 2);
    assert_int_equal(model(0).waiting, 4);
    run_all();
    ENDED(0, 1, 2, 3, 4, 5);
    assert_true(calls[2].started_us == calls[0].ended_us);
    assert_true(calls[3].started_us == calls[1].ended_us);
    sim_engine_free(&e);
}

static void a_slot_without_work_is_noticed(void **state)
{
    struct sim_profile p = profile_of("seed");

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 10, 0));
    submit(call_of(1, 0, 1, 10, 0)); /* which waits here: no gap */
    run_to(now + 2 * 28560);
    assert_int_equal(sim_engine_gap_us(e, 99), 0);
    now += 900;
    submit(call_of(2, 0, 1, 10, 0));
    run_to(now + 28560);
    assert_in_range(sim_engine_gap_us(e, 50), 900, 1100);
    for (size_t i = 3; i < 13; i++) {
        now += 100;
        submit(call_of(i, 0, 1, 10, 0));
        run_to(now + 28560);
    }
    assert_in_range(sim_engine_gap_us(e, 50), 100, 125);
    assert_in_range(sim_engine_gap_us(e, 99), 900, 1100);
    sim_engine_free(&e);
}

static void slots_can_be_taken_away_and_given_back(void **state)
{
    struct sim_profile p = decoding(4);

    (void)state;
    begin(&p, 1, 1);
    for (size_t i = 0; i < 8; i++) {
        submit(call_of(i, 0, 1, 1, 2));
    }
    take_news();
    assert_false(sim_engine_set_slots(e, 0, now));
    assert_false(sim_engine_set_slots(e, 5, now));
    assert_true(sim_engine_set_slots(e, 1, now));
    assert_int_equal(model(0).busy, 4); /* who has one keeps it */
    while (ended_count < 4) {
        run_to(now + MS);
    }
    take_news();
    assert_int_equal(model(0).busy, 1);
    assert_true(sim_engine_set_slots(e, 4, now));
    assert_int_equal(model(0).busy, 4);
    run_all();
    assert_int_equal(ended_count, 8);
    sim_engine_free(&e);
}

static void without_a_limit_all_start_at_once(void **state)
{
    struct sim_profile p = decoding(0);

    (void)state;
    begin(&p, 1, 1);
    for (size_t i = 0; i < CALLS; i++) {
        submit(call_of(i, 0, 1, 1, 2));
    }
    assert_int_equal(model(0).busy, CALLS);
    run_all();
    assert_int_equal(ended_count, CALLS);
    sim_engine_free(&e);
}

static void a_long_prompt_slows_the_others_down(void **state)
{
    struct sim_profile p = decoding(2);
    uint64_t begun;

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 1, 100));
    run_to(now + 100);
    begun = now;
    submit(call_of(1, 0, 1, 1024, 1)); /* two steps' worth, behind the running one */
    run_to(begun + 21 * MS);
    assert_int_equal(told[0], 2);
    run_to(begun + 21 * MS + 2 * (21 * MS + 51200) - 1);
    assert_int_equal(told[0], 3);
    run_to(now + 1);
    assert_int_equal(told[0], 4);
    ENDED(1);
    sim_engine_free(&e);
}

static void an_embedding_ends_with_its_prompt(void **state)
{
    struct sim_profile p = decoding(1);

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 3, 1000, 0));
    run_all();
    assert_int_equal(took(0), 100 * MS);
    assert_int_equal(told[0], 0);
    sim_engine_free(&e);
}

/* --- cancelling
 * ---------------------------------------------------------------------------------------- */

static void a_cancelled_call_gives_its_place_in_every_phase(void **state)
{
    struct sim_profile p = decoding(1);

    (void)state;
    p.load_ms = 2000;
    p.call_us = 10 * MS;
    /* when, and the phase that is then */
    static const struct {
        uint64_t at_us;
        enum sim_phase phase;
    } cases[] = {
        {0, SIM_PENDING},
        {2 * S, SIM_FIXED},
        {2 * S + 10 * MS, SIM_PROMPT},
        {2 * S + 60 * MS, SIM_DECODE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&p, 1, 1);
        submit(call_of(0, 0, 1, 100, 100));
        submit(call_of(1, 0, 1, 100, 1));
        run_to(now + cases[i].at_us);
        assert_int_equal(calls[0].phase, cases[i].phase);
        sim_engine_cancel(e, &calls[0], now);
        assert_int_equal(calls[0].phase, SIM_NONE);
        sim_engine_cancel(e, &calls[0], now); /* nothing */
        run_all();
        ENDED(1);
        assert_int_equal(totals()->cancelled, 1);
        assert_int_equal(totals()->done, 1);
        if (i > 0) {
            assert_int_equal(calls[1].started_us, BEGIN_S * (uint64_t)S + cases[i].at_us);
        }
        sim_engine_free(&e);
    }
}

static void a_waiting_and_a_finished_call_can_be_cancelled(void **state)
{
    struct sim_profile p = decoding(1);

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 1, 1));
    submit(call_of(1, 0, 1, 1, 1));
    sim_engine_cancel(e, &calls[1], now);
    now += 1 * S;
    sim_engine_cancel(e, &calls[0], now); /* it has ended, but nobody was told */
    run_all();
    assert_int_equal(ended_count, 0);
    assert_int_equal(totals()->cancelled, 2);
    assert_int_equal(totals()->done, 0);
    assert_int_equal(model(0).busy, 0);
    sim_engine_free(&e);
}

/* --- prompt cache
 * -------------------------------------------------------------------------------------- */

enum { BLOCKS = 256 };
static uint64_t text[BLOCKS];

/* A text of `count` blocks that parts from text 0 behind `common` of them. */
static void set_text(size_t common, uint64_t other)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        text[i] = i < common ? i : other * 1000 + i;
    }
}

static struct sim_profile caching(uint64_t slots)
{
    struct sim_profile p = decoding(slots);

    p.prompt_cache = 1;
    return p;
}

static void ask(size_t id, uint32_t prompt, uint32_t tokens)
{
    struct sim_call *c = call_of(id, 0, 1, prompt, tokens);

    c->blocks = text;
    c->block_count = (prompt + tokens) / SIM_BLOCK_TOKENS;
    submit(c);
    run_to(now + 60 * (uint64_t)S);
}

static void the_next_turn_reads_only_what_is_new(void **state)
{
    struct sim_profile p = caching(1);

    (void)state;
    begin(&p, 1, 1);
    set_text(BLOCKS, 0);
    ask(0, 320, 160);
    assert_int_equal(calls[0].cached_tokens, 0);
    ask(1, 640, 160); /* begins with the first prompt and its answer */
    assert_int_equal(calls[1].cached_tokens, 480);
    assert_int_equal(calls[1].decode_us - calls[1].started_us, (640 - 480) * 100);
    set_text(10, 7);
    ask(2, 320, 16);
    assert_int_equal(calls[2].cached_tokens, 160);
    set_text(BLOCKS, 0);
    ask(3, 320, 16); /* the slot has the other text now */
    assert_int_equal(calls[3].cached_tokens, 160);
    ask(4, 320, 16);
    assert_int_equal(calls[4].cached_tokens, 319); /* the last one is read again */
    assert_int_equal(totals()->cached_tokens, 480 + 160 + 160 + 319);
    sim_engine_free(&e);
}

static void the_slot_with_most_of_the_prompt_is_taken(void **state)
{
    struct sim_profile p = caching(2);

    (void)state;
    begin(&p, 1, 1);
    set_text(0, 1);
    ask(0, 320, 16);
    set_text(0, 2);
    ask(1, 320, 16);
    set_text(0, 1);
    ask(2, 320, 16);
    assert_int_equal(calls[2].cached_tokens, 319);
    set_text(0, 2);
    ask(3, 320, 16);
    assert_int_equal(calls[3].cached_tokens, 319);
    set_text(0, 3); /* takes the one used longest ago, which has text 1 */
    ask(4, 320, 16);
    set_text(0, 2);
    ask(5, 320, 16);
    assert_int_equal(calls[5].cached_tokens, 319);
    set_text(0, 1);
    ask(6, 320, 16);
    assert_int_equal(calls[6].cached_tokens, 0);
    sim_engine_free(&e);
}

static void a_cancelled_call_leaves_what_was_computed(void **state)
{
    struct sim_profile p = caching(1);
    struct sim_call *c;

    (void)state;
    begin(&p, 1, 1);
    set_text(BLOCKS, 0);
    c = call_of(0, 0, 1, 320, 160);
    c->blocks = text;
    c->block_count = 30;
    submit(c);
    run_to(now + 32 * MS + 15 * 21 * MS); /* 16 tokens */
    assert_int_equal(told[0], 16);
    sim_engine_cancel(e, c, now);
    ask(1, 480, 1);
    assert_int_equal(calls[1].cached_tokens, 336);
    sim_engine_free(&e);
}

static void an_unloaded_model_has_forgotten(void **state)
{
    struct sim_profile p = caching(1);

    (void)state;
    begin(&p, 1, 1);
    set_text(BLOCKS, 0);
    ask(0, 320, 16);
    sim_engine_unload(e, 0, now);
    ask(1, 320, 16);
    assert_int_equal(calls[1].cached_tokens, 0);
    sim_engine_free(&e);
}

static void without_memory_the_cache_keeps_nothing(void **state)
{
    struct sim_profile p = caching(1);

    (void)state;
    begin(&p, 1, 1);
    set_text(BLOCKS, 0);
    alloc_fault_at(1);
    ask(0, 320, 16);
    alloc_fault_at(0);
    ask(1, 320, 16);
    assert_int_equal(calls[1].cached_tokens, 0);
    ask(2, 320, 16);
    assert_int_equal(calls[2].cached_tokens, 319);
    sim_engine_free(&e);
    for (int i = 1; i <= 3; i++) {
        alloc_fault_at(i);
        assert_null(sim_engine_new(&p, 2, 1));
    }
    alloc_fault_at(0);
}

/* --- seeds
 * --------------------------------------------------------------------------------------------- */

static uint64_t time_of_ten(uint64_t seed)
{
    struct sim_profile p = profile_of("seed");

    p.jitter_percent = 20;
    begin(&p, 1, seed);
    for (size_t i = 0; i < 10; i++) {
        submit(call_of(i, 0, 1, 1, 1));
    }
    run_all();
    for (size_t i = 1; i < 10; i++) {
        assert_in_range(calls[i].ended_us - calls[i].started_us, 28560 * 8 / 10, 28560 * 12 / 10);
    }
    sim_engine_free(&e);
    return calls[9].ended_us;
}

static void times_follow_from_the_seed(void **state)
{
    (void)state;
    assert_int_equal(time_of_ten(1), time_of_ten(1));
    assert_int_not_equal(time_of_ten(1), time_of_ten(2));
}

/* Everything at random, on everything at once: each call ends exactly once and nothing stays held.
 */
static void nothing_is_lost_in_a_long_random_run(void **state)
{
    struct sim_profile p = profile_of("llm");
    uint64_t random = 42, submitted = 0, refused = 0;

    (void)state;
    p.queue = 20;
    p.jitter_percent = 30;
    p.memory_mib = 2 * p.model_mib;
    begin(&p, 5, 7);
    set_text(BLOCKS, 0);
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t r = sim_random_next(&random);
        struct sim_call *c = &calls[r % CALLS];

        if (c->phase == SIM_NONE) {
            call_of(r % CALLS, r >> 8 & 1 ? 0 : r >> 12 & 3, r >> 16 & 3,
                    1 + (uint32_t)(r >> 20 & 1023), (uint32_t)(r >> 32 & 31));
            c->context = (r >> 40 & 63) == 0 ? 8192 : 4096;
            c->tokens = c->items == 0 ? 0 : c->tokens;
            c->blocks = text;
            c->block_count = (c->prompt_tokens + c->tokens) / SIM_BLOCK_TOKENS;
            c->keep_alive_us = (int64_t)(r >> 46 & 3) * S;
            if (sim_engine_submit(e, c, now) == SIM_TAKEN) {
                submitted++;
            } else {
                refused++;
            }
        } else if ((r >> 8 & 3) == 0) {
            sim_engine_cancel(e, c, now);
        } else if ((r >> 8 & 63) == 1) {
            sim_engine_unload(e, r >> 16 & 3, now);
        }
        run_to(now + (r >> 48 & 0xffff));
    }
    run_all();
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(model(i).busy, 0);
        assert_int_equal(model(i).waiting, 0);
    }
    assert_int_equal(sim_engine_pending(e), 0);
    assert_int_equal(totals()->calls, submitted);
    assert_int_equal(totals()->refused, refused);
    assert_int_equal(totals()->done, ended_count);
    assert_int_equal(totals()->done + totals()->cancelled, submitted);
    assert_true(totals()->done > 1000 && totals()->cancelled > 1000);
    assert_true(totals()->loads > 100 && totals()->evictions > 50 && totals()->expiries > 10);
    sim_engine_free(&e);
}

static void profiles_are_found_by_name(void **state)
{
    struct sim_profile p;

    (void)state;
    assert_true(sim_profile_find("echo", &p));
    assert_true(sim_profile_is_free(&p));
    p.slots = 1;
    assert_false(sim_profile_is_free(&p));
    assert_true(sim_profile_find("llm", &p));
    assert_false(sim_profile_is_free(&p));
    assert_false(sim_profile_find("", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_computes_one_call_at_a_time),
        cmocka_unit_test(seed_has_the_throughput_of_its_formula),
        cmocka_unit_test(a_late_caller_changes_no_time),
        cmocka_unit_test(a_step_costs_a_and_b_per_call),
        cmocka_unit_test(tokens_come_one_by_one),
        cmocka_unit_test(calls_above_the_slots_wait_in_order),
        cmocka_unit_test(a_slot_without_work_is_noticed),
        cmocka_unit_test(slots_can_be_taken_away_and_given_back),
        cmocka_unit_test(without_a_limit_all_start_at_once),
        cmocka_unit_test(a_long_prompt_slows_the_others_down),
        cmocka_unit_test(an_embedding_ends_with_its_prompt),
        cmocka_unit_test(a_cancelled_call_gives_its_place_in_every_phase),
        cmocka_unit_test(a_waiting_and_a_finished_call_can_be_cancelled),
        cmocka_unit_test(the_next_turn_reads_only_what_is_new),
        cmocka_unit_test(the_slot_with_most_of_the_prompt_is_taken),
        cmocka_unit_test(a_cancelled_call_leaves_what_was_computed),
        cmocka_unit_test(an_unloaded_model_has_forgotten),
        cmocka_unit_test(without_memory_the_cache_keeps_nothing),
        cmocka_unit_test(times_follow_from_the_seed),
        cmocka_unit_test(nothing_is_lost_in_a_long_random_run),
        cmocka_unit_test(profiles_are_found_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
