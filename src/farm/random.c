/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/random.h"

void farm_zipf(double *sums, size_t count, double skew)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += pow((double)(i + 1), -skew);
        sums[i] = sum;
    }
}

size_t farm_random_pick(uint64_t *state, const double *sums, size_t count)
{
    double at = farm_random_unit(state) * sums[count - 1];
    size_t low = 0, high = count - 1;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sums[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
