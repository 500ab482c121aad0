/* SPDX-License-Identifier: Apache-2.0 */
/* Things of one size that come and go: memory is taken a page at a time, kept until the end, and
 * used again at once. Those of a cache line or more begin with one. */
#ifndef MCP_SCHED_SLAB_H
#define MCP_SCHED_SLAB_H

#include <stddef.h>

struct slab {
    size_t size; /* of one, rounded up */
    void *free;  /* chained by their first word */
    void *pages;
};

void slab_init(struct slab *slab, size_t size);
void slab_fini(struct slab *slab); /* and all that is in it */
void *slab_get(struct slab *slab); /* zeroed; NULL: out of memory */
void slab_put(struct slab *slab, void *ptr);

#endif
