/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that look random and follow from a seed (splitmix64), and what is drawn with them. Pure.
 */
#ifndef MCP_FARM_RANDOM_H
#define MCP_FARM_RANDOM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

static inline uint64_t farm_random(uint64_t *state)
{
    uint64_t before = *state;

    *state += 0x9E3779B97F4A7C15U;
    return hash_number(0, before);
}

/* Above 0, at most 1. */
static inline double farm_random_unit(uint64_t *state)
{
    return (double)((farm_random(state) >> 11) + 1) * 0x1p-53;
}

static inline double farm_random_exponential(uint64_t *state, double mean)
{
    return -mean * log(farm_random_unit(state));
}

/* Half of them are above the median; sigma 0: all are the median. */
static inline double farm_random_log_normal(uint64_t *state, double median, double sigma)
{
    double r, angle;

    if (sigma <= 0) {
        return median;
    }
    r = sqrt(-2 * log(farm_random_unit(state))); /* Box and Muller */
    angle = 2 * 3.14159265358979323846 * farm_random_unit(state);
    return median * exp(sigma * r * cos(angle));
}

/* Zipf's law over `count` things, the first of which is the most frequent: weights 1 / rank^skew,
 * as running sums. */
void farm_zipf(double *sums, size_t count, double skew);
/* Which one. */
size_t farm_random_pick(uint64_t *state, const double *sums, size_t count);

#endif
