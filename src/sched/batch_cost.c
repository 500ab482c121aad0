/* SPDX-License-Identifier: Apache-2.0 */
/* Least squares over the latest calls, each weighed by how long it was expected to take, no term
 * below 0. Terms are often nearly proportional to each other (calls of one size), so each is scaled
 * to 1 and a trace of ridge keeps the sums solvable; what the calls do not tell apart then explains
 * them as well with as without, and is not believed. */
#include "sched/batch_cost.h"

#include <math.h>
#include <string.h>

enum { TERMS = BATCH_COST_TERMS, US = TERMS };
enum { PER_CALL, PER_INPUT, PER_TOKEN, PER_PADDING };
enum { OTHERS = 1U << PER_CALL | 1U << PER_INPUT | 1U << PER_TOKEN };

#define KEPT 0.99        /* of what was known, with each call: the latest 100 count */
#define CALLS_LEAST 12.0 /* before anything is said */
#define RIDGE 1e-6       /* of a scaled sum */
#define CERTAIN 25.0     /* so many variances: five standard errors */
#define TINY 1e-9        /* no call is exact to the microsecond */
#define PART_SEEN 0.05   /* of a call's time, which padding takes */
#define FALLS_TO 0.5     /* of what was believed: below that it is believed no more */
#define SPREADS 4.0      /* so many standard deviations from what was expected, */
#define SPREAD_LEAST 0.2 /* of at least that: beyond was something else, and is cut there */
#define TRIAL_TURNS 16   /* one call of so many is of like lengths, to find out, */
#define TRIAL_REACH 2    /* so many classes up and down: half to twice as long */
#define SPLIT_SAVES 0.95 /* of the time, or less, to be worth more calls */

static void terms_of(const struct batch_size *s, double x[TERMS])
{
    x[PER_CALL] = 1;
    x[PER_INPUT] = (double)s->inputs;
    x[PER_TOKEN] = (double)s->tokens;
    x[PER_PADDING] = (double)s->padding;
}

double batch_cost_us(const struct batch_cost *c, const struct batch_size *size)
{
    double x[TERMS], us = 0;

    if (c->calls < CALLS_LEAST) {
        return 0;
    }
    terms_of(size, x);
    for (size_t i = 0; i < TERMS; i++) {
        us += c->us[i] * x[i];
    }
    return us > 0 ? us : 0;
}

/* How far the calls are from what `us` says: the sum of squares. */
static double rest_of(const struct batch_cost *c, const double us[TERMS])
{
    double rest = c->sums[US][US];

    for (size_t i = 0; i < TERMS; i++) {
        rest -= 2 * us[i] * c->sums[i][US];
        for (size_t j = 0; j < TERMS; j++) {
            rest += us[i] * us[j] * c->sums[i][j];
        }
    }
    return rest > 0 ? rest : 0;
}

/* Solves for the terms of `free` (bits), the others as they are: Gauss, on scaled sums. */
static void solve(const struct batch_cost *c, unsigned free, double us[TERMS])
{
    double m[TERMS][TERMS + 1], scale[TERMS];
    size_t of[TERMS], n = 0;

    for (size_t i = 0; i < TERMS; i++) {
        if ((free >> i & 1) != 0) {
            scale[n] = c->sums[i][i] > 0 ? 1 / sqrt(c->sums[i][i]) : 1;
            of[n++] = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        m[i][n] = c->sums[of[i]][US] * scale[i];
        for (size_t j = 0; j < TERMS; j++) {
            m[i][n] -= (free >> j & 1) != 0 ? 0 : us[j] * c->sums[of[i]][j] * scale[i];
        }
        for (size_t j = 0; j < n; j++) {
            m[i][j] = c->sums[of[i]][of[j]] * scale[i] * scale[j] + (i == j ? RIDGE : 0);
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            for (size_t j = n + 1; j-- > i;) {
                m[k][j] -= m[k][i] / m[i][i] * m[i][j];
            }
        }
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++) {
            m[i][n] -= m[i][j] * m[j][n];
        }
        m[i][n] /= m[i][i];
        us[of[i]] = m[i][n] * scale[i];
    }
}

/* The best that is nowhere below 0, of all that let some of the terms `free` be 0; the others of
 * `us` stay as they are. How far the calls are from that. */
static double fit(const struct batch_cost *c, unsigned free, double us[TERMS])
{
    double best[TERMS], least = INFINITY;

    for (unsigned some = 0; some <= free; some++) {
        double at[TERMS], rest;
        bool good = (some & ~free) == 0;

        for (size_t i = 0; i < TERMS; i++) {
            at[i] = (free >> i & 1) != 0 ? 0 : us[i];
        }
        if (!good) {
            continue;
        }
        solve(c, some, at);
        for (size_t i = 0; i < TERMS; i++) {
            good = good && at[i] >= 0;
        }
        rest = good ? rest_of(c, at) : INFINITY;
        if (rest < least) {
            least = rest;
            memcpy(best, at, sizeof(best));
        }
    }
    memcpy(us, best, sizeof(best));
    return least;
}

/* How far they are from it if a token of padding costs that. */
static double rest_with(const struct batch_cost *c, double padding_us)
{
    double us[TERMS] = {0};

    us[PER_PADDING] = padding_us;
    return fit(c, OTHERS, us);
}

/* Whether padding costs anything, by how much worse the calls are explained without (or with that
 * much of it): an F test. Once it is believed it stays so until it is certain that there is little
 * of it: calls of like lengths, which follow from it, tell less of it. */
static void judge_padding(struct batch_cost *c)
{
    double us[TERMS] = {0}, rest = fit(c, OTHERS | 1U << PER_PADDING, us);
    double padding = us[PER_PADDING], variance = rest / (c->calls - TERMS) + TINY;
    double share = c->sums[US][PER_PADDING] / c->sums[US][US]; /* tokens of it, for each us */
    double certain = rest + CERTAIN * variance, little = FALLS_TO * c->us[PER_PADDING];

    c->spread = sqrt(variance);
    c->may_pad =
        share > 0 && (padding * share > PART_SEEN || rest_with(c, PART_SEEN / share) < certain);
    if (padding > 0 && (c->pads || padding * share > PART_SEEN) && rest_with(c, 0) > certain) {
        c->pads = true;
        c->us[PER_PADDING] = padding;
    } else if (!c->pads || (padding < little && rest_with(c, little) > certain)) {
        c->pads = false;
        c->us[PER_PADDING] = 0;
    }
}

/* What it took, as far as it can have to do with its size. */
static double cut(const struct batch_cost *c, double us, double expected)
{
    double most = 1 + SPREADS * (c->spread > SPREAD_LEAST ? c->spread : SPREAD_LEAST);

    if (us > expected * most) {
        return expected * most;
    }
    return us < expected / most ? expected / most : us;
}

void batch_cost_note(struct batch_cost *c, const struct batch_size *size, uint64_t us)
{
    double expected = batch_cost_us(c, size), x[TERMS + 1];

    if (expected <= 0) {
        expected = us > 0 ? (double)us : 1;
    }
    terms_of(size, x);
    x[US] = cut(c, (double)us, expected);
    for (size_t i = 0; i <= TERMS; i++) {
        x[i] /= expected;
    }
    for (size_t i = 0; i <= TERMS; i++) {
        for (size_t j = 0; j <= TERMS; j++) {
            c->sums[i][j] = c->sums[i][j] * KEPT + x[i] * x[j];
        }
    }
    c->calls = c->calls * KEPT + 1;
    if (c->calls >= CALLS_LEAST) {
        judge_padding(c);
        (void)fit(c, OTHERS, c->us); /* with what is believed of padding */
    }
}

/* --- lengths ---------------------------------------------------------------------------------- */

size_t batch_length(uint32_t tokens)
{
    size_t log2 = 31 - (size_t)__builtin_clz(tokens | 1);

    return 2 * log2 + (log2 > 0 ? tokens >> (log2 - 1) & 1 : 0);
}

/* The longest of a class. */
static uint64_t longest_of(size_t class)
{
    size_t log2 = class / 2;

    return log2 == 0 ? 1 : ((UINT64_C(3) + class % 2) << (log2 - 1)) - 1;
}

struct stretch {
    size_t inputs;
    uint64_t tokens;
};

static double stretch_us(const struct batch_cost *c, const struct stretch *s, size_t to,
                         size_t max_inputs)
{
    uint64_t whole = s->inputs * longest_of(to);
    const struct batch_size size = {s->inputs, s->tokens,
                                    whole > s->tokens ? whole - s->tokens : 0};
    size_t calls = s->inputs / max_inputs + (s->inputs % max_inputs != 0);

    return batch_cost_us(c, &size) + c->us[PER_CALL] * ((double)calls - 1);
}

/* The cut of all classes into stretches that takes the least time: `cut[i]` is where the one that
 * ends before class i begins. Returns that time; `whole` is that of one stretch. */
static double best_cut(const struct batch_cost *c, const struct batch_lengths *waiting,
                       size_t max_inputs, size_t cut[BATCH_LENGTHS + 1], double *whole)
{
    double best[BATCH_LENGTHS + 1] = {0};

    *whole = 0;
    for (size_t end = 1; end <= BATCH_LENGTHS; end++) {
        struct stretch s = {0};
        size_t longest = end - 1;

        cut[end] = end - 1;
        best[end] = best[end - 1];
        if (waiting->inputs[longest] == 0) {
            continue;
        }
        best[end] = INFINITY;
        for (size_t begin = end; begin-- > 0;) {
            double us;

            if (waiting->inputs[begin] == 0) {
                continue;
            }
            s.inputs += waiting->inputs[begin];
            s.tokens += waiting->tokens[begin];
            us = stretch_us(c, &s, longest, max_inputs);
            *whole = us; /* in the end: of all */
            if (best[begin] + us < best[end]) {
                best[end] = best[begin] + us;
                cut[end] = begin;
            }
        }
    }
    return best[BATCH_LENGTHS];
}

void batch_cost_range(struct batch_cost *c, const struct batch_lengths *waiting, size_t max_inputs,
                      size_t of, size_t *from, size_t *to)
{
    size_t cut[BATCH_LENGTHS + 1];
    size_t end = BATCH_LENGTHS;
    double whole;

    *from = 0;
    *to = BATCH_LENGTHS - 1;
    if (!c->pads && c->may_pad && ++c->turns % TRIAL_TURNS == 0) {
        *from = of < TRIAL_REACH ? 0 : of - TRIAL_REACH;
        *to = of + TRIAL_REACH < BATCH_LENGTHS ? of + TRIAL_REACH : BATCH_LENGTHS - 1;
        return;
    }
    if (!c->pads || best_cut(c, waiting, max_inputs, cut, &whole) > SPLIT_SAVES * whole) {
        return;
    }
    while (cut[end] > of) {
        end = cut[end];
    }
    *from = cut[end];
    *to = end - 1;
}
