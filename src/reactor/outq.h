/* SPDX-License-Identifier: Apache-2.0 */
/* Output waiting for a socket: a list of segments. Small writes are copied into blocks, a little
 * one first, so that the usual short answer stays in the cache; large buffers are taken as they
 * are. Bytes never move once queued, so a writev under way stays valid while more is appended. */
#ifndef MCP_REACTOR_OUTQ_H
#define MCP_REACTOR_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    OUTQ_FIRST_BYTES = 1024,      /* the first segment with its header, at least */
    OUTQ_CHUNK_BYTES = 16 * 1024, /* a later one, at least */
    OUTQ_TAKE_BYTES = 4 * 1024,   /* a smaller buffer is copied rather than taken */
};

struct segment;

struct outq {
    struct segment *first;
    struct segment *last;
    size_t len;
};

/* False: out of memory, and what was queued may lack its end. */
bool outq_append(struct outq *q, struct slice bytes);
/* Empties `bytes`, also on failure. */
bool outq_append_take(struct outq *q, struct buf *bytes);
/* Fills up to `max` entries from the head; returns how many and in `total` the bytes. */
int outq_iov(const struct outq *q, struct iovec *iov, int max, size_t *total);
void outq_consume(struct outq *q, size_t n);
void outq_clear(struct outq *q);

#endif
