/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/report.h"

#include <stdlib.h>

#include "base/check.h"
#include "farm/fairness.h"

void farm_report_init(struct farm_report *r)
{
    r->busy_at_warm_up = xcalloc(r->node_count, sizeof(uint64_t));
    r->fairness = farm_fairness_new(r->model_count, r->tenant_count);
}

void farm_report_fini(struct farm_report *r)
{
    free(r->busy_at_warm_up);
    farm_fairness_free(&r->fairness);
}

static void end_warm_up(struct farm_report *r, const struct farm *f)
{
    farm_totals(f, &r->at_warm_up);
    r->from_us = r->at_warm_up.now_us;
    for (size_t n = 0; n < r->node_count; n++) {
        r->busy_at_warm_up[n] = farm_busy_us(f, n);
    }
}

static void count_ended(struct farm_report *r, const struct farm_live *l)
{
    const struct farm_request *q = &l->request;

    r->requests++;
    r->until_us = l->done_us;
    r->cancelled += l->cancelled;
    if (l->cancelled || l->verdict != SCHED_GRANTED) {
        r->refused += !l->cancelled;
        return;
    }
    farm_histogram_add(&r->first, l->first_us - q->due_us);
    farm_histogram_add(&r->whole, l->done_us - q->due_us);
    farm_histogram_add(&r->wait, l->begun_us - q->due_us);
    if (q->answer_tokens > 0) {
        farm_histogram_add(&r->between, (l->done_us - l->first_us) / q->answer_tokens);
    }
    r->prompt_tokens += q->prompt_tokens;
    r->cached_tokens += l->cached_tokens;
    r->answer_tokens += q->answer_tokens;
}

void farm_report_watch(void *owner, struct farm *f, enum farm_event event,
                       const struct farm_live *l)
{
    struct farm_report *r = owner;
    struct farm_totals now;

    farm_totals(f, &now);
    farm_fairness_watch(r->fairness, now.now_us, event, l);
    if (event == FARM_ARRIVED && now.arrived == r->warm_up + 1) {
        end_warm_up(r, f);
    }
    if (event == FARM_ENDED && l->request.due_us >= r->from_us && r->from_us > 0) {
        count_ended(r, l);
    }
}

void farm_report_settle(struct farm_report *r, const struct farm *f)
{
    struct farm_totals now;

    farm_totals(f, &now);
    r->loads = now.loads - r->at_warm_up.loads;
    r->evictions = now.evictions - r->at_warm_up.evictions;
    r->busy_us = r->busiest_us = 0;
    for (size_t n = 0; n < r->node_count; n++) {
        uint64_t us = farm_busy_us(f, n) - r->busy_at_warm_up[n];

        r->busy_us += us;
        r->busiest_us = us > r->busiest_us ? us : r->busiest_us;
    }
}

double farm_report_seconds(const struct farm_report *r)
{
    return r->until_us > r->from_us ? (double)(r->until_us - r->from_us) / 1e6 : 0;
}

double farm_report_busiest(const struct farm_report *r)
{
    double mean_us = (double)r->busy_us / (double)r->node_count;

    return mean_us > 0 ? (double)r->busiest_us / mean_us : 1;
}

bool farm_report_fairness(const struct farm_report *r, double *jain, double *most_apart)
{
    return farm_fairness_result(r->fairness, jain, most_apart);
}
