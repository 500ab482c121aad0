/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/map.h"

#include <stdlib.h>

bool map_init(struct map *m, size_t chains)
{
    *m = (struct map){.chains = calloc(chains, sizeof(*m->chains)), .mask = chains - 1};
    return m->chains != NULL;
}

void map_fini(struct map *m)
{
    free(m->chains);
    *m = (struct map){0};
}

static void put(struct map *m, struct map_link *l)
{
    l->next = m->chains[l->hash & m->mask];
    m->chains[l->hash & m->mask] = l;
}

static void grow(struct map *m)
{
    struct map bigger;

    if (!map_init(&bigger, (m->mask + 1) * 2)) {
        return;
    }
    for (size_t i = 0; i <= m->mask; i++) {
        struct map_link *l = m->chains[i], *next;

        for (; l != NULL; l = next) {
            next = l->next;
            put(&bigger, l);
        }
    }
    free(m->chains);
    m->chains = bigger.chains;
    m->mask = bigger.mask;
}

void map_add(struct map *m, struct map_link *l, uint64_t hash)
{
    if (m->count > m->mask) {
        grow(m);
    }
    l->hash = hash;
    put(m, l);
    m->count++;
}

void map_remove(struct map *m, struct map_link *l)
{
    struct map_link **at = &m->chains[l->hash & m->mask];

    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    l->next = NULL;
    m->count--;
}

static struct map_link *with_hash(struct map_link *l, uint64_t hash)
{
    while (l != NULL && l->hash != hash) {
        l = l->next;
    }
    return l;
}

struct map_link *map_find(const struct map *m, uint64_t hash)
{
    return with_hash(m->chains[hash & m->mask], hash);
}

struct map_link *map_next(const struct map_link *l)
{
    return with_hash(l->next, l->hash);
}
