/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive hash tables: chains of `struct map_link` by a 64-bit hash. Who looks compares keys
 * itself. The table grows when it can; when memory is out, chains get longer and nothing fails. */
#ifndef MCP_SCHED_MAP_H
#define MCP_SCHED_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_link {
    struct map_link *next;
    uint64_t hash;
};

struct map {
    struct map_link **chains;
    size_t mask;
    size_t count;
};

/* False: out of memory. */
bool map_init(struct map *m, size_t chains); /* a power of two */
void map_fini(struct map *m);
void map_add(struct map *m, struct map_link *l, uint64_t hash);
void map_remove(struct map *m, struct map_link *l);
/* The first with this hash, and the next one behind it. */
struct map_link *map_find(const struct map *m, uint64_t hash);
struct map_link *map_next(const struct map_link *l);

#define MAP_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
