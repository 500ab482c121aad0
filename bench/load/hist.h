/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram of durations in log-linear buckets: exact below 256 ns, within 1/128 above, up to
 * HIST_MAX_NS; longer ones count as that long. Pure; embedded; zeroed is empty. */
#ifndef MCP_BENCH_LOAD_HIST_H
#define MCP_BENCH_LOAD_HIST_H

#include <stddef.h>
#include <stdint.h>

enum {
    HIST_LINEAR_BITS = 8, /* each doubling beyond 2^8 has 2^7 buckets */
    HIST_MAX_BITS = 40,
    HIST_BUCKETS =
        (1 << HIST_LINEAR_BITS) + (HIST_MAX_BITS - HIST_LINEAR_BITS) * (1 << (HIST_LINEAR_BITS - 1))
};

#define HIST_MAX_NS (((uint64_t)1 << HIST_MAX_BITS) - 1) /* 18 minutes */

struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);
/* The least duration that `share` (0 to 1) of all are not above, rounded up to the end of its
 * bucket, but not beyond the longest; 0: empty. */
uint64_t hist_quantile_ns(const struct hist *h, double share);
double hist_mean_ns(const struct hist *h);

#endif
