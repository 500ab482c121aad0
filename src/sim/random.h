/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that look random and follow from a seed (splitmix64), and hashes made of the same mixing.
 * Not for secrets. Pure. */
#ifndef MCP_SIM_RANDOM_H
#define MCP_SIM_RANDOM_H

#include <stdint.h>

#include "base/slice.h"

static inline uint64_t sim_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

static inline uint64_t sim_random_next(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15U;
    return sim_mix(*state);
}

/* A hash of `bytes` that goes on from `hash`. */
static inline uint64_t sim_hash(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ (unsigned char)bytes.ptr[i]) * 0x100000001B3U;
    }
    return sim_mix(hash + bytes.len);
}

#endif
