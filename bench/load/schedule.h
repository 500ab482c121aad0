/* SPDX-License-Identifier: Apache-2.0 */
/* When requests of an open loop are to be sent, whatever became of those before: evenly spaced, or
 * at random (a Poisson process that follows from a seed). Pure; embedded. */
#ifndef MCP_BENCH_LOAD_SCHEDULE_H
#define MCP_BENCH_LOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    uint64_t begin_ns;
    double rate_per_s;
    bool random;
    uint64_t seed;
    uint64_t number; /* of the next request, from 0 */
    double offset_s; /* random: of the next request */
};

/* `rate_per_s` is above 0. */
void schedule_init(struct schedule *s, uint64_t begin_ns, double rate_per_s, bool random,
                   uint64_t seed);
/* Of the next request; never falls. */
uint64_t schedule_next_ns(const struct schedule *s);
void schedule_advance(struct schedule *s);

#endif
