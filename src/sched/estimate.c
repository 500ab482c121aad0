/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured, and what follows from it: how much work a request is, how fast a node does it,
 * and when the turn of one that waits will come. */
#include "sched/sched_internal.h"

enum {
    MEAN_OF = 16,   /* about so many last ones make a mean */
    LOOKED_AT = 16, /* flows and running requests; the others are taken to be alike */
    LEAST_RETRY_US = 1000 * 1000
};

static const double RECENT_WEIGHT = 0.01;

static double mean(double old, double now, uint64_t count)
{
    return old + (now - old) / (double)(count < MEAN_OF ? count : MEAN_OF);
}

void estimate_job(const struct model *m, struct job *j)
{
    if (j->prompt_tokens == 0) {
        j->prompt_tokens = (uint32_t)m->prompt_tokens;
    }
    if (j->answer_tokens == 0) {
        j->answer_tokens = (uint32_t)m->answer_tokens;
    }
}

void estimate_done(struct runner *r, const struct job *j, const struct sched_outcome *o,
                   uint64_t now_us)
{
    struct model *m = r->model;
    double took_us = (double)(now_us - j->since_us);
    uint64_t work = work_of(o->prompt_tokens, o->answer_tokens);

    if (o->prompt_tokens > 0 || o->answer_tokens > 0) {
        m->counted++;
        m->prompt_tokens = mean(m->prompt_tokens, o->prompt_tokens, m->counted);
        m->answer_tokens = mean(m->answer_tokens, o->answer_tokens, m->counted);
    }
    if (j->loads) { /* it also waited for the load */
        return;
    }
    m->served++;
    m->service_us = mean(m->service_us, took_us, m->served);
    if (work > 0) {
        r->served++;
        r->work_us = mean(r->work_us, took_us / (double)work, r->served);
        m->work_us = mean(m->work_us, took_us / (double)work, m->served);
    }
}

/* How long its work takes; of what it had lately a little, so that those with nothing to do take
 * turns and share out the conversations that will stay with them. */
double estimate_load(const struct runner *r)
{
    double work_us = r->served > 0 ? r->work_us : r->model->work_us;

    return ((double)r->outstanding + RECENT_WEIGHT * r->recent) * (work_us > 0 ? work_us : 1);
}

/* --- how many go first --- */

/* Of another flow of the same class, before the counter of one's own account is at `mine`. */
static double ahead_in_flow(const struct flow *f, double mine)
{
    double count = (double)f->jobs.count;
    double each = (double)f->work * COUNTER_SCALE / (count * f->account->weight);
    double turns = (mine - (double)f->account->counter) / each + 1;

    if (turns <= 0) {
        return 0;
    }
    return turns < count ? turns : count;
}

static double ahead_in_line(const struct line *line, const struct job *j, double mine)
{
    const struct level *level = &line->levels[j->level];
    const struct flow *f = level_flows_first(&level->all);
    double ahead = 0, sum = 0;
    size_t looked = 0;

    for (int higher = 0; higher < j->level; higher++) {
        ahead += (double)line->levels[higher].jobs;
    }
    for (; f != NULL && looked < LOOKED_AT; f = level_flows_next(&level->all, f)) {
        if (f->account != j->account) {
            sum += ahead_in_flow(f, mine);
            looked++;
        }
    }
    if (looked > 0) {
        size_t others = level->all.count - (j->flow->line == line);

        ahead += sum * (double)(others > looked ? others : looked) / (double)looked;
    }
    return ahead;
}

static double ahead_of(const struct job *j)
{
    const struct account *a = j->account;
    double own = j->seq - flow_list_first(&j->flow->jobs)->seq;
    double mine = (double)a->counter + own * (double)job_work(j) * COUNTER_SCALE / a->weight;
    const struct line *line = line_list_first(&a->model->lines);
    double ahead = own;

    for (; line != NULL; line = line_list_next(&a->model->lines, line)) {
        ahead += ahead_in_line(line, j, mine);
    }
    return ahead;
}

/* --- when --- */

/* While somebody waits, all slots are taken: each that ends lets one in. */
static double gap_us(const struct model *m)
{
    return m->service_us / (double)(m->running.count > 0 ? m->running.count : 1);
}

static uint64_t eta_us_of(const struct job *j, double ahead, uint64_t now_us)
{
    const struct model *m = j->account->model;
    uint64_t try_us = j->flow->line->try_us;
    size_t slots = m->running.count, at;
    double at_us;
    const struct job *one;

    if (slots == 0 && try_us != SCHED_NEVER) { /* for a load to begin */
        return try_us > now_us ? try_us - now_us : 0;
    }
    if (m->served == 0 || slots == 0) {
        return SCHED_UNKNOWN;
    }
    if (slots > LOOKED_AT) {
        return (uint64_t)((ahead + 1) * gap_us(m));
    }
    /* Those that run end in the order in which they began, and so do those that follow them. */
    one = running_list_first(&m->running);
    for (at = (size_t)ahead % slots; at > 0; at--) {
        one = running_list_next(&m->running, one);
    }
    at_us = (double)one->since_us + m->service_us * (1 + (double)((size_t)ahead / slots));
    return at_us > (double)now_us ? (uint64_t)at_us - now_us : 0;
}

void estimate_turn(const struct job *j, uint64_t now_us, size_t *position, uint64_t *eta_us)
{
    double ahead = ahead_of(j), depth = (double)j->account->model->waiting;

    *position = (size_t)(ahead + 1 < depth ? ahead + 1 : depth);
    *eta_us = eta_us_of(j, ahead, now_us);
}

uint64_t estimate_retry_us(const struct model *m)
{
    uint64_t us = m->served == 0 ? 0 : (uint64_t)gap_us(m);

    return us > LEAST_RETRY_US ? us : LEAST_RETRY_US;
}
