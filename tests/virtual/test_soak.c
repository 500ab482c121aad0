/* SPDX-License-Identifier: Apache-2.0 */
/* Gateways that serve for long: in each world users come and go round after round, and what goes
 * wrong changes. Between rounds nothing may be held. MCPGATE_SOAK=n: so many requests in all. */
#include <stdio.h>
#include <stdlib.h>

#include "base/block.h"
#include "seeds.h"
#include "world.h"

enum { REQUESTS = 2000, REQUESTS_OF_A_WORLD = 2000 };

static const char *const end_names[] = {"open", "whole", "failed", "cut", "left"};

/* Of the address sanitizer, where there is one. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t held_bytes(void)
{
    blocks_release();
    return __sanitizer_get_current_allocated_bytes == NULL
               ? 0
               : __sanitizer_get_current_allocated_bytes();
}

static size_t requests(void)
{
    const char *text = getenv("MCPGATE_SOAK");
    size_t count = text == NULL ? REQUESTS : strtoul(text, NULL, 10);

    assert_true(count > 0); /* MCPGATE_SOAK is no number */
    return count;
}

static void tell(uint64_t seed)
{
    (void)printf("seed %u:", (unsigned)seed);
    for (int end = DEAL_WHOLE; end <= DEAL_LEFT; end++) {
        (void)printf(" %zu %s", world.past_ends[end], end_names[end]);
    }
    (void)printf("; %s, %u sub reactors, %zu nodes of %u slots; %.0f s of its time\n",
                 world.plan.is_openai ? "translated" : "relayed", world.plan.subs, world.node_count,
                 (unsigned)world.plan.slots, (double)virtual_net_now_us(world.net) / 1e6);
    (void)fflush(stdout);
}

/* What is there once the first world is over stays, and nothing comes to it. */
static void check_memory(void)
{
    static size_t first;
    size_t now = held_bytes();

    first = first == 0 ? now : first;
    assert_int_equal(now, first);
}

static void run_world(uint64_t seed)
{
    world_begin(seed);
    world.plan.stops_early = false;
    while (world.past_deals < REQUESTS_OF_A_WORLD) {
        world_redraw();
        world_run_users();
        world_settle();
        world_check();
        world_forget_users();
    }
    world_stop();
    world_check();
    tell(seed);
    world_end();
    check_memory();
}

static void nothing_is_held_in_the_end(void **state)
{
    (void)state;
    seeds_run((requests() + REQUESTS_OF_A_WORLD - 1) / REQUESTS_OF_A_WORLD, run_world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(nothing_is_held_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
