/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/fairness.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { WINDOW_US = 10 * 1000 * 1000, ANSWER_WORK = 2 };

/* A tenant and a model. */
struct cell {
    uint64_t waiting;
    double served;   /* in this window, by weight */
    bool backlogged; /* all through this window */
    bool listed;
};

/* What tenants had of a model in a window. */
struct sums {
    double sum, squares, least, most;
    size_t count;
};

struct farm_fairness {
    size_t models, tenants;
    struct cell *cells;
    size_t *active; /* cells that somebody waited or was served in */
    size_t active_count;
    struct sums *sums; /* by model */
    uint64_t window_end_us;
    double jain, most_apart;
    size_t windows;
};

struct farm_fairness *farm_fairness_new(size_t models, size_t tenants)
{
    struct farm_fairness *f = xcalloc(1, sizeof(*f));

    f->models = models;
    f->tenants = tenants;
    f->cells = xcalloc(models * tenants, sizeof(*f->cells));
    f->active = xcalloc(models * tenants, sizeof(*f->active));
    f->sums = xcalloc(models, sizeof(*f->sums));
    f->window_end_us = WINDOW_US;
    return f;
}

void farm_fairness_free(struct farm_fairness **f)
{
    struct farm_fairness *old = *f;

    *f = NULL;
    if (old != NULL) {
        free(old->cells);
        free(old->active);
        free(old->sums);
        free(old);
    }
}

static void add(struct sums *s, double served)
{
    s->least = s->count == 0 || served < s->least ? served : s->least;
    s->most = s->count == 0 || served > s->most ? served : s->most;
    s->sum += served;
    s->squares += served * served;
    s->count++;
}

/* Whoever waits now may be backlogged all through the next one. */
static void begin_window(struct farm_fairness *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->active_count; i++) {
        struct cell *c = &f->cells[f->active[i]];

        c->served = 0;
        c->backlogged = c->listed = c->waiting > 0;
        if (c->listed) {
            f->active[kept++] = f->active[i];
        }
    }
    f->active_count = kept;
}

static void end_window(struct farm_fairness *f)
{
    memset(f->sums, 0, f->models * sizeof(*f->sums));
    for (size_t i = 0; i < f->active_count; i++) {
        const struct cell *c = &f->cells[f->active[i]];

        if (c->backlogged) {
            add(&f->sums[f->active[i] / f->tenants], c->served);
        }
    }
    for (size_t m = 0; m < f->models; m++) {
        const struct sums *s = &f->sums[m];

        if (s->count > 1 && s->sum > 0) {
            f->jain += s->sum * s->sum / ((double)s->count * s->squares);
            f->windows++;
            f->most_apart = s->most - s->least > f->most_apart ? s->most - s->least : f->most_apart;
        }
    }
    begin_window(f);
}

static void turn_windows(struct farm_fairness *f, uint64_t now_us)
{
    if (now_us >= f->window_end_us) {
        end_window(f);
        f->window_end_us = (now_us / WINDOW_US + 1) * WINDOW_US;
    }
}

static struct cell *cell_of(struct farm_fairness *f, const struct farm_request *q)
{
    size_t at = q->model * f->tenants + q->tenant_number;
    struct cell *c = &f->cells[at];

    if (!c->listed) {
        c->listed = true;
        f->active[f->active_count++] = at;
    }
    return c;
}

static void stop_waiting(struct cell *c)
{
    c->waiting--;
    c->backlogged = c->backlogged && c->waiting > 0;
}

void farm_fairness_watch(struct farm_fairness *f, uint64_t now_us, enum farm_event event,
                         const struct farm_live *l)
{
    const struct farm_request *q = &l->request;
    double weight = q->weight == 0 ? 1 : q->weight;
    struct cell *c;

    turn_windows(f, now_us);
    c = cell_of(f, q);
    if (event == FARM_ARRIVED) {
        c->waiting++;
    } else if (event == FARM_BEGUN) {
        stop_waiting(c);
        c->served += q->prompt_tokens / weight;
    } else if (event == FARM_ENDED && l->begun_us == 0) {
        stop_waiting(c);
    } else if (event == FARM_ENDED && !l->cancelled) {
        c->served += ANSWER_WORK * (double)q->answer_tokens / weight;
    }
}

bool farm_fairness_result(const struct farm_fairness *f, double *jain, double *most_apart)
{
    *jain = f->windows == 0 ? 1 : f->jain / (double)f->windows;
    *most_apart = f->most_apart;
    return f->windows > 0;
}
