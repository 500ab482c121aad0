/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/runner.h"

/* The ring is long enough for the slots of any measurement; of more, the later ones are left out.
 */
void sim_gap_began(struct sim_gaps *g, uint64_t now_us)
{
    if (g->count < SIM_FREED_MAX) {
        g->freed_us[(g->first + g->count++) % SIM_FREED_MAX] = now_us;
    }
}

static size_t class_of(uint64_t us)
{
    unsigned log2 = us < 4 ? 2 : 63 - (unsigned)__builtin_clzll(us);
    size_t class = us < 4 ? us : 4 * (log2 - 1) + (us >> (log2 - 2) & 3);

    return class < SIM_GAP_CLASSES ? class : SIM_GAP_CLASSES - 1;
}

static uint64_t most_of(size_t class)
{
    return class < 4 ? class : (((uint64_t) class % 4 + 5) << (class / 4 - 1)) - 1;
}

/* A call begins: in the slot that has been free for longest, as far as that tells a difference. */
void sim_gap_ended(struct sim_gaps *g, uint64_t now_us)
{
    if (g->count > 0) {
        g->classes[class_of(now_us - g->freed_us[g->first])]++;
        g->first = (g->first + 1) % SIM_FREED_MAX;
        g->count--;
    }
}

uint64_t sim_gap_percentile_us(const struct sim_gaps *g, unsigned percent)
{
    uint64_t all = 0, seen = 0;

    for (size_t i = 0; i < SIM_GAP_CLASSES; i++) {
        all += g->classes[i];
    }
    for (size_t i = 0; all > 0 && i < SIM_GAP_CLASSES; i++) {
        seen += g->classes[i];
        if (seen * 100 >= all * percent) {
            return most_of(i);
        }
    }
    return 0;
}
