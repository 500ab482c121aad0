/* SPDX-License-Identifier: Apache-2.0 */
/* Which runner has computed which beginnings of prompts, as far as we know: the hashes that
 * requests came with. One table of a fixed size, a cache line for each hash to be in; of those in
 * one line the least recently noted is forgotten. Only the last runner is known: the end of a
 * conversation is in one place, and what many prompts begin with (a system prompt) is soon
 * everywhere and decides nothing. */
#include <stdlib.h>

#include "sched/sched_internal.h"

enum { WAYS = 4, LINE_BYTES = 64, COMMON_USES = 3, FIRST_LOOKS = 4, INDEX_BITS = 20 };

struct prefix {
    uint64_t hash; /* with the model's */
    uint32_t serial;
    uint16_t noted; /* counts up */
    uint16_t uses;  /* as the longest beginning that was known; 0: the place is free */
};

struct prefix_line {
    struct prefix ways[WAYS];
};

bool prefix_init(struct sched *s)
{
    size_t lines = 1;

    free(s->prefixes);
    s->prefixes = NULL;
    while (lines * WAYS < s->limits.prefixes) {
        lines *= 2;
    }
    s->prefix_mask = lines - 1;
    if (s->limits.prefixes > 0) {
        s->prefixes = aligned_alloc(LINE_BYTES, lines * sizeof(*s->prefixes));
        if (s->prefixes == NULL) {
            return false;
        }
        memset(s->prefixes, 0, lines * sizeof(*s->prefixes));
    }
    return true;
}

/* --- runners by number --- */

void prefix_add_runner(struct sched *s, struct runner *r)
{
    size_t i = 0, size = s->serials_size;
    struct runner **bigger;

    r->serial = UINT32_MAX;
    if (s->serials_free > 0) {
        while (s->serials[s->serials_next] != NULL) {
            s->serials_next = (s->serials_next + 1) % size;
        }
        i = s->serials_next;
    } else {
        bigger = size >= (size_t)1 << INDEX_BITS
                     ? NULL
                     : realloc(s->serials, (size == 0 ? 64 : 2 * size) * sizeof(struct runner *));
        if (bigger == NULL) {
            return; /* nothing is known of this one */
        }
        s->serials = bigger;
        s->serials_size = size == 0 ? 64 : 2 * size;
        s->serials_free = s->serials_size - size;
        memset(&bigger[size], 0, s->serials_free * sizeof(struct runner *));
        i = s->serials_next = size;
    }
    s->serials[i] = r;
    s->serials_free--;
    r->serial = (uint32_t)i | (++s->generations << INDEX_BITS);
}

void prefix_remove_runner(struct sched *s, struct runner *r)
{
    if (r->serial != UINT32_MAX) {
        s->serials[r->serial & ((1U << INDEX_BITS) - 1)] = NULL;
        s->serials_free++;
    }
}

void prefix_forget(struct sched *s, struct runner *r)
{
    if (r->serial != UINT32_MAX) {
        r->serial = (r->serial & ((1U << INDEX_BITS) - 1)) | (++s->generations << INDEX_BITS);
    }
}

static struct runner *runner_of(const struct sched *s, uint32_t serial)
{
    size_t i = serial & ((1U << INDEX_BITS) - 1);
    struct runner *r = i < s->serials_size ? s->serials[i] : NULL;

    return r != NULL && r->serial == serial ? r : NULL;
}

/* --- the table --- */

static uint64_t hash_of(const struct model *m, uint64_t hash)
{
    return hash_number(m->in_models.hash, hash);
}

/* Of the longest, which are looked for first: a miss each. */
static void prefetch_lines(const struct sched *s, const struct model *m, const uint64_t *hashes,
                           size_t count)
{
    for (int i = 0; i < FIRST_LOOKS && count > 0; i++, count--) {
        prefetch(&s->prefixes[hash_of(m, hashes[count - 1]) & s->prefix_mask], LINE_BYTES);
    }
}

static struct prefix *find(const struct sched *s, uint64_t hash)
{
    struct prefix *ways = s->prefixes[hash & s->prefix_mask].ways;

    for (int i = 0; i < WAYS; i++) {
        if (ways[i].hash == hash && ways[i].uses > 0) {
            return &ways[i];
        }
    }
    return NULL;
}

static void add(struct sched *s, const struct runner *r, uint64_t hash)
{
    struct prefix *ways = s->prefixes[hash & s->prefix_mask].ways, *oldest = &ways[0];
    uint16_t newest = 0;

    for (int i = 0; i < WAYS; i++) {
        newest = ways[i].noted > newest ? ways[i].noted : newest;
        oldest = ways[i].noted < oldest->noted ? &ways[i] : oldest;
    }
    if (newest == UINT16_MAX) { /* begin anew: the order within one line is lost once */
        for (int i = 0; i < WAYS; i++) {
            ways[i].noted = 0;
        }
        newest = 0;
    }
    *oldest = (struct prefix){hash, r->serial, (uint16_t)(newest + 1), 1};
}

/* What is longer than what somebody has had is new; the rest was noted then. */
void prefix_note(struct sched *s, const struct runner *r, const uint64_t *hashes, size_t count)
{
    if (s->prefixes == NULL || r->serial == UINT32_MAX) {
        return;
    }
    prefetch_lines(s, r->model, hashes, count);
    for (size_t i = count; i > 0; i--) {
        uint64_t hash = hash_of(r->model, hashes[i - 1]);
        struct prefix *p = find(s, hash);

        if (p == NULL) {
            add(s, r, hash);
            continue;
        }
        p->uses += p->uses < UINT16_MAX;
        if (p->serial == r->serial || p->uses >= COMMON_USES) {
            return;
        }
        p->serial = r->serial; /* it had to be computed here, and so what is before it */
    }
}

/* A runner that may be used, if it was the last to compute this. */
static struct runner *look(const struct sched *s, const struct model *m,
                           const struct sched_job *job, size_t depth, bool *common)
{
    struct prefix *p = find(s, hash_of(m, job->prefix[depth - 1]));
    struct runner *r = p == NULL ? NULL : runner_of(s, p->serial);

    *common = p != NULL && p->uses >= COMMON_USES;
    return r != NULL && r->model == m && place_wanted(job, r) ? r : NULL;
}

struct runner *prefix_find(const struct sched *s, const struct model *m,
                           const struct sched_job *job, size_t *depth)
{
    size_t high = job->prefix_count < SCHED_PREFIX_MAX ? job->prefix_count : SCHED_PREFIX_MAX;
    struct runner *best = NULL, *r;
    bool common = false, is_common;

    *depth = 0;
    if (s->prefixes == NULL) {
        return NULL;
    }
    prefetch_lines(s, m, job->prefix, high);
    /* The next turn of a conversation has all but the last few. */
    for (int i = 0; i < FIRST_LOOKS && high > 0; i++, high--) {
        best = look(s, m, job, high, &common);
        if (best != NULL) {
            *depth = high;
            return common ? NULL : best;
        }
    }
    while (*depth < high) {
        size_t middle = *depth + (high - *depth + 1) / 2;

        r = look(s, m, job, middle, &is_common);
        if (r == NULL) {
            high = middle - 1;
        } else {
            best = r;
            common = is_common;
            *depth = middle;
        }
    }
    return common ? NULL : best;
}
