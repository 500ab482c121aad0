/* SPDX-License-Identifier: Apache-2.0 */
#include "load/schedule.h"

#include <math.h>

/* splitmix64, as a number above 0 and at most 1. */
static double random_share(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15U;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    x ^= x >> 31;
    return (double)((x >> 11) + 1) * 0x1p-53;
}

static void add_random_gap(struct schedule *s)
{
    s->offset_s -= log(random_share(&s->seed)) / s->rate_per_s;
}

void schedule_init(struct schedule *s, uint64_t begin_ns, double rate_per_s, bool random,
                   uint64_t seed)
{
    *s = (struct schedule){
        .begin_ns = begin_ns, .rate_per_s = rate_per_s, .random = random, .seed = seed};
    if (random) {
        add_random_gap(s);
    }
}

uint64_t schedule_next_ns(const struct schedule *s)
{
    /* From the number, not by adding up, so that rounding does not pile up. */
    double offset_s = s->random ? s->offset_s : (double)s->number / s->rate_per_s;

    return s->begin_ns + (uint64_t)(offset_s * 1e9);
}

void schedule_advance(struct schedule *s)
{
    s->number++;
    if (s->random) {
        add_random_gap(s);
    }
}
