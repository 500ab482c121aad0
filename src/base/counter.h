/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and histograms of metrics.def. One set per loop, one writer (the loop's thread),
 * relaxed stores; any thread may read. `counters_attach` says which set this thread writes; a
 * process-wide spare set serves threads without one. Histograms take microseconds and keep
 * log-linear buckets (8 per power of two: at most 12.5 % error). */
#ifndef MCP_BASE_COUNTER_H
#define MCP_BASE_COUNTER_H

#include <stddef.h>
#include <stdint.h>

enum counter_id {
#define COUNTER(id, family, labels, help) COUNTER_##id,
#define GAUGE(id, family, labels, help) COUNTER_##id,
#include "base/metrics.def"
    COUNTER_COUNT
};

enum histogram_id {
#define HISTOGRAM(id, family, labels, help) HISTOGRAM_##id,
#include "base/metrics.def"
    HISTOGRAM_COUNT
};

enum { HISTOGRAM_BUCKETS = 264 }; /* 8 exact (0..7 us), then 8 per power of two up to 2^35 us */

struct histogram {
    uint64_t count;
    uint64_t sum_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct counters {
    int64_t values[COUNTER_COUNT];
    struct histogram histograms[HISTOGRAM_COUNT];
};

/* The set this thread writes from now on; NULL: the spare one. The set outlives the thread's use.
 */
void counters_attach(struct counters *set);
/* The set this thread writes, for reading it. */
const struct counters *counters_current(void);

void counter_add(enum counter_id id, int64_t n);
int64_t counter_get(const struct counters *set, enum counter_id id);
void histogram_record(enum histogram_id id, uint64_t us);

/* Bucket of a value, and the largest value (us) a bucket holds. */
size_t histogram_bucket(uint64_t us);
uint64_t histogram_bucket_max_us(size_t bucket);
/* The value (us) below or at which `fraction` (0..1) of the recorded ones lie; 0 when empty. */
uint64_t histogram_quantile_us(const struct histogram *h, double fraction);

#endif
