/* SPDX-License-Identifier: Apache-2.0 */
/* Output waiting for a socket: a list of segments. Small writes are copied into chunks that a pool
 * (one per loop) keeps, so that they cost no allocation; large buffers are taken as they are. Bytes
 * never move once queued, so a writev under way stays valid while more is appended. */
#ifndef MCP_REACTOR_OUTQ_H
#define MCP_REACTOR_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    OUTQ_CHUNK_BYTES = 16 * 1024, /* a chunk with its header */
    OUTQ_CHUNKS_KEPT = 512,       /* most a pool keeps for later: 8 MiB */
    OUTQ_TAKE_BYTES = 4 * 1024,   /* a smaller buffer is copied rather than taken */
};

struct segment;

struct chunk_pool {
    struct segment *free;
    size_t count;
};

struct outq {
    struct segment *first;
    struct segment *last;
    size_t len;
};

void chunk_pool_fini(struct chunk_pool *pool);

/* False: out of memory, and what was queued may lack its end. */
bool outq_append(struct outq *q, struct chunk_pool *pool, struct slice bytes);
/* Empties `bytes`, also on failure. */
bool outq_append_take(struct outq *q, struct chunk_pool *pool, struct buf *bytes);
/* Fills up to `max` entries from the head; returns how many and in `total` the bytes. */
int outq_iov(const struct outq *q, struct iovec *iov, int max, size_t *total);
void outq_consume(struct outq *q, struct chunk_pool *pool, size_t n);
void outq_clear(struct outq *q, struct chunk_pool *pool);

#endif
