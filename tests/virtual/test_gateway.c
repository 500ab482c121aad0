/* SPDX-License-Identifier: Apache-2.0 */
/* Random worlds. In each: every deal ends, once, with its own bytes in order; what is no fault of
 * anybody's comes whole; the gateway's counters add up, it holds nothing in the end, and it stops
 * when it is told to. MCPGATE_SEED=n runs one of them and tells what happens on the network. */
#include "sched_calls.h"
#include "seeds.h"
#include "world.h"

enum { WORLDS = 400, CALM_WORLDS = 40 };

static uint64_t run_world(uint64_t seed)
{
    uint64_t trace;

    world_begin(seed);
    world_run_users();
    world_stop();
    world_check();
    trace = virtual_net_trace(world.net);
    world_end();
    return trace;
}

static void run_one(uint64_t seed)
{
    (void)run_world(seed);
}

static void run_twice(uint64_t seed)
{
    assert_int_equal(run_world(seed), run_world(seed));
}

static void deals_are_kept(void **state)
{
    (void)state;
    seeds_run(WORLDS, run_one);
    if (!seeds_replay()) {
        assert_true(world_seen.joined > 0 && world_seen.repeated > 0);
        assert_true(world_seen.calls > 0 && world_seen.halved > 0);
    }
}

static void the_same_seed_is_the_same_world(void **state)
{
    (void)state;
    seeds_run(WORLDS / 20, run_twice);
}

/* Two calls for each request that takes a turn, and one more where it has its model loaded,
 * whatever number of parts its answer has. */
static void run_calm(uint64_t seed)
{
    world_begin(seed);
    virtual_net_set_profile(world.net, &virtual_calm);
    world.plan = (struct plan){.subs = world.plan.subs,
                               .slots = world.plan.slots,
                               .takes_turns = world.plan.takes_turns,
                               .is_openai = world.plan.is_openai};
    world_run_users();
    world_stop();
    world_check();
    if (world.plan.takes_turns || world.plan.slots > 0) {
        assert_true(sched_calls.arrive <= world.deal_count);
        assert_true(sched_calls.arrive >= world_deals_that(DEAL_WHOLE));
        assert_int_equal(sched_calls.leave, sched_calls.arrive);
    } else if (world.node_count == 1) {
        assert_int_equal(sched_calls.arrive, 0);
    }
    assert_true(sched_calls.started <= sched_calls.arrive);
    world_end();
}

static void the_scheduler_is_asked_twice_for_each(void **state)
{
    (void)state;
    seeds_run(CALM_WORLDS, run_calm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(deals_are_kept),
        SEEDS_TEST(the_same_seed_is_the_same_world),
        SEEDS_TEST(the_scheduler_is_asked_twice_for_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
