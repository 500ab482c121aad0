/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for what comes and goes with every request. What is given back is kept by the thread that
 * gave it, by size, so that a loop that is warmed up allocates nothing; bounded, and let go when it
 * is not used (blocks_trim). The content of a kept block is stale. Under a sanitizer nothing is
 * kept, as reuse would hide what it looks for. */
#ifndef MCP_BASE_BLOCK_H
#define MCP_BASE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

enum {
    BLOCK_BYTES_MIN = 64,
    BLOCK_BYTES_MAX = 16 * 1024,      /* larger ones come from malloc and go to free */
    BLOCK_CLASS_KEPT_BYTES = 1 << 20, /* kept of each size at most */
};

/* NULL: out of memory. Give it back with the same size. */
void *block_get(size_t size);
void *block_get_zeroed(size_t size);
void block_take_back(void *ptr, size_t size); /* not NULL */
/* Half of what is given back on the way of a request is nothing. */
static inline void block_put(void *ptr, size_t size)
{
    if (ptr != NULL) {
        block_take_back(ptr, size);
    }
}
/* How much block_get(size) really gives; also a size that it may be given back with. */
size_t block_room(size_t size);

/* Bytes that this thread keeps. */
size_t blocks_kept(void);
/* Frees what this thread has kept and not used since the last time. */
void blocks_trim(void);
/* Frees all that this thread keeps: for the end of a thread. */
void blocks_release(void);
/* Whether this process keeps blocks; for tests. */
void blocks_set_keeping(bool keeping);

#endif
