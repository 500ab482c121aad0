/* SPDX-License-Identifier: Apache-2.0 */
/* The cost model under virtual time: loading, memory, keep-alive, the queue. */
#include "engine_run.h"

/* Two models and memory for one; a call takes 10 ms. */
static struct sim_profile cramped(void)
{
    struct sim_profile p = profile_of("echo");

    p.slots = 1;
    p.load_ms = 2000;
    p.call_us = 10 * MS;
    p.memory_mib = 6000;
    return p;
}

static void the_first_call_waits_for_the_load(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 2, 1);
    submit(call_of(0, 0, 1, 1, 1));
    submit(call_of(1, 0, 1, 1, 1));
    assert_true(model(0).loading);
    assert_int_equal(sim_engine_pending(e), 2);
    run_to(now + 2 * S);
    assert_true(model(0).loaded);
    assert_int_equal(calls[0].ready_us - calls[0].submitted_us, 2 * S);
    run_all();
    ENDED(0, 1);
    assert_int_equal(took(0), 2 * S + 10 * MS);
    assert_int_equal(took(1), 2 * S + 20 * MS);
    assert_int_equal(totals()->loads, 1);
    sim_engine_free(&e);
}

static void first_come_order_thrashes(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 2, 1);
    for (size_t i = 0; i < 20; i++) { /* 40 a second, in turns */
        submit(call_of(i, i % 2, 1, 1, 1));
        run_to(now + 25 * MS);
    }
    run_to(now + 300 * (uint64_t)S);
    assert_int_equal(ended_count, 20);
    assert_int_equal(totals()->loads, 20);
    assert_int_equal(totals()->evictions, 19);
    sim_engine_free(&e);
}

static void with_room_for_both_each_loads_once(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    p.memory_mib = 2 * p.model_mib;
    begin(&p, 2, 1);
    for (size_t i = 0; i < 20; i++) {
        submit(call_of(i, i % 2, 1, 1, 1));
        run_to(now + 25 * MS);
    }
    run_to(now + 60 * (uint64_t)S);
    assert_int_equal(totals()->loads, 2);
    assert_int_equal(totals()->evictions, 0);
    sim_engine_free(&e);
}

static void a_busy_model_is_evicted_when_it_is_idle(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    p.call_us = 1 * S;
    begin(&p, 2, 1);
    submit(call_of(0, 0, 1, 1, 1));
    run_to(now + 2500 * MS);
    submit(call_of(1, 1, 1, 1, 1));
    submit(call_of(2, 0, 1, 1, 1)); /* comes too late for the model that goes */
    assert_true(model(0).loaded);
    assert_int_equal(sim_engine_pending(e), 2);
    run_to(now + 500 * MS);
    assert_false(model(0).loaded);
    assert_true(model(1).loading);
    run_to(now + 60 * (uint64_t)S);
    ENDED(0, 1, 2);
    assert_int_equal(totals()->loads, 3);
    sim_engine_free(&e);
}

static void a_model_stays_when_who_wanted_its_place_leaves(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    p.call_us = 1 * S;
    begin(&p, 2, 1);
    submit(call_of(0, 0, 1, 1, 1));
    run_to(now + 2500 * MS);
    submit(call_of(1, 1, 1, 1, 1));
    submit(call_of(2, 0, 1, 1, 1));
    sim_engine_cancel(e, &calls[1], now);
    assert_int_equal(sim_engine_pending(e), 0);
    assert_int_equal(model(0).waiting, 1);
    run_to(now + 60 * (uint64_t)S);
    ENDED(0, 2);
    assert_int_equal(totals()->loads, 1);
    sim_engine_free(&e);
}

static void idle_models_go_by_keep_alive_then_by_age(void **state)
{
    static const struct {
        int64_t keep_alive_s[3];
        size_t gone;
    } cases[] = {
        {{300, 300, 300}, 0}, {{300, 60, 300}, 1}, {{-1, 300, 60}, 2},
        {{-1, -1, 300}, 2},   {{-1, -1, -1}, 0},
    };
    struct sim_profile p = cramped();

    (void)state;
    p.memory_mib = 3 * p.model_mib;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&p, 4, 1);
        for (size_t m = 0; m < 3; m++) {
            call_of(m, m, 1, 1, 1)->keep_alive_us = cases[i].keep_alive_s[m] * S;
            submit(&calls[m]);
            run_to(now + 3 * S);
        }
        submit(call_of(3, 3, 1, 1, 1));
        run_to(now + 3 * S);
        for (size_t m = 0; m < 4; m++) {
            assert_int_equal(model(m).loaded, m != cases[i].gone);
        }
        sim_engine_free(&e);
    }
}

static void another_context_loads_anew(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 1, 1, 1));
    run_to(now + 3 * S);
    call_of(1, 0, 1, 1, 1)->context = 8192;
    submit(&calls[1]);
    assert_true(model(0).loading);
    run_to(now + 3 * S);
    assert_int_equal(model(0).context, 8192);
    assert_int_equal(totals()->loads, 2);
    sim_engine_free(&e);
}

static void a_model_goes_when_its_keep_alive_is_over(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 1, 1);
    call_of(0, 0, 1, 1, 1)->keep_alive_us = 30 * S;
    submit(&calls[0]);
    run_to(now + 2 * S);
    assert_int_equal(model(0).expires_us, now + 30 * S);
    run_to(now + 30 * S + 10 * MS - 1);
    assert_true(model(0).loaded);
    run_to(now + 1);
    assert_false(model(0).loaded);
    assert_int_equal(totals()->expiries, 1);
    call_of(0, 0, 1, 1, 1)->keep_alive_us = 0;
    submit(&calls[0]);
    run_to(now + 2 * S + 10 * MS);
    assert_false(model(0).loaded);
    call_of(0, 0, 1, 1, 1)->keep_alive_us = -1;
    submit(&calls[0]);
    run_to(now + 1000000 * (uint64_t)S);
    assert_true(model(0).loaded);
    assert_int_equal(model(0).expires_us, UINT64_MAX);
    sim_engine_unload(e, 0, now);
    assert_false(model(0).loaded);
    sim_engine_free(&e);
}

static void an_unload_waits_for_the_calls(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 1, 1);
    sim_engine_unload(e, 0, now); /* not even there */
    submit(call_of(0, 0, 1, 1, 1));
    run_to(now + 2 * S);
    sim_engine_unload(e, 0, now);
    assert_true(model(0).loaded);
    run_to(now + 10 * MS);
    ENDED(0);
    assert_false(model(0).loaded);
    sim_engine_free(&e);
}

static void a_call_without_items_only_loads(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    begin(&p, 1, 1);
    submit(call_of(0, 0, 0, 0, 0));
    run_to(now + 2 * S);
    ENDED(0);
    assert_true(model(0).loaded);
    submit(call_of(1, 0, 1, 1, 1));
    submit(call_of(0, 0, 0, 0, 0)); /* in order with the others */
    run_to(now + 10 * MS);
    ENDED(1, 0);
    sim_engine_free(&e);
}

static void the_queue_is_bounded_and_a_loaded_model_has_none(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    p.queue = 3;
    begin(&p, 2, 1);
    for (size_t i = 0; i < 3; i++) {
        submit(call_of(i, 0, 1, 1, 1));
    }
    assert_int_equal(sim_engine_submit(e, call_of(3, 0, 1, 1, 1), now), SIM_QUEUE_FULL);
    assert_int_equal(calls[3].phase, SIM_NONE);
    run_to(now + 2 * S);
    for (size_t i = 4; i < 20; i++) {
        submit(call_of(i, 0, 1, 1, 1));
    }
    run_all();
    assert_int_equal(ended_count, 19);
    assert_int_equal(totals()->refused, 1);
    sim_engine_free(&e);
}

static void a_model_that_does_not_fit_is_refused(void **state)
{
    struct sim_profile p = cramped();

    (void)state;
    p.memory_mib = p.model_mib - 1;
    begin(&p, 1, 1);
    assert_int_equal(sim_engine_submit(e, call_of(0, 0, 1, 1, 1), now), SIM_TOO_LARGE);
    sim_engine_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_call_waits_for_the_load),
        cmocka_unit_test(first_come_order_thrashes),
        cmocka_unit_test(with_room_for_both_each_loads_once),
        cmocka_unit_test(a_busy_model_is_evicted_when_it_is_idle),
        cmocka_unit_test(a_model_stays_when_who_wanted_its_place_leaves),
        cmocka_unit_test(idle_models_go_by_keep_alive_then_by_age),
        cmocka_unit_test(another_context_loads_anew),
        cmocka_unit_test(a_model_goes_when_its_keep_alive_is_over),
        cmocka_unit_test(an_unload_waits_for_the_calls),
        cmocka_unit_test(a_call_without_items_only_loads),
        cmocka_unit_test(the_queue_is_bounded_and_a_loaded_model_has_none),
        cmocka_unit_test(a_model_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
