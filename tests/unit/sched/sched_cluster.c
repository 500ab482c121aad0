/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NONE = -1 };

#define AGES_US (UINT64_C(3600) * 1000000)

enum place { PLACE_OUT, PLACE_WAITS, PLACE_NODE, PLACE_RUNS, PLACE_ENDED };

struct prompt {
    uint64_t hash, used;
};

struct node_state {
    bool resident[CLUSTER_MODELS];
    uint64_t used_us[CLUSTER_MODELS];
    int loading; /* model; NONE */
    uint64_t loaded_us;
    struct prompt prompts[CLUSTER_PROMPTS];
    uint64_t uses;
};

struct live {
    enum place place;
    uint64_t entered; /* order of arrival at the node */
    uint64_t next_us; /* first byte, then done */
    bool begun;
};

struct cluster_state {
    struct node_state nodes[CLUSTER_NODES];
    struct live *live;
    size_t *active; /* requests that are neither out nor ended */
    size_t active_count, next, ended;
    uint64_t entered, polled_us;
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

/* --- nodes --- */

void cluster_report(struct cluster *c, size_t index)
{
    const struct cluster_node *spec = &c->nodes[index];
    const struct node_state *n = &c->state->nodes[index];
    struct sched_model listed[CLUSTER_MODELS], resident[CLUSTER_MODELS];
    struct sched_node_state state = {.id = index + 1,
                                     .up = true,
                                     .speaks = 1,
                                     .slots = spec->declared,
                                     .loads = spec->memory_bytes > 0,
                                     .models = listed,
                                     .model_count = c->model_count,
                                     .resident = resident};

    for (size_t m = 0; m < c->model_count; m++) {
        listed[m] = (struct sched_model){.name = slice_str(c->models[m].name)};
        if (n->resident[m] || n->loading == (int)m) {
            listed[m].bytes = c->models[m].bytes;
            resident[state.resident_count++] = listed[m];
        }
    }
    assert_true(sched_node(c->s, c->now_us, &state));
}

static size_t runs_of(const struct cluster *c, size_t node, unsigned model)
{
    size_t n = 0;

    for (size_t i = 0; i < c->state->active_count; i++) {
        size_t r = c->state->active[i];

        n += c->state->live[r].place == PLACE_RUNS && c->requests[r].node == node + 1 &&
             c->requests[r].model == model;
    }
    return n;
}

size_t cluster_running(const struct cluster *c, size_t index, size_t *waiting)
{
    size_t n = 0;

    *waiting = 0;
    for (size_t i = 0; i < c->state->active_count; i++) {
        size_t r = c->state->active[i];

        if (c->requests[r].node == index + 1) {
            n += c->state->live[r].place == PLACE_RUNS;
            *waiting += c->state->live[r].place == PLACE_NODE;
        }
    }
    return n;
}

/* Makes room for a model; false: not yet. */
static bool make_room(struct cluster *c, size_t node, unsigned model)
{
    struct node_state *n = &c->state->nodes[node];

    for (;;) {
        uint64_t bytes = c->models[model].bytes;
        int victim = NONE;

        for (size_t m = 0; m < c->model_count; m++) {
            bytes += n->resident[m] ? c->models[m].bytes : 0;
            if (n->resident[m] && (victim == NONE || n->used_us[m] < n->used_us[victim]) &&
                runs_of(c, node, (unsigned)m) == 0) {
                victim = (int)m;
            }
        }
        if (bytes <= c->nodes[node].memory_bytes) {
            return true;
        }
        if (victim == NONE) {
            return false;
        }
        n->resident[victim] = false;
    }
}

/* How many of the prompt's tokens were computed before; those of this one are from now on. */
static uint32_t cached(struct node_state *n, const struct cluster_request *q)
{
    size_t hit = 0;

    for (size_t k = 0; k < q->prefix_count; k++) {
        struct prompt *oldest = &n->prompts[0];
        size_t i = 0;

        for (; i < CLUSTER_PROMPTS && n->prompts[i].hash != q->prefix[k]; i++) {
            oldest = n->prompts[i].used < oldest->used ? &n->prompts[i] : oldest;
        }
        hit = i < CLUSTER_PROMPTS ? k + 1 : hit;
        oldest = i < CLUSTER_PROMPTS ? &n->prompts[i] : oldest;
        *oldest = (struct prompt){q->prefix[k], ++n->uses};
    }
    return hit == 0 ? 0 : (uint32_t)(q->prompt_tokens * hit / q->prefix_count);
}

static void begin(struct cluster *c, size_t r)
{
    struct cluster_request *q = &c->requests[r];
    const struct cluster_node *spec = &c->nodes[q->node - 1];
    struct live *l = &c->state->live[r];

    q->cached_tokens = cached(&c->state->nodes[q->node - 1], q);
    q->begun_us = c->now_us;
    l->place = PLACE_RUNS;
    l->next_us =
        c->now_us + 1 + (uint64_t)(spec->prompt_us * (q->prompt_tokens - q->cached_tokens));
}

/* The first of those that came to the node and have no slot; NONE. */
static int first_in_node(const struct cluster *c, size_t node, int model)
{
    int first = NONE;

    for (size_t i = 0; i < c->state->active_count; i++) {
        size_t r = c->state->active[i];
        const struct live *l = &c->state->live[r];

        if (l->place == PLACE_NODE && c->requests[r].node == node + 1 &&
            (model == NONE || c->requests[r].model == (unsigned)model) &&
            (first == NONE || l->entered < c->state->live[first].entered)) {
            first = (int)r;
        }
    }
    return first;
}

static void turn_node(struct cluster *c, size_t node)
{
    struct node_state *n = &c->state->nodes[node];
    int r;

    if (n->loading != NONE && n->loaded_us <= c->now_us) {
        n->resident[n->loading] = true;
        n->used_us[n->loading] = c->now_us;
        n->loading = NONE;
    }
    for (unsigned m = 0; m < c->model_count; m++) {
        while (n->resident[m] && runs_of(c, node, m) < c->nodes[node].slots &&
               (r = first_in_node(c, node, (int)m)) != NONE) {
            n->used_us[m] = c->now_us;
            begin(c, (size_t)r);
        }
    }
    if (n->loading != NONE) {
        return;
    }
    r = first_in_node(c, node, NONE);
    if (r != NONE && !n->resident[c->requests[r].model] &&
        make_room(c, node, c->requests[r].model)) {
        n->loading = (int)c->requests[r].model;
        n->loaded_us = c->now_us + c->models[n->loading].load_us;
        c->loads++;
    }
}

/* --- requests --- */

static void end(struct cluster *c, size_t r)
{
    struct cluster_state *st = c->state;

    assert_int_not_equal(st->live[r].place, PLACE_ENDED);
    st->live[r].place = PLACE_ENDED;
    c->requests[r].done_us = c->now_us;
    for (size_t i = 0; i < st->active_count; i++) {
        if (st->active[i] == r) {
            st->active[i] = st->active[--st->active_count];
            break;
        }
    }
    st->ended++;
}

static void enter_node(struct cluster *c, size_t r, uint64_t node, bool loads)
{
    struct cluster_request *q = &c->requests[r];

    q->verdict = SCHED_GRANTED;
    q->node = node;
    q->loads = loads;
    q->granted_us = c->now_us;
    c->state->live[r].place = PLACE_NODE;
    c->state->live[r].entered = ++c->state->entered;
}

static void take(struct cluster *c)
{
    struct sched_decision d[8];
    size_t n;

    while ((n = sched_take(c->s, d, 8)) > 0) {
        for (size_t i = 0; i < n; i++) {
            size_t r = d[i].tag;

            assert_int_equal(c->requests[r].ticket, d[i].ticket);
            assert_int_equal(c->state->live[r].place, PLACE_WAITS);
            if (d[i].verdict == SCHED_GRANTED) {
                enter_node(c, r, d[i].node, d[i].loads);
            } else {
                c->requests[r].verdict = d[i].verdict;
                end(c, r);
            }
        }
    }
}

static void arrive(struct cluster *c, size_t r)
{
    struct cluster_request *q = &c->requests[r];
    struct sched_job job = {.home = 7,
                            .tag = r,
                            .model = slice_str(c->models[q->model].name),
                            .tenant = slice_str(q->tenant),
                            .weight = q->weight,
                            .class = q->class,
                            .prompt_tokens = q->prompt_tokens,
                            .answer_tokens = q->said_tokens,
                            .prefix = q->prefix,
                            .prefix_count = q->prefix_count};
    struct sched_answer a;

    c->state->active[c->state->active_count++] = r;
    q->verdict = sched_arrive(c->s, c->now_us, &job, &a);
    q->ticket = a.ticket;
    q->eta_us = a.eta_us;
    if (q->verdict == SCHED_GRANTED) {
        enter_node(c, r, a.node, a.loads);
    } else if (q->verdict == SCHED_QUEUED) {
        q->waited = true;
        c->state->live[r].place = PLACE_WAITS;
    } else {
        end(c, r);
    }
}

static void leave(struct cluster *c, size_t r, enum sched_end how)
{
    const struct cluster_request *q = &c->requests[r];
    const struct sched_outcome o = {
        .end = how,
        .prompt_tokens = q->prompt_tokens,
        .answer_tokens = q->answer_tokens,
        .first_us = q->first_us == 0 ? 0 : q->first_us - q->granted_us,
    };

    sched_leave(c->s, c->now_us, q->ticket, &o);
    end(c, r);
}

static void first_byte(struct cluster *c, size_t r)
{
    struct cluster_request *q = &c->requests[r];
    const struct cluster_node *spec = &c->nodes[q->node - 1];
    size_t others = runs_of(c, q->node - 1, q->model) - 1;

    q->first_us = c->now_us;
    c->state->live[r].next_us =
        c->now_us + 1 +
        (uint64_t)(q->answer_tokens * (spec->token_us + spec->batch_us * (double)others));
    if (q->loads) {
        sched_started(c->s, c->now_us, q->ticket);
    }
}

static void turn_requests(struct cluster *c)
{
    for (size_t i = 0; i < c->state->active_count; i++) {
        size_t r = c->state->active[i];
        struct cluster_request *q = &c->requests[r];
        struct live *l = &c->state->live[r];

        if (q->cancel_us != 0 && q->cancel_us <= c->now_us) {
            q->cancelled = true;
            leave(c, r, SCHED_CANCELLED);
            i--;
        } else if (l->place == PLACE_RUNS && l->next_us <= c->now_us) {
            c->state->nodes[q->node - 1].used_us[q->model] = c->now_us;
            if (q->first_us == 0) {
                first_byte(c, r);
            } else {
                leave(c, r, SCHED_DONE);
                i--;
            }
        }
    }
}

static uint64_t next_us(const struct cluster *c)
{
    const struct cluster_state *st = c->state;
    uint64_t next = sched_next_us(c->s);

#define SOONER(us) next = (us) < next ? (us) : next
    if (st->next < c->request_count) {
        SOONER(c->requests[st->next].due_us);
    }
    SOONER(st->polled_us + c->poll_us);
    for (size_t n = 0; n < c->node_count; n++) {
        if (st->nodes[n].loading != NONE) {
            SOONER(st->nodes[n].loaded_us);
        }
    }
    for (size_t i = 0; i < st->active_count; i++) {
        const struct cluster_request *q = &c->requests[st->active[i]];

        if (st->live[st->active[i]].place == PLACE_RUNS) {
            SOONER(st->live[st->active[i]].next_us);
        }
        if (q->cancel_us != 0) {
            SOONER(q->cancel_us);
        }
    }
#undef SOONER
    return next > c->now_us ? next : c->now_us;
}

static void turn(struct cluster *c)
{
    struct cluster_state *st = c->state;

    c->now_us = next_us(c);
    /* Else somebody waits who is never let in. */
    assert_true(c->now_us < c->requests[c->request_count - 1].due_us + AGES_US);
    while (st->next < c->request_count && c->requests[st->next].due_us <= c->now_us) {
        arrive(c, st->next++);
        take(c);
    }
    if (st->polled_us + c->poll_us <= c->now_us) {
        st->polled_us = c->now_us;
        for (size_t n = 0; n < c->node_count; n++) {
            cluster_report(c, n);
        }
    }
    turn_requests(c);
    if (sched_next_us(c->s) <= c->now_us) {
        sched_tick(c->s, c->now_us);
    }
    take(c);
    for (size_t n = 0; n < c->node_count; n++) {
        turn_node(c, n);
    }
    if (c->watch != NULL) {
        c->watch(c);
    }
}

static void check_empty(struct cluster *c)
{
    struct sched_stats stats;

    sched_stats(c->s, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.running, 0);
    assert_int_equal(stats.waiting_bytes, 0);
}

void cluster_run(struct cluster *c, const struct sched_limits *limits, uint64_t seed)
{
    struct cluster_state *st = calloc(1, sizeof(*st));

    assert_non_null(st);
    st->live = calloc(c->request_count, sizeof(*st->live));
    st->active = calloc(c->request_count, sizeof(*st->active));
    c->state = st;
    c->s = sched_new(limits, seed);
    c->now_us = 1;
    c->poll_us = c->poll_us == 0 ? 1000000 : c->poll_us;
    c->loads = 0;
    assert_true(st->live != NULL && st->active != NULL && c->s != NULL);
    for (size_t n = 0; n < c->node_count; n++) {
        st->nodes[n].loading = NONE;
        for (size_t m = 0; m < c->model_count && c->nodes[n].memory_bytes == 0; m++) {
            st->nodes[n].resident[m] = true;
        }
        cluster_report(c, n);
    }
    while (st->ended < c->request_count) {
        turn(c);
    }
    check_empty(c);
    sched_free(&c->s);
    free(st->live);
    free(st->active);
    free(st);
    c->state = NULL;
}
