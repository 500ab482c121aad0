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

uint64_t map_mix(uint64_t seed, uint64_t x)
{
    x += seed + 0x9E3779B97F4A7C15U; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

uint64_t map_hash(uint64_t seed, struct slice bytes)
{
    uint64_t hash = map_mix(seed, bytes.len), word;

    for (; bytes.len >= sizeof(word); bytes = slice_skip(bytes, sizeof(word))) {
        memcpy(&word, bytes.ptr, sizeof(word));
        hash = map_mix(hash, word);
    }
    word = 0;
    if (bytes.len > 0) {
        memcpy(&word, bytes.ptr, bytes.len);
        hash = map_mix(hash, word);
    }
    return hash;
}
