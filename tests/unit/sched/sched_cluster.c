/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "farm/farm.h"

#define AGES_US (UINT64_C(3600) * 1000000)

struct run {
    struct cluster *c;
    size_t next, ended;
};

uint64_t cluster_random(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15U;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

int cluster_by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static bool next(void *owner, struct farm_request *out)
{
    struct run *run = owner;
    const struct cluster_request *q = &run->c->requests[run->next];

    if (run->next == run->c->request_count) {
        return false;
    }
    *out = (struct farm_request){
        .due_us = q->due_us == 0 ? 1 : q->due_us,
        .tag = run->next++,
        .model = q->model,
        .tenant = slice_str(q->tenant),
        .weight = q->weight,
        .class = q->class,
        .prompt_tokens = q->prompt_tokens,
        .answer_tokens = q->answer_tokens,
        .said_tokens = q->said_tokens,
        .cancel_us = q->cancel_us,
        .prefix_count = q->prefix_count,
    };
    memcpy(out->prefix, q->prefix, sizeof(q->prefix));
    return true;
}

static void watch(void *owner, struct farm *f, enum farm_event event, const struct farm_live *l)
{
    struct run *run = owner;
    struct cluster_request *q = &run->c->requests[l->request.tag];

    (void)f;
    if (event != FARM_ENDED) {
        return;
    }
    assert_int_equal(q->done_us, 0);
    q->verdict = l->verdict;
    q->eta_us = l->eta_us;
    q->granted_us = l->granted_us;
    q->begun_us = l->begun_us;
    q->first_us = l->first_us;
    q->done_us = l->done_us;
    q->node = l->granted_us == 0 ? 0 : l->node + 1;
    q->cached_tokens = l->cached_tokens;
    q->waited = l->waited;
    q->loads = l->loads;
    q->cancelled = l->cancelled;
    run->ended++;
}

static struct farm *make(struct run *run, const struct sched_limits *limits, uint64_t seed,
                         const struct farm_model *models)
{
    struct cluster *c = run->c;
    struct farm_node nodes[CLUSTER_NODES];
    const struct farm_options options = {
        .models = models,
        .model_count = c->model_count,
        .nodes = nodes,
        .node_count = c->node_count,
        .policy = FARM_OURS,
        .limits = *limits,
        .poll_us = c->poll_us,
        .seed = seed,
        .next = next,
        .next_owner = run,
        .watch = watch,
        .watch_owner = run,
    };

    for (size_t n = 0; n < c->node_count; n++) {
        const struct cluster_node *spec = &c->nodes[n];

        nodes[n] = (struct farm_node){
            .slots = spec->slots,
            .told_slots = spec->declared,
            .memory_bytes = spec->memory_bytes,
            .prompt_us = spec->prompt_us,
            .token_us = spec->token_us,
            .batch_us = spec->batch_us,
            .prompts = CLUSTER_PROMPTS,
        };
    }
    return farm_new(&options);
}

static void look(struct cluster *c, struct farm *f)
{
    c->watch(c);
    for (size_t n = 0; n < c->node_count; n++) {
        farm_set_slots(f, n, c->nodes[n].slots);
    }
}

void cluster_run(struct cluster *c, const struct sched_limits *limits, uint64_t seed)
{
    struct farm_model models[CLUSTER_MODELS];
    struct run run = {.c = c};
    struct farm_totals totals;
    struct farm *f;

    for (size_t m = 0; m < c->model_count; m++) {
        models[m] = (struct farm_model){slice_str(c->models[m].name), c->models[m].bytes,
                                        c->models[m].load_us};
    }
    f = make(&run, limits, seed, models);
    c->s = farm_sched(f);
    while (farm_run(f, 1)) {
        farm_totals(f, &totals);
        /* Else somebody waits who is never let in. */
        assert_true(totals.now_us < c->requests[c->request_count - 1].due_us + AGES_US);
        if (c->watch != NULL) {
            look(c, f);
        }
    }
    assert_int_equal(run.ended, c->request_count);
    assert_true(farm_is_empty(f));
    farm_totals(f, &totals);
    c->loads = totals.loads;
    c->s = NULL;
    farm_free(&f);
}
