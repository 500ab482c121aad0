/* SPDX-License-Identifier: Apache-2.0 */
/* What came of the requests of a farm: times, loads, prompts that were known, and how even tenants
 * and nodes were served. The first requests are not counted, as nodes begin with no prompts and
 * perhaps no models in memory.
 *
 * Fairness is looked at in windows of time: of the tenants that had a request waiting for a model
 * all through a window, how much service each had of it, by weight (prompt tokens and twice answer
 * tokens, as the scheduler counts). Jain's index of that is 1 where it was the same, 1/n where one
 * of n had all. */
#ifndef MCP_FARM_REPORT_H
#define MCP_FARM_REPORT_H

#include "farm/farm.h"
#include "farm/histogram.h"

struct farm_fairness;

struct farm_report {
    /* Set by the caller. */
    uint64_t warm_up; /* requests that are not counted */
    size_t node_count, model_count, tenant_count;

    struct farm_histogram first;   /* us from arrival to the first byte */
    struct farm_histogram whole;   /* to the end */
    struct farm_histogram wait;    /* to a slot */
    struct farm_histogram between; /* us between two tokens of an answer */
    uint64_t requests, refused, cancelled;
    uint64_t prompt_tokens, cached_tokens, answer_tokens;
    uint64_t loads, evictions;
    uint64_t from_us, until_us;   /* arrival of the first that counts, end of the last */
    uint64_t busy_us, busiest_us; /* slots of all nodes, and of one */
    struct farm_totals at_warm_up;
    uint64_t *busy_at_warm_up; /* by node */
    struct farm_fairness *fairness;
};

void farm_report_init(struct farm_report *r);
void farm_report_fini(struct farm_report *r);
/* The `watch` of farm_options; `owner` is the report. */
void farm_report_watch(void *owner, struct farm *f, enum farm_event event,
                       const struct farm_live *l);
/* Before it is read: what nodes did until now. */
void farm_report_settle(struct farm_report *r, const struct farm *f);

double farm_report_seconds(const struct farm_report *r);
/* How many times as busy as a node on average the busiest is. */
double farm_report_busiest(const struct farm_report *r);
/* Jain's index, a mean of all windows and models that two tenants waited in. False: there were
 * none. */
bool farm_report_fairness(const struct farm_report *r, double *jain, double *most_apart);

#endif
