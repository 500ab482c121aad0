/* SPDX-License-Identifier: Apache-2.0 */
/* The queue in front of the loaded models: what is loaded, what goes for it, and when. */
#include "sim/engine.h"

#include <stdlib.h>

#include "base/check.h"
#include "sim/runner.h"

struct sim_engine {
    struct sim_shared shared;
    struct sim_call_list pending;
    struct sim_runner *loading; /* one at a time */
    size_t model_count;
    struct sim_runner **runners; /* each stays where it is: calls refer to it */
};

struct sim_engine *sim_engine_new(const struct sim_profile *profile, size_t model_count,
                                  uint64_t seed)
{
    struct sim_engine *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        return NULL;
    }
    e->shared.profile = *profile;
    e->shared.most_slots = profile->slots;
    e->shared.random = seed;
    while (e->model_count < model_count) {
        if (!sim_engine_add_model(e)) {
            sim_engine_free(&e);
            return NULL;
        }
    }
    return e;
}

bool sim_engine_add_model(struct sim_engine *e)
{
    struct sim_runner **runners =
        realloc(e->runners, (e->model_count + 1) * sizeof(struct sim_runner *));
    struct sim_runner *r = calloc(1, sizeof(*r));

    if (runners != NULL) {
        e->runners = runners;
    }
    if (runners == NULL || r == NULL || !sim_runner_init(r, &e->shared)) {
        free(r);
        return false;
    }
    e->runners[e->model_count++] = r;
    return true;
}

void sim_engine_free(struct sim_engine **ep)
{
    struct sim_engine *e = *ep;

    if (e == NULL) {
        return;
    }
    *ep = NULL;
    for (size_t i = 0; i < e->model_count; i++) {
        sim_runner_fini(e->runners[i]);
        free(e->runners[i]);
    }
    free(e->runners);
    free(e);
}

/* --- memory
 * -------------------------------------------------------------------------------------------- */

static uint64_t used_mib(const struct sim_engine *e)
{
    uint64_t used = 0;

    for (size_t i = 0; i < e->model_count; i++) {
        used += e->runners[i]->state == SIM_RUNNER_ABSENT ? 0 : e->shared.profile.model_mib;
    }
    return used;
}

/* False: it is busy, and takes no more calls now. */
static bool evict(struct sim_engine *e, struct sim_runner *r)
{
    if (!sim_runner_idle(r)) {
        r->draining = true;
        return false;
    }
    sim_runner_unload(r);
    e->shared.totals.evictions++;
    return true;
}

/* Idle ones before busy ones, then the shortest keep-alive, then the one used longest ago. */
static bool goes_before(const struct sim_runner *a, const struct sim_runner *b)
{
    /* As unsigned numbers those below 0, which stay for ever, come last. */
    uint64_t a_stays = (uint64_t)a->keep_alive_us, b_stays = (uint64_t)b->keep_alive_us;

    if (sim_runner_idle(a) != sim_runner_idle(b)) {
        return sim_runner_idle(a);
    }
    return a_stays != b_stays ? a_stays < b_stays : a->used_us < b->used_us;
}

/* False: it waits for calls to end. */
static bool make_room(struct sim_engine *e)
{
    const struct sim_profile *p = &e->shared.profile;

    while (p->memory_mib != 0 && used_mib(e) + p->model_mib > p->memory_mib) {
        struct sim_runner *victim = NULL;

        for (size_t i = 0; i < e->model_count; i++) {
            struct sim_runner *r = e->runners[i];

            if (r->state == SIM_RUNNER_READY && (victim == NULL || goes_before(r, victim))) {
                victim = r;
            }
        }
        ASSERT(victim != NULL); /* one model fits, and none is loading */
        if (!evict(e, victim)) {
            return false;
        }
    }
    return true;
}

/* --- the queue
 * ----------------------------------------------------------------------------------------- */

static bool serves(const struct sim_runner *r, const struct sim_call *c)
{
    return r->state == SIM_RUNNER_READY && !r->draining && r->context == c->context;
}

/* Takes the queue as far as it goes now. */
static void serve_pending(struct sim_engine *e, uint64_t now_us)
{
    struct sim_call *c;

    if (e->loading != NULL) {
        return;
    }
    /* Who must go is decided anew: the call that asked for it may have left. */
    for (size_t i = 0; i < e->model_count; i++) {
        e->runners[i]->draining = false;
    }
    while ((c = sim_call_list_first(&e->pending)) != NULL) {
        struct sim_runner *r = e->runners[c->model];

        if (serves(r, c)) {
            sim_call_list_remove(&e->pending, c);
            sim_runner_add(r, c, now_us);
            continue;
        }
        if (r->state == SIM_RUNNER_READY && !evict(e, r)) {
            return;
        }
        if (!make_room(e)) {
            return;
        }
        sim_runner_load(r, c->context, now_us);
        e->loading = r;
        return;
    }
}

/* --- time
 * ---------------------------------------------------------------------------------------------- */

/* The model that is due first; UINT64_MAX: none is. */
static size_t next_due(const struct sim_engine *e, uint64_t *due_us)
{
    size_t first = 0;

    *due_us = UINT64_MAX;
    for (size_t i = 0; i < e->model_count; i++) {
        uint64_t due = sim_runner_due_us(e->runners[i]);

        if (due < *due_us) {
            *due_us = due;
            first = i;
        }
    }
    return first;
}

static void advance(struct sim_engine *e, uint64_t now_us)
{
    uint64_t due;
    size_t model;

    while (model = next_due(e, &due), due <= now_us) {
        struct sim_runner *r = e->runners[model];

        if (r->state == SIM_RUNNER_LOADING) {
            sim_runner_ready(r);
            e->loading = NULL;
        } else if (sim_runner_idle(r)) {
            sim_runner_unload(r);
            e->shared.totals.expiries++;
        } else {
            sim_runner_run(r, due);
        }
        serve_pending(e, due);
    }
}

uint64_t sim_engine_due_us(const struct sim_engine *e)
{
    uint64_t due;

    (void)next_due(e, &due);
    return e->shared.news.count > 0 ? 0 : due;
}

/* --- calls
 * --------------------------------------------------------------------------------------------- */

enum sim_verdict sim_engine_submit(struct sim_engine *e, struct sim_call *c, uint64_t now_us)
{
    const struct sim_profile *p = &e->shared.profile;
    struct sim_runner *r;

    ASSERT(c->phase == SIM_NONE && c->model < e->model_count);
    ASSERT(c->items == 0 || c->prompt_tokens > 0);
    advance(e, now_us);
    r = e->runners[c->model];
    if (p->memory_mib != 0 && p->model_mib > p->memory_mib) {
        e->shared.totals.refused++;
        return SIM_TOO_LARGE;
    }
    if (!serves(r, c) && p->queue != 0 && e->pending.count >= p->queue) {
        e->shared.totals.refused++;
        return SIM_QUEUE_FULL;
    }
    c->submitted_us = now_us;
    c->made = c->told = c->cached_tokens = 0;
    e->shared.totals.calls++;
    if (serves(r, c)) {
        sim_runner_add(r, c, now_us);
    } else {
        c->phase = SIM_PENDING;
        sim_call_list_push(&e->pending, c);
        serve_pending(e, now_us);
    }
    return SIM_TAKEN;
}

void sim_engine_cancel(struct sim_engine *e, struct sim_call *c, uint64_t now_us)
{
    if (c->phase == SIM_NONE) {
        return;
    }
    advance(e, now_us);
    if (c->phase == SIM_PENDING) {
        sim_call_list_remove(&e->pending, c);
    } else if (c->phase != SIM_DONE) {
        sim_runner_cancel(c->runner, c, now_us);
    }
    if (sim_news_list_has(c)) {
        sim_news_list_remove(&e->shared.news, c);
    }
    e->shared.totals.cancelled++;
    e->shared.totals.done -= c->phase == SIM_DONE;
    c->phase = SIM_NONE;
    serve_pending(e, now_us);
}

void sim_engine_unload(struct sim_engine *e, size_t model, uint64_t now_us)
{
    struct sim_runner *r = e->runners[model];

    advance(e, now_us);
    r->keep_alive_us = 0;
    advance(e, now_us);
}

/* A slot has become free, unless one that waited here has it already. */
static void note_gap(struct sim_engine *e, const struct sim_runner *r, uint64_t now_us)
{
    if (r->active.count + e->shared.gaps.count < e->shared.profile.slots) {
        sim_gap_began(&e->shared.gaps, now_us);
    }
}

bool sim_engine_set_slots(struct sim_engine *e, uint64_t slots, uint64_t now_us)
{
    if (slots == 0 || slots > e->shared.most_slots) {
        return false;
    }
    advance(e, now_us);
    e->shared.profile.slots = slots;
    for (size_t i = 0; i < e->model_count; i++) {
        if (e->runners[i]->state == SIM_RUNNER_READY) {
            sim_runner_run(e->runners[i], now_us);
        }
    }
    return true;
}

bool sim_engine_next(struct sim_engine *e, uint64_t now_us, struct sim_event *ev)
{
    struct sim_call *c;

    advance(e, now_us);
    c = sim_news_list_pop(&e->shared.news);
    if (c == NULL) {
        return false;
    }
    *ev = (struct sim_event){c, c->made - c->told, c->phase == SIM_DONE};
    c->told = c->made;
    if (ev->done) {
        c->phase = SIM_NONE;
        note_gap(e, e->runners[c->model], now_us);
    }
    return true;
}

/* --- what there is to see
 * ------------------------------------------------------------------------------ */

uint64_t sim_engine_gap_us(const struct sim_engine *e, unsigned percent)
{
    return sim_gap_percentile_us(&e->shared.gaps, percent);
}

const struct sim_totals *sim_engine_totals(const struct sim_engine *e)
{
    return &e->shared.totals;
}

void sim_engine_model(const struct sim_engine *e, size_t model, uint64_t now_us,
                      struct sim_model_state *out)
{
    const struct sim_runner *r = e->runners[model];

    *out = (struct sim_model_state){
        .loaded = r->state == SIM_RUNNER_READY,
        .loading = r->state == SIM_RUNNER_LOADING,
        .busy = r->active.count,
        .waiting = r->waiting.count,
        .context = r->context,
        .expires_us = sim_runner_expires_us(r),
    };
    if (!sim_runner_idle(r) && r->keep_alive_us >= 0) {
        out->expires_us = now_us + (uint64_t)r->keep_alive_us;
    }
}

size_t sim_engine_pending(const struct sim_engine *e)
{
    return e->pending.count;
}
