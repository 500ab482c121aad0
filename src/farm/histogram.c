/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/histogram.h"

enum { STEP_BITS = 6, LAST = HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1 };

/* Values below 64 have a bucket each; then each octave has 64. */
static size_t bucket_of(uint64_t value)
{
    int octave;
    size_t at;

    if (value < HISTOGRAM_STEPS) {
        return (size_t)value;
    }
    octave = 63 - __builtin_clzll(value) - STEP_BITS;
    at = (size_t)(octave + 1) * HISTOGRAM_STEPS + ((value >> octave) - HISTOGRAM_STEPS);
    return at < LAST ? at : LAST;
}

static double least_of(size_t bucket)
{
    size_t octave = bucket / HISTOGRAM_STEPS, step = bucket % HISTOGRAM_STEPS;

    return octave == 0 ? (double)step
                       : (double)((uint64_t)(HISTOGRAM_STEPS + step) << (octave - 1));
}

void farm_histogram_add(struct farm_histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->count++;
    h->sum += (double)value;
    h->max = value > h->max ? value : h->max;
}

double farm_histogram_quantile(const struct farm_histogram *h, double share)
{
    double wanted = share * (double)h->count, before = 0;

    for (size_t i = 0; i <= LAST && h->count > 0; i++) {
        double here = (double)h->counts[i];

        if (here > 0 && before + here >= wanted) {
            double least = least_of(i), width = i < LAST ? least_of(i + 1) - least : 0;
            double at = least + width * (wanted - before) / here;

            return at < (double)h->max ? at : (double)h->max;
        }
        before += here;
    }
    return (double)h->max;
}

double farm_histogram_mean(const struct farm_histogram *h)
{
    return h->count == 0 ? 0 : h->sum / (double)h->count;
}
