/* SPDX-License-Identifier: Apache-2.0 */
/* Which runner has computed which beginnings of prompts, as far as we know: hashes that requests
 * came with, the least recently used forgotten. What many requests begin with (a system prompt) is
 * soon everywhere and decides nothing; the last turn of a conversation is in one place. */
#include "sched/sched_internal.h"

enum { COMMON_USES = 3, FIRST_LOOKS = 4, RUNNERS_LOOKED_AT = 8 };

static struct prefix *entry_of(const struct sched *s, const struct runner *r, uint64_t hash)
{
    struct map_link *l = map_find(&s->prefixes, map_mix(s->seed, hash));
    struct prefix *p = l == NULL ? NULL : MAP_OF(l, struct prefix, in_prefixes);

    while (l != NULL && p->runner != r) {
        l = map_next(l);
        p = l == NULL ? NULL : MAP_OF(l, struct prefix, in_prefixes);
    }
    return p;
}

static void forget(struct sched *s, struct prefix *p)
{
    prefix_list_remove(&p->runner->prefixes, p);
    map_remove(&s->prefixes, &p->in_prefixes);
    slab_put(&s->prefix_slab, p);
}

void prefix_forget(struct sched *s, struct runner *r)
{
    while (r->prefixes.count > 0) {
        forget(s, prefix_list_first(&r->prefixes));
    }
}

static void add(struct sched *s, struct runner *r, uint64_t hash)
{
    struct prefix *p;

    while (r->prefixes.count >= s->limits.prefixes) {
        forget(s, prefix_list_first(&r->prefixes));
    }
    p = slab_get(&s->prefix_slab);
    if (p != NULL) {
        p->runner = r;
        p->uses = 1;
        map_add(&s->prefixes, &p->in_prefixes, map_mix(s->seed, hash));
        prefix_list_push(&r->prefixes, p);
    }
}

/* What is longer than what it has had is new; the rest was noted then. */
void prefix_note(struct sched *s, struct runner *r, const uint64_t *hashes, size_t count)
{
    for (size_t i = count; i > 0 && s->limits.prefixes > 0; i--) {
        struct prefix *p = entry_of(s, r, hashes[i - 1]);

        if (p != NULL) {
            p->uses++;
            prefix_list_remove(&r->prefixes, p);
            prefix_list_push(&r->prefixes, p);
            return;
        }
        add(s, r, hashes[i - 1]);
    }
}

/* One that may be used and has this beginning; NULL. */
static struct prefix *look(const struct sched *s, const struct model *m,
                           const struct sched_job *job, uint64_t hash)
{
    struct map_link *l = map_find(&s->prefixes, map_mix(s->seed, hash));

    for (int i = 0; l != NULL && i < RUNNERS_LOOKED_AT; i++, l = map_next(l)) {
        struct prefix *p = MAP_OF(l, struct prefix, in_prefixes);

        if (p->runner->model == m && place_wanted(job, p->runner)) {
            return p;
        }
    }
    return NULL;
}

struct runner *prefix_find(const struct sched *s, const struct model *m,
                           const struct sched_job *job, size_t *depth)
{
    size_t high = job->prefix_count < SCHED_PREFIX_MAX ? job->prefix_count : SCHED_PREFIX_MAX;
    struct prefix *best = NULL;

    *depth = 0;
    if (s->prefixes.count == 0) {
        return NULL;
    }
    /* The next turn of a conversation has all but the last few. */
    for (int i = 0; i < FIRST_LOOKS && high > 0; i++, high--) {
        best = look(s, m, job, job->prefix[high - 1]);
        if (best != NULL) {
            *depth = high;
            high = 0;
            break;
        }
    }
    while (*depth < high) {
        size_t middle = *depth + (high - *depth + 1) / 2;
        struct prefix *p = look(s, m, job, job->prefix[middle - 1]);

        if (p == NULL) {
            high = middle - 1;
        } else {
            best = p;
            *depth = middle;
        }
    }
    return best == NULL || best->uses >= COMMON_USES ? NULL : best->runner;
}
