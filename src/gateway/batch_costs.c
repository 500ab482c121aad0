/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/batch_costs.h"

#include <stdlib.h>

#include "base/counter.h"
#include "base/hash.h"

enum { PAIRS = 32 };

struct batch_costs {
    uint64_t turn;
    struct pair {
        uint64_t node_id; /* 0: free */
        uint64_t model;   /* a hash of its name */
        uint64_t used;    /* the turn */
        struct batch_cost cost;
    } pairs[PAIRS];
};

static void forget(struct pair *p)
{
    counter_add(COUNTER_BATCH_PADDERS, p->cost.pads ? -1 : 0);
    *p = (struct pair){0};
}

struct batch_cost *batch_costs_of(struct batch_costs **costs, uint64_t node_id, struct slice model)
{
    uint64_t hash = hash_bytes(0, model);
    struct pair *oldest;

    if (*costs == NULL) {
        *costs = calloc(1, sizeof(**costs));
    }
    if (*costs == NULL) {
        return NULL;
    }
    oldest = &(*costs)->pairs[0];
    (*costs)->turn++;
    for (size_t i = 0; i < PAIRS; i++) {
        struct pair *p = &(*costs)->pairs[i];

        if (p->node_id == node_id && p->model == hash) {
            p->used = (*costs)->turn;
            return &p->cost;
        }
        oldest = p->used < oldest->used ? p : oldest;
    }
    forget(oldest);
    oldest->node_id = node_id;
    oldest->model = hash;
    oldest->used = (*costs)->turn;
    return &oldest->cost;
}

void batch_costs_note(struct batch_cost *c, const struct batch_size *size, uint64_t us)
{
    bool padded = c->pads;

    batch_cost_note(c, size, us);
    counter_add(COUNTER_BATCH_PADDERS, (int64_t)c->pads - (int64_t)padded);
    counter_add(COUNTER_BATCH_TOKENS, (int64_t)size->tokens);
    counter_add(COUNTER_BATCH_PADDING, c->pads ? (int64_t)size->padding : 0);
}

void batch_costs_free(struct batch_costs **costs)
{
    for (size_t i = 0; *costs != NULL && i < PAIRS; i++) {
        forget(&(*costs)->pairs[i]);
    }
    free(*costs);
    *costs = NULL;
}
