/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched.h"

#include <stdlib.h>

#include "sched/sched_internal.h"

enum { MAP_CHAINS = 64, SECOND_US = 1000 * 1000 };

struct sched_limits sched_limits_default(void)
{
    return (struct sched_limits){
        .queue_jobs = 4096,
        .queue_jobs_all = 65536,
        .queue_bytes = (uint64_t)1 << 30,
        .tenants = 16384,
        .prefixes = 65536,
        .min_resident_us = 2 * SECOND_US,
        .max_load_wait_us = 10 * SECOND_US,
        .ageing_us = 30 * SECOND_US,
        .node_wait_us = 10 * SECOND_US,
    };
}

struct sched *sched_new(const struct sched_limits *limits, uint64_t seed)
{
    struct sched *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    s->limits = *limits;
    s->seed = seed;
    slab_init(&s->flow_slab, sizeof(struct flow));
    slab_init(&s->line_slab, sizeof(struct line));
    slab_init(&s->tenant_slab, sizeof(struct tenant));
    slab_init(&s->account_slab, sizeof(struct account));
    slab_init(&s->runner_slab, sizeof(struct runner));
    slab_init(&s->group_slab, sizeof(struct group));
    slab_init(&s->model_slab, sizeof(struct model));
    slab_init(&s->node_slab, sizeof(struct node));
    slab_init(&s->few_hashes_slab, CACHE_LINE_BYTES);
    slab_init(&s->hashes_slab, SCHED_PREFIX_MAX * sizeof(uint64_t));
    if (!map_init(&s->nodes, MAP_CHAINS) || !map_init(&s->models, MAP_CHAINS) ||
        !map_init(&s->runners, MAP_CHAINS) || !map_init(&s->tenants, MAP_CHAINS) ||
        !map_init(&s->accounts, MAP_CHAINS) || !prefix_init(s)) {
        sched_free(&s);
    }
    return s;
}

void sched_free(struct sched **s)
{
    struct sched *old = *s;

    *s = NULL;
    if (old == NULL) {
        return;
    }
    fair_fini(old);
    queue_fini(old);
    groups_fini(old);
    nodes_fini(old);
    rank_pool_fini(&old->rank_pool);
    map_fini(&old->nodes);
    map_fini(&old->models);
    map_fini(&old->runners);
    map_fini(&old->tenants);
    map_fini(&old->accounts);
    free(old->prefixes);
    free(old->serials);
    slab_fini(&old->flow_slab);
    slab_fini(&old->line_slab);
    slab_fini(&old->tenant_slab);
    slab_fini(&old->account_slab);
    slab_fini(&old->runner_slab);
    slab_fini(&old->group_slab);
    slab_fini(&old->model_slab);
    slab_fini(&old->node_slab);
    slab_fini(&old->few_hashes_slab);
    slab_fini(&old->hashes_slab);
    free(old);
}

void sched_set_limits(struct sched *s, uint64_t now_us, const struct sched_limits *limits)
{
    bool resized = limits->prefixes != s->limits.prefixes;

    s->limits = *limits;
    if (resized) {
        (void)prefix_init(s); /* where memory is out, none are remembered */
    }
    load_due(s, now_us);
}

/* --- arriving --- */

static struct job *make_job(struct sched *s, const struct sched_job *job, struct account *a,
                            uint64_t near_node, uint64_t now_us)
{
    struct job *j = job_get(s);

    if (j == NULL) {
        return NULL;
    }
    j->home = job->home;
    j->tag = job->tag;
    j->class = j->level =
        (uint8_t)(job->class < SCHED_CLASS_COUNT ? job->class : SCHED_CLASS_BATCH);
    j->since_us = now_us;
    j->deadline_us = job->deadline_us;
    j->bytes = job->bytes;
    j->prompt_tokens = job->prompt_tokens;
    j->answer_tokens = job->answer_tokens;
    j->account = a;
    estimate_job(a->model, j);
    job_keep_prefix(s, j, job);
    j->near_node = near_node;
    account_arrives(s, a, job->weight);
    return j;
}

static void end_job(struct sched *s, struct job *j)
{
    struct account *a = j->account;

    job_free(s, j);
    account_leaves(s, a);
}

static bool queue_has_room(const struct sched *s, const struct account *a, size_t bytes)
{
    return a->waiting < s->limits.queue_jobs && s->waiting < s->limits.queue_jobs_all &&
           s->waiting_bytes + bytes <= s->limits.queue_bytes;
}

static enum sched_verdict granted(struct job *j, struct sched_answer *out)
{
    j->state = JOB_GRANTED;
    out->ticket = job_ticket(j);
    out->node = j->runner->node->id;
    out->loads = j->loads;
    out->why = (enum sched_why)j->why;
    out->eta_us = 0;
    return SCHED_GRANTED;
}

static enum sched_verdict refused(struct sched *s, struct job *j, struct sched_answer *out)
{
    enum sched_verdict v = (enum sched_verdict)j->verdict;

    out->ticket = 0;
    out->retry_after_us = SECOND_US;
    end_job(s, j);
    return v;
}

static enum sched_verdict wait(struct sched *s, struct model *m, struct account *a,
                               const struct sched_job *job, uint64_t near_node, uint64_t now_us,
                               struct sched_answer *out)
{
    struct line *line;
    struct job *j;

    if (!queue_has_room(s, a, job->bytes) || !line_has_room(m, job)) {
        out->retry_after_us = estimate_retry_us(m);
        return SCHED_QUEUE_FULL;
    }
    j = make_job(s, job, a, near_node, now_us);
    if (j == NULL) {
        return SCHED_NO_MEMORY;
    }
    line = line_get(s, m, job);
    if (line == NULL || !queue_push(s, line, j, now_us)) {
        end_job(s, j);
        return SCHED_NO_MEMORY;
    }
    out->ticket = job_ticket(j);
    if (line->try_us <= now_us || line->jobs.count == 1) {
        load_consider(s, line, now_us);
    }
    if (j->state == JOB_DECIDED) { /* a node loads the model for it, or it is too late */
        age_list_remove(&s->decided, j);
        return j->placed ? granted(j, out) : refused(s, j, out);
    }
    (void)sched_look(s, now_us, out->ticket, out);
    if (out->eta_us != SCHED_UNKNOWN && job->deadline_us != 0 &&
        now_us + out->eta_us > job->deadline_us) {
        out->retry_after_us = now_us + out->eta_us - job->deadline_us;
        out->retry_after_us += out->retry_after_us < SECOND_US ? SECOND_US : 0;
        out->ticket = 0;
        queue_remove(s, j);
        end_job(s, j);
        return SCHED_TOO_LATE;
    }
    return SCHED_QUEUED;
}

static enum sched_verdict grant_or_wait(struct sched *s, struct model *m, struct account *a,
                                        const struct sched_job *job, uint64_t now_us,
                                        struct sched_answer *out)
{
    enum sched_why why;
    uint64_t near_node;
    struct runner *r = place_choose(s, m, job, &why, &near_node);
    struct job *j;

    if (r == NULL) {
        return wait(s, m, a, job, near_node, now_us, out);
    }
    j = make_job(s, job, a, near_node, now_us);
    if (j == NULL) {
        return SCHED_NO_MEMORY;
    }
    account_grant(a, job_work(j));
    place_grant(s, j, r, r->loading ? SCHED_WHY_LOAD : why, now_us);
    return granted(j, out);
}

static enum sched_verdict admit(struct sched *s, struct model *m, struct tenant *t,
                                const struct sched_job *job, uint64_t now_us,
                                struct sched_answer *out)
{
    struct account *a;

    if (!tenant_takes(t, now_us, job->rate_per_min, &out->retry_after_us)) {
        out->retry_after_us = out->retry_after_us < SECOND_US ? SECOND_US : out->retry_after_us;
        return SCHED_RATE_LIMITED;
    }
    a = account_get(s, t, m);
    return a == NULL ? SCHED_NO_MEMORY : grant_or_wait(s, m, a, job, now_us, out);
}

bool sched_rate(struct sched *s, uint64_t now_us, struct slice tenant, uint32_t rate_per_min,
                uint64_t *retry_after_us)
{
    struct tenant *t = tenant_get(s, tenant);
    bool takes;

    if (t == NULL) {
        return true; /* it will hear of that when it needs more memory */
    }
    takes = tenant_takes(t, now_us, rate_per_min, retry_after_us);
    if (!takes && *retry_after_us < SECOND_US) {
        *retry_after_us = SECOND_US;
    }
    if (t->busy == 0) {
        tenant_settle(s, t);
    }
    return takes;
}

enum sched_verdict sched_arrive(struct sched *s, uint64_t now_us, const struct sched_job *job,
                                struct sched_answer *out)
{
    struct sched_job mine = *job;
    struct model *m;
    struct tenant *t;
    enum sched_verdict v;

    *out = (struct sched_answer){.eta_us = SCHED_UNKNOWN};
    m = model_find(s, job->anywhere ? slice_of("", 0) : job->model);
    if (m == NULL || !model_usable(m, job->speaks, 0)) {
        return nodes_verdict(s, job);
    }
    if (mine.avoid_node != 0 && !model_usable(m, job->speaks, mine.avoid_node)) {
        mine.avoid_node = 0; /* there is no other */
    }
    t = tenant_get(s, job->tenant);
    if (t == NULL) {
        return SCHED_NO_MEMORY;
    }
    v = admit(s, m, t, &mine, now_us, out);
    if (t->busy == 0) {
        tenant_settle(s, t);
    }
    load_due(s, now_us);
    return v;
}

/* --- leaving --- */

static void leave_node(struct sched *s, struct job *j, const struct sched_outcome *o,
                       uint64_t now_us)
{
    static const struct sched_outcome unknown = {.end = SCHED_CANCELLED};
    struct runner *r = j->runner;
    const struct job *next;

    o = o == NULL ? &unknown : o;
    prefetch(j->account, sizeof(*j->account));
    prefetch(r, sizeof(*r));
    next = queue_prefetch(j->account->model);
    place_release(s, j, o, now_us);
    job_prefetch(next);
    end_job(s, j);
    load_left(s, r, o->end, now_us);
    runner_release(s, r);
}

void sched_leave(struct sched *s, uint64_t now_us, uint64_t ticket, const struct sched_outcome *o)
{
    struct job *j = job_find(s, ticket);

    if (j == NULL) {
        return;
    }
    if (j->state == JOB_WAITING) {
        queue_remove(s, j);
    } else if (j->state == JOB_DECIDED) {
        age_list_remove(&s->decided, j);
    }
    if (!j->placed) {
        end_job(s, j);
    } else {
        leave_node(s, j, o, now_us);
    }
    load_due(s, now_us);
}

void sched_started(struct sched *s, uint64_t now_us, uint64_t ticket)
{
    struct job *j = job_find(s, ticket);
    struct runner *r = j == NULL || !j->placed ? NULL : j->runner;

    if (r != NULL && r->loading) {
        load_took(r->model, now_us - r->load_began_us);
        load_over(s, r, true, now_us);
        load_due(s, now_us);
    }
}

/* --- decisions --- */

size_t sched_take(struct sched *s, struct sched_decision *out, size_t most)
{
    size_t n = 0;

    for (; n < most && s->decided.count > 0; n++) {
        struct job *j = age_list_pop(&s->decided);

        out[n] = (struct sched_decision){
            .ticket = job_ticket(j),
            .home = j->home,
            .tag = j->tag,
            .verdict = (enum sched_verdict)j->verdict,
            .loads = j->loads,
            .why = (enum sched_why)j->why,
        };
        if (!j->placed) {
            end_job(s, j);
        } else {
            out[n].node = j->runner->node->id;
            j->state = JOB_GRANTED;
        }
    }
    return n;
}

void sched_tick(struct sched *s, uint64_t now_us)
{
    load_due(s, now_us);
}

uint64_t sched_next_us(const struct sched *s)
{
    const struct line *l = line_heap_first(&s->timers);

    return l == NULL ? SCHED_NEVER : l->due_us;
}
