/* SPDX-License-Identifier: Apache-2.0 */
/* Anything may happen at any time: what must hold whatever does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "sched_chaos.h"
#include "sched_cluster.h"
#include "seeds.h"

enum { STEPS = 400, WORLDS = 400 };

static uint64_t pick(void *owner, uint64_t below)
{
    return cluster_random(owner) % below;
}

static void one_world(uint64_t seed)
{
    struct chaos c;
    uint64_t rng = seed;

    chaos_begin(&c, seed, pick, &rng);
    c.memory_fails = seed % 2 == 0;
    for (int i = 0; i < STEPS; i++) {
        alloc_fault_at(c.memory_fails ? 1 + pick(&rng, 3) : 0);
        chaos_step(&c);
    }
    alloc_fault_at(0);
    chaos_end(&c);
}

static void whatever_happens(void **state)
{
    (void)state;
    seeds_run(WORLDS, one_world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(whatever_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
