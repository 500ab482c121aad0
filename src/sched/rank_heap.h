/* SPDX-License-Identifier: Apache-2.0 */
/* Heaps in an array, with four children to an element and the keys beside each other, so that
 * finding what comes first takes few cache lines and about as long each time. An element keeps
 * track of its place itself. Memory comes from a pool that keeps what is given back. */
#ifndef MCP_SCHED_RANK_HEAP_H
#define MCP_SCHED_RANK_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The least comes first. */
struct rank {
    uint64_t first, second, third;
    uint32_t *place; /* in the element: counted from 1; 0: it is in no heap */
};

struct rank_heap {
    struct rank *ranks;
    uint32_t count, room;
};

enum { RANK_POOL_SIZES = 24 };

struct rank_pool {
    void *free[RANK_POOL_SIZES]; /* by size, chained by their first word */
};

void rank_pool_fini(struct rank_pool *p);

/* Room for so many in all. False: out of memory. */
bool rank_heap_reserve(struct rank_heap *h, struct rank_pool *p, size_t count);
/* Gives its memory back. */
void rank_heap_release(struct rank_heap *h, struct rank_pool *p);
/* One more, for which there is room, or another rank for one that is there. */
void rank_heap_put(struct rank_heap *h, struct rank rank);
void rank_heap_remove(struct rank_heap *h, uint32_t *place);
/* The first but this one, which may be there or not; NULL: there is no other. */
const struct rank *rank_heap_first_but(const struct rank_heap *h, const uint32_t *place);

static inline const struct rank *rank_heap_first(const struct rank_heap *h)
{
    return h->count == 0 ? NULL : &h->ranks[0];
}

static inline bool rank_before(const struct rank *a, const struct rank *b)
{
    if (a->first != b->first) {
        return a->first < b->first;
    }
    return a->second != b->second ? a->second < b->second : a->third < b->third;
}

/* In the order of numbers that are not negative. */
static inline uint64_t rank_of_double(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

#endif
