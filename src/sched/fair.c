/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024):
 * each tenant has a counter per model of the service that it has had, divided by its weight; the
 * one with the least goes first. Service is charged at the grant, with what the request is thought
 * to need, and settled at its end. Who returns is lifted to the least of those that wait, so that
 * being idle saves nothing up. */
#include <stdlib.h>

#include "sched/sched_internal.h"

enum { MINUTE_US = 60 * 1000 * 1000 };

/* --- tenants --- */

static uint64_t account_hash(const struct sched *s, const struct tenant *t, const struct model *m)
{
    return hash_number(hash_number(s->seed, t->in_tenants.hash), m->in_models.hash);
}

static void account_free(struct sched *s, struct account *a)
{
    ASSERT(a->waiting == 0 && a->running == 0);
    map_remove(&s->accounts, &a->in_accounts);
    tenant_accounts_remove(&a->tenant->accounts, a);
    model_accounts_remove(&a->model->accounts, a);
    slab_put(&s->account_slab, a);
}

static void tenant_free(struct sched *s, struct tenant *t)
{
    while (t->accounts.count > 0) {
        account_free(s, tenant_accounts_first(&t->accounts));
    }
    if (tenant_list_has(t)) {
        tenant_list_remove(&s->idle_tenants, t);
    }
    map_remove(&s->tenants, &t->in_tenants);
    free(t->name);
    slab_put(&s->tenant_slab, t);
}

struct tenant *tenant_get(struct sched *s, struct slice name)
{
    uint64_t hash = hash_bytes(s->seed, name);
    struct map_link *l = map_find(&s->tenants, hash);
    struct tenant *t;

    for (; l != NULL; l = map_next(l)) {
        t = MAP_OF(l, struct tenant, in_tenants);
        if (slice_eq(slice_of(t->name, t->name_len), name)) {
            return t;
        }
    }
    if (s->tenants.count >= s->limits.tenants && s->idle_tenants.count > 0) {
        tenant_free(s, tenant_list_first(&s->idle_tenants));
    }
    t = slab_get(&s->tenant_slab);
    if (t == NULL) {
        return NULL;
    }
    t->name = slice_dup(name);
    t->name_len = name.len;
    if (t->name == NULL) {
        slab_put(&s->tenant_slab, t);
        return NULL;
    }
    map_add(&s->tenants, &t->in_tenants, hash);
    return t;
}

void tenant_settle(struct sched *s, struct tenant *t)
{
    if (tenant_list_has(t)) {
        tenant_list_remove(&s->idle_tenants, t);
    }
    if (t->busy == 0) { /* behind those that have been idle for longer */
        tenant_list_push(&s->idle_tenants, t);
    }
}

bool tenant_takes(struct tenant *t, uint64_t now_us, uint32_t per_min, uint64_t *wait_us)
{
    uint64_t each_us, full_us;

    if (per_min == 0) {
        return true;
    }
    each_us = MINUTE_US / per_min;
    full_us = t->rate_full_us > now_us ? t->rate_full_us : now_us;
    if (full_us - now_us + each_us > MINUTE_US) {
        *wait_us = full_us - now_us + each_us - MINUTE_US;
        return false;
    }
    t->rate_full_us = full_us + each_us;
    return true;
}

/* --- accounts --- */

struct account *account_get(struct sched *s, struct tenant *t, struct model *m)
{
    uint64_t hash = account_hash(s, t, m);
    struct map_link *l = map_find(&s->accounts, hash);
    struct account *a;

    for (; l != NULL; l = map_next(l)) {
        a = MAP_OF(l, struct account, in_accounts);
        if (a->tenant == t && a->model == m) {
            return a;
        }
    }
    a = slab_get(&s->account_slab);
    if (a != NULL) {
        a->tenant = t;
        a->model = m;
        a->weight = 1;
        map_add(&s->accounts, &a->in_accounts, hash);
        tenant_accounts_push(&t->accounts, a);
        model_accounts_push(&m->accounts, a);
    }
    return a;
}

/* The least counter of those that wait; false: nobody does. */
static bool least_waiting(struct model *m, uint64_t *least)
{
    bool found = false;

    for (struct line *l = line_list_first(&m->lines); l != NULL; l = line_list_next(&m->lines, l)) {
        for (int level = 0; level < SCHED_CLASS_COUNT; level++) {
            const struct flow *f = level_first(&l->levels[level]);

            if (f != NULL && (!found || f->account->counter < *least)) {
                *least = f->account->counter;
                found = true;
            }
        }
    }
    return found;
}

void account_arrives(struct sched *s, struct account *a, unsigned weight)
{
    uint64_t floor;

    a->tenant->busy++;
    tenant_settle(s, a->tenant);
    a->model->busy++;
    a->weight = weight == 0 ? 1 : weight;
    if (a->waiting > 0) {
        return;
    }
    if (!least_waiting(a->model, &floor)) {
        floor = a->model->vtime;
    }
    if (a->counter < floor) {
        a->counter = floor;
    }
}

void account_charge(struct account *a, int64_t work, int running)
{
    int64_t more = work * COUNTER_SCALE / (int64_t)a->weight;
    struct flow *f = account_flows_first(&a->flows);

    a->running += (uint32_t)running;
    if (more > 0 || (more == 0 && running >= 0)) {
        a->counter += (uint64_t)more;
        return; /* its turn comes later, which is seen when it comes */
    }
    a->counter -= (uint64_t)-more < a->counter ? (uint64_t)-more : a->counter;
    for (; f != NULL; f = account_flows_next(&a->flows, f)) {
        flow_requeue(f);
    }
}

void account_grant(struct account *a, uint64_t work)
{
    struct model *m = a->model;

    m->vtime = a->counter > m->vtime ? a->counter : m->vtime;
    account_charge(a, (int64_t)work, 1);
}

void account_leaves(struct sched *s, struct account *a)
{
    struct model *m = a->model;

    ASSERT(a->tenant->busy > 0 && m->busy > 0);
    a->tenant->busy--;
    m->busy--;
    tenant_settle(s, a->tenant);
    model_release(s, m);
}

/* NULL: out of memory, and its share stays where it is. */
static struct account *sharer(struct sched *s, const struct sched_share *share, struct model *m)
{
    struct tenant *t = tenant_get(s, share->tenant);
    struct account *a = t == NULL ? NULL : account_get(s, t, m);

    if (t != NULL && a == NULL) {
        tenant_settle(s, t);
    }
    return a;
}

void account_divide(struct sched *s, struct account *a, uint64_t work,
                    const struct sched_outcome *o)
{
    uint64_t parts = 0;

    for (size_t i = 0; i < o->share_count; i++) {
        parts += o->shares[i].part;
    }
    for (size_t i = 0; i < o->share_count; i++) {
        const struct sched_share *share = &o->shares[i];
        struct account *other = sharer(s, share, a->model);
        int64_t had;

        if (other == NULL || other == a) {
            continue;
        }
        had = (int64_t)((unsigned __int128)work * share->part / parts);
        account_arrives(s, other, share->weight); /* as if its part had come by itself */
        account_charge(other, had, 0);
        account_charge(a, -had, 0);
        account_leaves(s, other);
    }
}

void accounts_forget(struct sched *s, struct model *m)
{
    while (m->accounts.count > 0) {
        account_free(s, model_accounts_first(&m->accounts));
    }
}

void fair_fini(struct sched *s)
{
    for (size_t i = 0; s->tenants.chains != NULL && i <= s->tenants.mask; i++) {
        for (struct map_link *l = s->tenants.chains[i]; l != NULL; l = l->next) {
            free(MAP_OF(l, struct tenant, in_tenants)->name);
        }
    }
}
