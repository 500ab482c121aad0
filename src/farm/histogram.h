/* SPDX-License-Identifier: Apache-2.0 */
/* How often which values came: buckets that are at most 1/64 of their value wide. */
#ifndef MCP_FARM_HISTOGRAM_H
#define MCP_FARM_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_OCTAVES = 44 };

struct farm_histogram {
    uint64_t counts[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
    uint64_t count, max;
    double sum;
};

void farm_histogram_add(struct farm_histogram *h, uint64_t value);
/* The value that a share of them do not exceed; 0 where there are none. */
double farm_histogram_quantile(const struct farm_histogram *h, double share);
double farm_histogram_mean(const struct farm_histogram *h);

#endif
