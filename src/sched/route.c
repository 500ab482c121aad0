/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/route.h"

#include <math.h>
#include <string.h>

/* When an arm is rolled back: its errors, or its times to the first part, would be so much worse
 * than the first arm's with this probability at most if the two were equally good. It is asked
 * after many requests, so it must be well below what a single question would need. */
#define ERRORS_CHANCE 0.0001
#define FIRST_PART_DEVIATIONS 4.0
/* And a difference that is certain but small does not count. */
#define FIRST_PART_RATIO 1.5

static uint64_t mix(uint64_t v)
{
    v ^= v >> 30;
    v *= UINT64_C(0xbf58476d1ce4e5b9);
    v ^= v >> 27;
    v *= UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

uint64_t model_route_key(struct slice text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return mix(hash);
}

void model_route_init(struct model_route *r, const struct model_route_terms *terms)
{
    memset(r, 0, sizeof(*r));
    r->arm_count = terms->arm_count;
    r->period_us = terms->window_us / MODEL_ROUTE_PERIODS + 1;
    r->min_requests = terms->min_requests;
    r->promoted = MODEL_ROUTE_NO_ARM;
    r->watch.before = MODEL_ROUTE_NO_ARM;
    for (size_t i = 0; i < r->arm_count; i++) {
        r->arms[i].hash = model_route_key(terms->arms[i].model);
        r->arms[i].shadow_percent = terms->arms[i].shadow_percent;
        r->arms[i].weight = terms->arms[i].shadow_percent > 0 ? 0 : terms->arms[i].weight;
    }
}

/* --- which arm -------------------------------------------------------------------------------- */

/* Above 0, below 1. */
static double fraction(uint64_t hash)
{
    return ((double)(hash >> 12) + 0.5) / (double)(UINT64_C(1) << 52);
}

/* Weighted rendezvous: each arm draws an exponential time with its weight as the rate, and the
 * first one has the key. Another weight changes the times of that arm alone, so keys come to it or
 * leave it, and no others move. */
static size_t drawn(const struct model_route *r, uint64_t key)
{
    size_t best = 0;
    double least = INFINITY;

    for (size_t i = 0; i < r->arm_count; i++) {
        const struct model_route_arm *a = &r->arms[i];
        double t;

        if (a->weight == 0) {
            continue;
        }
        t = -log(fraction(mix(key ^ a->hash))) / a->weight;
        if (t < least) {
            least = t;
            best = i;
        }
    }
    return best;
}

size_t model_route_choose(const struct model_route *r, uint64_t key)
{
    size_t arm = r->promoted != MODEL_ROUTE_NO_ARM ? r->promoted : drawn(r, key);

    return r->arms[arm].state == MODEL_ROUTE_ON ? arm : 0;
}

size_t model_route_shadow(const struct model_route *r, uint64_t key)
{
    for (size_t i = 0; i < r->arm_count; i++) {
        const struct model_route_arm *a = &r->arms[i];

        if (a->shadow_percent > 0 && a->state == MODEL_ROUTE_ON &&
            fraction(mix(key ^ a->hash)) * 100 < a->shadow_percent) {
            return i;
        }
    }
    return MODEL_ROUTE_NO_ARM;
}

/* --- what it did ------------------------------------------------------------------------------ */

static void add_moment(struct model_route_moments *m, double value)
{
    m->count++;
    m->sum += value;
    m->squares += value * value;
}

static void add_moments(struct model_route_moments *to, const struct model_route_moments *from)
{
    to->count += from->count;
    to->sum += from->sum;
    to->squares += from->squares;
}

static double mean(const struct model_route_moments *m)
{
    return m->count == 0 ? 0 : m->sum / (double)m->count;
}

/* Of the values around their mean. */
static double variance(const struct model_route_moments *m)
{
    double n = (double)m->count;
    double v = m->count < 2 ? 0 : (m->squares - m->sum * m->sum / n) / (n - 1);

    return v > 0 ? v : 0; /* rounding */
}

static uint64_t period_number(const struct model_route *r, uint64_t now_us)
{
    return now_us / r->period_us + 1;
}

static struct model_route_period *period_now(struct model_route *r, uint64_t now_us, size_t arm)
{
    uint64_t number = period_number(r, now_us);
    struct model_route_period *p = &r->arms[arm].periods[number % MODEL_ROUTE_PERIODS];

    if (p->number != number) {
        *p = (struct model_route_period){.number = number};
    }
    return p;
}

/* The whole window. */
static struct model_route_period total(const struct model_route *r, uint64_t now_us, size_t arm)
{
    uint64_t number = period_number(r, now_us);
    struct model_route_period sum = {0};

    for (size_t i = 0; i < MODEL_ROUTE_PERIODS; i++) {
        const struct model_route_period *p = &r->arms[arm].periods[i];

        if (p->number > 0 && p->number + MODEL_ROUTE_PERIODS > number) {
            sum.requests += p->requests;
            sum.errors += p->errors;
            add_moments(&sum.first_part_us, &p->first_part_us);
            add_moments(&sum.rate, &p->rate);
            add_moments(&sum.length, &p->length);
        }
    }
    return sum;
}

static double log_choose(double n, double k)
{
    int sign; /* of the gamma function: never negative here */

    return lgamma_r(n + 1, &sign) - lgamma_r(k + 1, &sign) - lgamma_r(n - k + 1, &sign);
}

/* Fisher's exact test, one-sided: how likely `mine` has so many of all errors or more, if errors
 * fall on requests of both arms alike. */
static double chance_of_errors(const struct model_route_period *mine,
                               const struct model_route_period *first)
{
    double n = (double)mine->requests, all = n + (double)first->requests;
    double errors = (double)(mine->errors + first->errors);
    double most = errors < n ? errors : n;
    double k = (double)mine->errors;
    double term = exp(log_choose(errors, k) + log_choose(all - errors, n - k) - log_choose(all, n));
    double sum = 0;

    for (; k <= most && term > 0; k++) {
        sum += term;
        term *= (errors - k) * (n - k) / ((k + 1) * (all - errors - n + k + 1));
    }
    return sum;
}

static bool is_slower(const struct model_route_moments *mine,
                      const struct model_route_moments *first)
{
    double by = mean(mine) - mean(first);
    double error = variance(mine) / (double)mine->count + variance(first) / (double)first->count;

    return mine->count > 1 && first->count > 1 && mean(mine) > FIRST_PART_RATIO * mean(first) &&
           by * by > FIRST_PART_DEVIATIONS * FIRST_PART_DEVIATIONS * error;
}

/* What a promoted arm is held against is from before, as nothing else gets requests now. */
static enum model_route_why judge(const struct model_route *r, uint64_t now_us, size_t arm)
{
    bool watched = r->promoted == arm && now_us < r->watch.until_us;
    struct model_route_period mine = total(r, now_us, arm);
    struct model_route_period first = watched ? r->watch.against : total(r, now_us, 0);

    if (mine.requests < r->min_requests || first.requests < r->min_requests) {
        return MODEL_ROUTE_WHY_NONE;
    }
    if (mine.errors * first.requests > first.errors * mine.requests &&
        chance_of_errors(&mine, &first) < ERRORS_CHANCE) {
        return MODEL_ROUTE_WHY_ERRORS;
    }
    if (mine.first_part_us.count >= r->min_requests &&
        first.first_part_us.count >= r->min_requests &&
        is_slower(&mine.first_part_us, &first.first_part_us)) {
        return MODEL_ROUTE_WHY_FIRST_PART;
    }
    return MODEL_ROUTE_WHY_NONE;
}

/* Behind a promoted arm is the one that was promoted before. */
static void roll_back(struct model_route *r, size_t arm, enum model_route_why why)
{
    size_t before = r->promoted == arm ? r->watch.before : MODEL_ROUTE_NO_ARM;

    model_route_turn(r, arm, MODEL_ROUTE_ROLLED_BACK, why);
    if (before != MODEL_ROUTE_NO_ARM && r->arms[before].state == MODEL_ROUTE_ON) {
        r->promoted = before;
    }
}

bool model_route_ended(struct model_route *r, uint64_t now_us, size_t arm,
                       const struct model_route_outcome *o)
{
    struct model_route_period *p = period_now(r, now_us, arm);
    enum model_route_why why;

    p->requests++;
    p->errors += o->failed;
    if (o->first_part_us > 0) {
        add_moment(&p->first_part_us, (double)o->first_part_us);
    }
    if (o->parts > 1 && o->last_part_us > o->first_part_us && !o->failed) {
        add_moment(&p->rate,
                   (double)(o->parts - 1) * 1e6 / (double)(o->last_part_us - o->first_part_us));
        add_moment(&p->length, (double)o->parts);
    }
    if (arm == 0 || r->min_requests == 0 || r->arms[arm].state != MODEL_ROUTE_ON) {
        return false;
    }
    why = judge(r, now_us, arm);
    if (why == MODEL_ROUTE_WHY_NONE) {
        return false;
    }
    roll_back(r, arm, why);
    return true;
}

void model_route_turn(struct model_route *r, size_t arm, enum model_route_state state,
                      enum model_route_why why)
{
    struct model_route_arm *a = &r->arms[arm];

    a->state = state;
    a->why = why;
    if (state == MODEL_ROUTE_ON) {
        memset(a->periods, 0, sizeof(a->periods));
    } else if (r->promoted == arm) {
        r->promoted = MODEL_ROUTE_NO_ARM;
        r->watch = (struct model_route_watch){.before = MODEL_ROUTE_NO_ARM};
    }
}

static void watch(struct model_route *r, uint64_t now_us, size_t arm)
{
    size_t before = r->promoted;
    struct model_route_period against = total(r, now_us, before == MODEL_ROUTE_NO_ARM ? 0 : before);

    r->watch = (struct model_route_watch){.before = MODEL_ROUTE_NO_ARM};
    if (arm == MODEL_ROUTE_NO_ARM || arm == 0 || r->min_requests == 0 ||
        against.requests < r->min_requests) {
        return;
    }
    r->watch.until_us = now_us + MODEL_ROUTE_WATCH_US;
    r->watch.against = against;
    r->watch.before = before;
}

void model_route_promote(struct model_route *r, uint64_t now_us, size_t arm)
{
    if (arm != MODEL_ROUTE_NO_ARM && arm == r->promoted) {
        return; /* it goes on being watched */
    }
    watch(r, now_us, arm);
    r->promoted = arm;
    if (arm != MODEL_ROUTE_NO_ARM) {
        model_route_turn(r, arm, MODEL_ROUTE_ON, MODEL_ROUTE_WHY_NONE);
    }
}

static struct model_route_spread spread_of(const struct model_route_moments *m)
{
    return (struct model_route_spread){
        .count = m->count, .mean = mean(m), .deviation = sqrt(variance(m))};
}

void model_route_summarize_period(const struct model_route_period *p,
                                  struct model_route_summary *out)
{
    *out = (struct model_route_summary){
        .requests = p->requests,
        .errors = p->errors,
        .first_part_us = spread_of(&p->first_part_us),
        .rate = spread_of(&p->rate),
        .length = spread_of(&p->length),
    };
}

void model_route_summarize(const struct model_route *r, uint64_t now_us, size_t arm,
                           struct model_route_summary *out)
{
    struct model_route_period sum = total(r, now_us, arm);

    model_route_summarize_period(&sum, out);
}
