/* SPDX-License-Identifier: Apache-2.0 */
#include "load/hist.h"

#include <math.h>

enum { HALF = 1 << (HIST_LINEAR_BITS - 1) };

static size_t bucket_of(uint64_t ns)
{
    unsigned top, shift;

    if (ns < 1 << HIST_LINEAR_BITS) {
        return (size_t)ns;
    }
    top = 63 - (unsigned)__builtin_clzll(ns);
    shift = top - (HIST_LINEAR_BITS - 1);
    return (size_t)(shift * HALF + (ns >> shift));
}

/* The longest duration of a bucket. */
static uint64_t bucket_end_ns(size_t bucket)
{
    unsigned shift;

    if (bucket < 1 << HIST_LINEAR_BITS) {
        return bucket;
    }
    shift = (unsigned)(bucket / HALF) - 1;
    return ((uint64_t)(bucket - (size_t)shift * HALF + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t ns)
{
    if (ns > HIST_MAX_NS) {
        ns = HIST_MAX_NS;
    }
    h->buckets[bucket_of(ns)]++;
    h->count++;
    h->sum_ns += ns;
    if (ns > h->max_ns) {
        h->max_ns = ns;
    }
}

uint64_t hist_quantile_ns(const struct hist *h, double share)
{
    double rank = ceil(share * (double)h->count);
    uint64_t wanted = rank < 1 ? 1 : (uint64_t)rank, seen = 0;

    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t end = bucket_end_ns(i);

            return end < h->max_ns ? end : h->max_ns;
        }
    }
    return h->max_ns;
}

double hist_mean_ns(const struct hist *h)
{
    return h->count == 0 ? 0 : (double)h->sum_ns / (double)h->count;
}
