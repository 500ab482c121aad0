/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/prometheus.h"

#include <inttypes.h>
#include <string.h>

struct metric {
    const char *family;
    const char *labels;
    const char *help;
    const char *type;
};

static const struct metric metrics[COUNTER_COUNT] = {
#define COUNTER(id, family, labels, help) {family, labels, help, "counter"},
#define GAUGE(id, family, labels, help) {family, labels, help, "gauge"},
#include "base/metrics.def"
};

static const struct metric histograms[HISTOGRAM_COUNT] = {
#define HISTOGRAM(id, family, labels, help) {family, labels, help, "histogram"},
#include "base/metrics.def"
};

static void append_type(struct buf *out, const struct metric *m)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->family, m->help, m->family, m->type);
}

static void append_name(struct buf *out, const struct metric *m, const char *suffix)
{
    bool labelled = m->labels[0] != '\0';

    buf_printf(out, "%s%s%s%s%s", m->family, suffix, labelled ? "{" : "", m->labels,
               labelled ? "}" : "");
}

static void append_counter(const struct counters *const *sets, size_t count, size_t id,
                           struct buf *out)
{
    const struct metric *m = &metrics[id];
    int64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += counter_get(sets[i], (enum counter_id)id);
    }
    if (id == 0 || strcmp(metrics[id - 1].family, m->family) != 0) {
        append_type(out, m);
    }
    append_name(out, m, "");
    buf_printf(out, " %" PRId64 "\n", sum);
}

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static uint64_t bucket_sum(const struct counters *const *sets, size_t count, size_t id, size_t b)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += load(&sets[i]->histograms[id].buckets[b]);
    }
    return sum;
}

/* Always the same bounds, empty or not, so that rates and sums over gateways are right: every
 * second bucket, four per power of two. */
static void append_histogram(const struct counters *const *sets, size_t count, size_t id,
                             struct buf *out)
{
    const struct metric *m = &histograms[id];
    const char *comma = m->labels[0] != '\0' ? "," : "";
    uint64_t seen = 0;
    uint64_t sum_us = 0;

    for (size_t i = 0; i < count; i++) {
        sum_us += load(&sets[i]->histograms[id].sum_us);
    }
    if (id == 0 || strcmp(histograms[id - 1].family, m->family) != 0) {
        append_type(out, m);
    }
    for (size_t b = 0; b + 1 < HISTOGRAM_BUCKETS; b += 2) {
        seen += bucket_sum(sets, count, id, b) + bucket_sum(sets, count, id, b + 1);
        if (b + 2 < HISTOGRAM_BUCKETS) { /* the last one has no upper bound */
            buf_printf(out, "%s_bucket{%s%sle=\"%.6f\"} %" PRIu64 "\n", m->family, m->labels, comma,
                       (double)histogram_bucket_max_us(b + 1) / 1e6, seen);
        }
    }
    /* The count is what the buckets said: they are written one by one while this reads. */
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", m->family, m->labels, comma, seen);
    append_name(out, m, "_sum");
    buf_printf(out, " %.6f\n", (double)sum_us / 1e6);
    append_name(out, m, "_count");
    buf_printf(out, " %" PRIu64 "\n", seen);
}

bool prometheus_render(const struct counters *const *sets, size_t count, struct buf *out)
{
    for (size_t id = 0; id < COUNTER_COUNT; id++) {
        append_counter(sets, count, id, out);
    }
    for (size_t id = 0; id < HISTOGRAM_COUNT; id++) {
        append_histogram(sets, count, id, out);
    }
    return !buf_failed(out);
}
