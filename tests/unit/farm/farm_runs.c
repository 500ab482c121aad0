/* SPDX-License-Identifier: Apache-2.0 */
#include "farm_runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TENANTS = 3 };

static void watch(void *owner, struct farm *f, enum farm_event event, const struct farm_live *l)
{
    struct seen *s = owner;
    unsigned char *stage = &s->stages[l->request.tag];

    switch (event) {
    case FARM_ARRIVED:
        assert_int_equal(*stage, 0);
        s->arrived++;
        break;
    case FARM_BEGUN:
        assert_int_equal(*stage, 1 + FARM_ARRIVED);
        assert_true(l->granted_us >= l->request.due_us && l->begun_us >= l->granted_us);
        break;
    case FARM_FIRST:
        assert_int_equal(*stage, 1 + FARM_BEGUN);
        assert_true(l->first_us > l->begun_us);
        break;
    default:
        assert_in_range(*stage, 1 + FARM_ARRIVED, 1 + FARM_FIRST);
        assert_true(l->cancelled || l->verdict != SCHED_GRANTED || *stage == 1 + FARM_FIRST);
        assert_true(l->cancelled || l->cached_tokens <= l->request.prompt_tokens);
        s->ended++;
    }
    *stage = (unsigned char)(1 + event);
    farm_report_watch(&s->report, f, event, l);
}

struct seen run_farm(struct farm_options o, uint64_t requests)
{
    struct seen s = {.report = {.warm_up = requests / 10,
                                .node_count = o.node_count,
                                .model_count = o.model_count,
                                .tenant_count = TENANTS}};
    struct farm *f;

    s.stages = calloc(requests, 1);
    assert_non_null(s.stages);
    farm_report_init(&s.report);
    o.limits = sched_limits_default();
    o.limits.queue_jobs = o.limits.queue_jobs_all = o.limits.queue_bytes = UINT64_MAX / 2;
    o.watch = watch;
    o.watch_owner = &s;
    f = farm_new(&o);
    while (farm_run(f, 1000)) {
    }
    assert_int_equal(s.arrived, requests);
    assert_int_equal(s.ended, requests);
    assert_true(farm_is_empty(f));
    farm_report_settle(&s.report, f);
    farm_free(&f);
    free(s.stages);
    return s;
}
