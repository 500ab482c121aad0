/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/farm_internal.h"
#include "farm/random.h"

void choose_init(struct farm *f)
{
    for (size_t i = 0; i < f->o.node_count && f->o.policy == FARM_LEAST; i++) {
        f->nodes[i].chosen = ++f->chosen;
        outstanding_heap_push(&f->outstanding, &f->nodes[i]);
    }
}

void choose_counts(struct farm *f, struct node *n, int more)
{
    bool sorted = outstanding_heap_has(n);

    if (sorted) {
        outstanding_heap_remove(&f->outstanding, n);
    }
    n->outstanding += (uint32_t)more;
    n->chosen = more > 0 ? ++f->chosen : n->chosen; /* of equal ones, the one chosen longest ago */
    if (sorted) {
        outstanding_heap_push(&f->outstanding, n);
    }
}

static struct node *one_of_two(struct farm *f)
{
    struct node *a = &f->nodes[farm_random(&f->random) % f->o.node_count];
    struct node *b = &f->nodes[farm_random(&f->random) % f->o.node_count];

    return b->outstanding < a->outstanding ? b : a;
}

struct node *choose(struct farm *f)
{
    switch (f->o.policy) {
    case FARM_LEAST:
        return outstanding_heap_first(&f->outstanding);
    case FARM_RANDOM_2:
        return one_of_two(f);
    default:
        return &f->nodes[f->chosen % f->o.node_count];
    }
}

/* --- names --- */

static const struct {
    const char *name, *meaning;
} policies[FARM_POLICY_COUNT] = {
#define FARM_POLICY(id, name, meaning) {name, meaning},
#include "farm/policy.def"
#undef FARM_POLICY
};

const char *farm_policy_name(enum farm_policy policy)
{
    return policies[policy].name;
}

const char *farm_policy_meaning(enum farm_policy policy)
{
    return policies[policy].meaning;
}

bool farm_policy_find(struct slice name, enum farm_policy *out)
{
    for (size_t i = 0; i < FARM_POLICY_COUNT; i++) {
        if (slice_eq(name, slice_str(policies[i].name))) {
            *out = (enum farm_policy)i;
            return true;
        }
    }
    return false;
}
