/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/rank_heap.h"

#include <stdlib.h>

#include "base/check.h"

enum { CHILDREN = 4, FIRST_ROOM = 8, LINE_BYTES = 64 };

/* --- memory --- */

static size_t room_of(size_t size)
{
    return (size_t)FIRST_ROOM << size;
}

static size_t size_for(size_t count)
{
    size_t size = 0;

    while (room_of(size) < count) {
        size++;
    }
    return size;
}

void rank_pool_fini(struct rank_pool *p)
{
    for (size_t i = 0; i < RANK_POOL_SIZES; i++) {
        void *one = p->free[i], *next;

        for (; one != NULL; one = next) {
            next = *(void **)one;
            free(one);
        }
        p->free[i] = NULL;
    }
}

static void *pool_get(struct rank_pool *p, size_t size)
{
    void *one = p->free[size];

    if (one == NULL) {
        return aligned_alloc(LINE_BYTES, room_of(size) * sizeof(struct rank));
    }
    p->free[size] = *(void **)one;
    return one;
}

void rank_heap_release(struct rank_heap *h, struct rank_pool *p)
{
    size_t size = size_for(h->room);

    if (h->room > 0) {
        *(void **)(void *)h->ranks = p->free[size];
        p->free[size] = h->ranks;
    }
    h->ranks = NULL;
    h->room = 0;
}

bool rank_heap_reserve(struct rank_heap *h, struct rank_pool *p, size_t count)
{
    size_t size = size_for(count);
    struct rank *ranks;

    if (count <= h->room) {
        return true;
    }
    ranks = size < RANK_POOL_SIZES ? pool_get(p, size) : NULL;
    if (ranks == NULL) {
        return false;
    }
    if (h->count > 0) {
        memcpy(ranks, h->ranks, h->count * sizeof(*ranks));
    }
    rank_heap_release(h, p);
    h->ranks = ranks;
    h->room = (uint32_t)room_of(size);
    return true;
}

/* --- order --- */

static void put(struct rank_heap *h, uint32_t at, const struct rank *rank)
{
    h->ranks[at] = *rank;
    *rank->place = at + 1;
}

/* Puts it at this place or nearer to the first. */
static void rise(struct rank_heap *h, uint32_t at, const struct rank *rank)
{
    while (at > 0 && rank_before(rank, &h->ranks[(at - 1) / CHILDREN])) {
        put(h, at, &h->ranks[(at - 1) / CHILDREN]);
        at = (at - 1) / CHILDREN;
    }
    put(h, at, rank);
}

/* The least of those below; `count` or more: there is none. */
static uint32_t least_child(const struct rank_heap *h, uint32_t at)
{
    uint32_t child = CHILDREN * at + 1, end = child + CHILDREN, least = child;

    end = end < h->count ? end : h->count;
    while (++child < end) {
        least = rank_before(&h->ranks[child], &h->ranks[least]) ? child : least;
    }
    return least;
}

/* Puts it at this place or further from the first. */
static void sink(struct rank_heap *h, uint32_t at, const struct rank *rank)
{
    uint32_t child = least_child(h, at);

    while (child < h->count && rank_before(&h->ranks[child], rank)) {
        put(h, at, &h->ranks[child]);
        at = child;
        child = least_child(h, at);
    }
    put(h, at, rank);
}

static void settle(struct rank_heap *h, uint32_t at, const struct rank *rank)
{
    if (rank_before(rank, &h->ranks[at])) {
        rise(h, at, rank);
    } else {
        sink(h, at, rank);
    }
}

void rank_heap_put(struct rank_heap *h, struct rank rank)
{
    if (*rank.place > 0) {
        settle(h, *rank.place - 1, &rank);
        return;
    }
    ASSERT(h->count < h->room);
    rise(h, h->count++, &rank);
}

void rank_heap_remove(struct rank_heap *h, uint32_t *place)
{
    uint32_t at = *place - 1;
    struct rank last;

    ASSERT(*place > 0 && *place <= h->count);
    last = h->ranks[--h->count];
    *place = 0;
    if (at < h->count) {
        settle(h, at, &last);
    }
}

const struct rank *rank_heap_first_but(const struct rank_heap *h, const uint32_t *place)
{
    uint32_t second;

    if (h->count == 0 || h->ranks[0].place != place) {
        return rank_heap_first(h);
    }
    second = least_child(h, 0);
    return second < h->count ? &h->ranks[second] : NULL;
}
