/* SPDX-License-Identifier: Apache-2.0 */
#include "base/counter.h"

/* Gauges may be moved by more than one thread only through the spare set; a loop's set has one
 * writer, so a relaxed load and store is enough and costs no locked instruction. */
static struct counters spare;
static _Thread_local struct counters *attached;

static struct counters *current(void)
{
    return attached == NULL ? &spare : attached;
}

void counters_attach(struct counters *set)
{
    attached = set;
}

const struct counters *counters_current(void)
{
    return current();
}

void counter_add(enum counter_id id, int64_t n)
{
    int64_t *value = &current()->values[id];

    __atomic_store_n(value, __atomic_load_n(value, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

int64_t counter_get(const struct counters *set, enum counter_id id)
{
    return __atomic_load_n(&set->values[id], __ATOMIC_RELAXED);
}

static void add_u64(uint64_t *value, uint64_t n)
{
    __atomic_store_n(value, __atomic_load_n(value, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

size_t histogram_bucket(uint64_t us)
{
    unsigned top;
    size_t bucket;

    if (us < 8) {
        return (size_t)us;
    }
    top = 63U - (unsigned)__builtin_clzll(us);
    bucket = (size_t)(top - 2U) * 8U + (size_t)((us >> (top - 3U)) & 7U);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_bucket_max_us(size_t bucket)
{
    unsigned shift;

    if (bucket < 8) {
        return bucket;
    }
    shift = (unsigned)(bucket / 8U) - 1U;
    return ((8U + (uint64_t)(bucket % 8U) + 1U) << shift) - 1U;
}

void histogram_record(enum histogram_id id, uint64_t us)
{
    struct histogram *h = &current()->histograms[id];

    add_u64(&h->count, 1);
    add_u64(&h->sum_us, us);
    add_u64(&h->buckets[histogram_bucket(us)], 1);
}

uint64_t histogram_quantile_us(const struct histogram *h, double fraction)
{
    uint64_t seen = 0;
    uint64_t wanted = (uint64_t)((double)h->count * fraction);

    if (h->count == 0) {
        return 0;
    }
    if (wanted >= h->count) {
        wanted = h->count - 1;
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted) {
            return histogram_bucket_max_us(i);
        }
    }
    return histogram_bucket_max_us(HISTOGRAM_BUCKETS - 1);
}
