/* SPDX-License-Identifier: Apache-2.0 */
/* The clock of a farm: arrivals, what nodes do, polls, and the scheduler between them. */
#include "farm/farm.h"

#include <stdlib.h>
#include <string.h>

#include "farm/farm_internal.h"
#include "farm/random.h"

enum { LIVES_PER_PAGE = 256, TAKEN_AT_ONCE = 16, SECOND_US = 1000 * 1000, HOME = 1 };

/* --- requests --- */

static void add_lives(struct farm *f)
{
    struct live *page = xcalloc(LIVES_PER_PAGE, sizeof(*page));
    struct live **pages = realloc(f->pages, (f->page_count + 1) * sizeof(struct live *));

    ASSERT(pages != NULL);
    f->pages = pages;
    for (uint32_t i = 0; i < LIVES_PER_PAGE; i++) {
        page[i].index = (uint32_t)f->page_count * LIVES_PER_PAGE + i;
        live_list_push(&f->free, &page[i]);
    }
    f->pages[f->page_count++] = page;
}

static struct live *live_at(const struct farm *f, uint64_t index)
{
    return &f->pages[index / LIVES_PER_PAGE][index % LIVES_PER_PAGE];
}

static void read_next(struct farm *f)
{
    struct live *l;
    uint64_t before_us = f->coming == NULL ? 1 : f->coming->seen.request.due_us;

    if (f->free.count == 0) {
        add_lives(f);
    }
    l = live_list_last(&f->free);
    f->coming = f->o.next(f->o.next_owner, &l->seen.request) ? l : NULL;
    if (f->coming != NULL) {
        ASSERT(l->seen.request.due_us >= before_us && l->seen.request.model < f->o.model_count);
        live_list_remove(&f->free, l);
        l->place = LIVE_COMING;
    }
}

void farm_saw(struct farm *f, enum farm_event event, const struct live *l)
{
    if (event == FARM_FIRST && f->s != NULL && l->seen.loads) {
        sched_started(f->s, f->now_us, l->seen.ticket);
    }
    if (f->o.watch != NULL) {
        f->o.watch(f->o.watch_owner, f, event, &l->seen);
    }
}

static void tell_scheduler(struct farm *f, const struct farm_live *l, enum sched_end how)
{
    const struct farm_request *q = &l->request;
    const struct sched_outcome o = {
        .end = how,
        .prompt_tokens = q->prompt_tokens,
        .answer_tokens = q->answer_tokens,
        .first_us = l->first_us == 0 ? 0 : l->first_us - l->granted_us,
    };

    sched_leave(f->s, f->now_us, l->ticket, &o);
}

void farm_end(struct farm *f, struct live *l, enum sched_end how)
{
    ASSERT(l->place != LIVE_FREE);
    l->place = LIVE_FREE;
    if (cancel_heap_has(l)) {
        cancel_heap_remove(&f->cancels, l);
    }
    l->seen.done_us = f->now_us;
    l->seen.cancelled = how == SCHED_CANCELLED;
    if (f->s != NULL && l->seen.ticket != 0) {
        tell_scheduler(f, &l->seen, how);
    }
    if (l->seen.granted_us != 0 && f->s == NULL) {
        choose_counts(f, farm_node_of(f, l), -1);
    }
    f->ended++;
    farm_saw(f, FARM_ENDED, l);
    live_list_push(&f->free, l);
}

static void enter_node(struct farm *f, struct live *l, uint64_t node, bool loads)
{
    l->seen.verdict = SCHED_GRANTED;
    l->seen.node = node;
    l->seen.loads = loads;
    l->seen.granted_us = f->now_us;
    node_enter(f, &f->nodes[node], l);
}

/* --- the scheduler --- */

static void ask_scheduler(struct farm *f, struct live *l)
{
    const struct farm_request *q = &l->seen.request;
    const struct sched_job job = {
        .home = HOME,
        .tag = l->index,
        .model = f->o.models[q->model].name,
        .tenant = q->tenant,
        .weight = q->weight,
        .class = q->class,
        .prompt_tokens = q->prompt_tokens,
        .answer_tokens = q->said_tokens,
        .prefix = q->prefix,
        .prefix_count = q->prefix_count,
    };
    struct sched_answer a;

    l->seen.verdict = sched_arrive(f->s, f->now_us, &job, &a);
    l->seen.ticket = a.ticket;
    l->seen.eta_us = a.eta_us;
    if (l->seen.verdict == SCHED_GRANTED) {
        enter_node(f, l, a.node - 1, a.loads);
    } else if (l->seen.verdict == SCHED_QUEUED) {
        l->seen.waited = true;
        l->place = LIVE_WAITING;
    } else {
        l->seen.ticket = 0;
        farm_end(f, l, SCHED_UNREACHED);
    }
}

static void take(struct farm *f)
{
    struct sched_decision d[TAKEN_AT_ONCE];
    size_t n;

    while (f->s != NULL && (n = sched_take(f->s, d, TAKEN_AT_ONCE)) > 0) {
        for (size_t i = 0; i < n; i++) {
            struct live *l = live_at(f, d[i].tag);

            ASSERT(l->place == LIVE_WAITING && l->seen.ticket == d[i].ticket);
            if (d[i].verdict == SCHED_GRANTED) {
                enter_node(f, l, d[i].node - 1, d[i].loads);
            } else {
                l->seen.verdict = d[i].verdict;
                l->seen.ticket = 0;
                farm_end(f, l, SCHED_UNREACHED);
            }
        }
    }
}

static void report(struct farm *f, size_t index)
{
    const struct node *n = &f->nodes[index];
    struct sched_node_state state = {
        .id = index + 1,
        .up = true,
        .speaks = 1,
        .slots = n->spec.told_slots,
        .loads = n->spec.memory_bytes > 0,
        .models = f->listed,
        .model_count = f->o.model_count,
        .resident = f->resident,
    };

    for (size_t m = 0; m < f->o.model_count; m++) {
        if (n->members[m].resident || n->loading == &n->members[m]) {
            f->resident[state.resident_count++] = f->listed[m];
        }
    }
    ASSERT(sched_node(f->s, f->now_us, &state));
}

/* --- events --- */

static void arrive(struct farm *f)
{
    struct live *l = f->coming;

    l->seen.verdict = SCHED_QUEUED;
    l->seen.node = l->seen.eta_us = l->seen.ticket = 0;
    l->seen.granted_us = l->seen.begun_us = l->seen.first_us = l->seen.done_us = 0;
    l->seen.cached_tokens = 0;
    l->seen.waited = l->seen.loads = l->seen.cancelled = false;
    f->arrived++;
    if (l->seen.request.cancel_us != 0) {
        cancel_heap_push(&f->cancels, l);
    }
    read_next(f);
    farm_saw(f, FARM_ARRIVED, l);
    if (f->s != NULL) {
        ask_scheduler(f, l);
    } else {
        struct node *n = choose(f);

        choose_counts(f, n, 1);
        enter_node(f, l, (uint64_t)(n - f->nodes), false);
    }
}

static void cancel(struct farm *f, struct live *l)
{
    if (l->place == LIVE_WAITING) {
        farm_end(f, l, SCHED_CANCELLED);
    } else {
        node_drop(f, farm_node_of(f, l), l);
    }
}

/* Nodes are asked one after the other, each so often. */
static uint64_t poll_at_us(const struct farm *f)
{
    return f->s == NULL ? UINT64_MAX : 1 + f->polls * f->o.poll_us / f->o.node_count;
}

struct when {
    uint64_t node_us, cancel_us, arrival_us, poll_us, tick_us;
};

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void do_next(struct farm *f)
{
    struct node *n = event_heap_first(&f->events);
    struct live *l = cancel_heap_first(&f->cancels);
    const struct when at = {
        .node_us = n == NULL ? UINT64_MAX : n->next_us,
        .cancel_us = l == NULL ? UINT64_MAX : l->seen.request.cancel_us,
        .arrival_us = f->coming == NULL ? UINT64_MAX : f->coming->seen.request.due_us,
        .poll_us = poll_at_us(f),
        .tick_us = f->s == NULL ? UINT64_MAX : sched_next_us(f->s),
    };
    uint64_t us = sooner(
        sooner(sooner(at.node_us, at.cancel_us), sooner(at.arrival_us, at.poll_us)), at.tick_us);

    f->now_us = us > f->now_us ? us : f->now_us;
    if (at.node_us == us) {
        node_turn(f, n);
    } else if (at.cancel_us == us) {
        cancel(f, l);
    } else if (at.arrival_us == us) {
        arrive(f);
    } else if (at.poll_us == us) {
        report(f, f->polls++ % f->o.node_count);
    } else {
        sched_tick(f->s, f->now_us);
    }
    take(f);
}

bool farm_run(struct farm *f, size_t events)
{
    for (; events > 0 && (f->coming != NULL || f->ended < f->arrived); events--) {
        do_next(f);
    }
    return f->coming != NULL || f->ended < f->arrived;
}

/* --- one of them --- */

static void make_scheduler(struct farm *f)
{
    size_t count = f->o.model_count;

    f->s = sched_new(&f->o.limits, f->o.seed);
    ASSERT(f->s != NULL);
    f->listed = xcalloc(count, sizeof(*f->listed));
    f->resident = xcalloc(count, sizeof(*f->resident));
    for (size_t m = 0; m < count; m++) {
        f->listed[m] =
            (struct sched_model){.name = f->o.models[m].name, .bytes = f->o.models[m].bytes};
    }
    for (size_t n = 0; n < f->o.node_count; n++) {
        report(f, n);
    }
    f->polls = f->o.node_count;
}

struct farm *farm_new(const struct farm_options *options)
{
    struct farm *f = xcalloc(1, sizeof(*f));
    size_t models = options->model_count;

    ASSERT(options->node_count > 0 && models > 0);
    f->o = *options;
    f->o.poll_us = options->poll_us == 0 ? SECOND_US : options->poll_us;
    f->random = options->seed;
    f->now_us = 1;
    f->nodes = xcalloc(options->node_count, sizeof(*f->nodes));
    f->members = xcalloc(options->node_count * models, sizeof(*f->members));
    for (size_t n = 0; n < options->node_count; n++) {
        f->nodes[n].members = &f->members[n * models];
        node_init(f, &f->nodes[n], &options->nodes[n]);
    }
    if (options->policy == FARM_OURS) {
        make_scheduler(f);
    } else {
        choose_init(f);
    }
    read_next(f);
    return f;
}

void farm_free(struct farm **f)
{
    struct farm *old = *f;

    *f = NULL;
    if (old == NULL) {
        return;
    }
    sched_free(&old->s);
    for (size_t n = 0; n < old->o.node_count; n++) {
        node_fini(&old->nodes[n]);
    }
    for (size_t i = 0; i < old->page_count; i++) {
        free(old->pages[i]);
    }
    free(old->pages);
    free(old->nodes);
    free(old->members);
    free(old->listed);
    free(old->resident);
    free(old);
}

/* --- looking at it --- */

void farm_totals(const struct farm *f, struct farm_totals *out)
{
    *out = (struct farm_totals){
        .now_us = f->now_us,
        .arrived = f->arrived,
        .ended = f->ended,
        .loads = f->loads,
        .evictions = f->evictions,
    };
}

uint64_t farm_busy_us(const struct farm *f, size_t node)
{
    const struct node *n = &f->nodes[node];

    return n->busy_us + n->running * (f->now_us - n->busy_from_us);
}

size_t farm_running(const struct farm *f, size_t node, size_t *waiting)
{
    const struct node *n = &f->nodes[node];

    *waiting = n->pending.count;
    for (size_t m = 0; m < f->o.model_count; m++) {
        *waiting += n->members[m].line.count;
    }
    return n->running;
}

bool farm_is_empty(const struct farm *f)
{
    struct sched_stats stats = {0};

    if (f->s != NULL) {
        sched_stats(f->s, &stats);
    }
    for (size_t n = 0; n < f->o.node_count; n++) {
        size_t waiting;

        if (farm_running(f, n, &waiting) > 0 || waiting > 0 || f->nodes[n].outstanding > 0) {
            return false;
        }
    }
    return f->ended == f->arrived && f->cancels.count == 0 && stats.waiting == 0 &&
           stats.running == 0 && stats.waiting_bytes == 0;
}

struct sched *farm_sched(struct farm *f)
{
    return f->s;
}

void farm_set_slots(struct farm *f, size_t node, uint32_t slots)
{
    f->nodes[node].spec.slots = slots;
}
