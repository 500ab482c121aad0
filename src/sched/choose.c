/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/choose.h"

/* Higher is better; 0 will not do. */
static int rank(const struct choose_node *n, bool needs_model, uint64_t prefer_id)
{
    if (!n->up || !n->suits || (needs_model && !n->has_model)) {
        return 0;
    }
    return 1 + 2 * n->has_model + (prefer_id != 0 && n->id == prefer_id);
}

enum choose_verdict choose_node(const struct choose_node *nodes, size_t count, bool needs_model,
                                uint64_t prefer_id, size_t *chosen)
{
    enum choose_verdict none = CHOOSE_NONE_UP;
    int best = 0;

    for (size_t i = 0; i < count; i++) {
        int r = rank(&nodes[i], needs_model, prefer_id);

        if (r > best) {
            best = r;
            *chosen = i;
        }
        if (nodes[i].up && nodes[i].suits) {
            none = CHOOSE_UNKNOWN_MODEL;
        } else if (nodes[i].up && none == CHOOSE_NONE_UP) {
            none = CHOOSE_NONE_SUITS;
        }
    }
    return best > 0 ? CHOOSE_OK : none;
}
