/* SPDX-License-Identifier: Apache-2.0 */
/* Output waiting for a socket: a list of segments. Small writes are copied into blocks, a little
 * one first, so that the usual short answer stays in the cache; large buffers are taken as they
 * are. What was just received may be referred to instead, where it stands: it is not copied, and
 * what is framed as it came (a chunk of a stream) is one entry of a writev with its framing. Bytes
 * never move once queued (but by outq_own), so a writev under way stays valid while more is
 * appended. */
#ifndef MCP_REACTOR_OUTQ_H
#define MCP_REACTOR_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/slice.h"
#include "reactor/lease.h"

enum {
    OUTQ_FIRST_BYTES = 1024,      /* the first segment with its header, at least */
    OUTQ_CHUNK_BYTES = 16 * 1024, /* a later one, at least */
    OUTQ_TAKE_BYTES = 4 * 1024,   /* a smaller buffer is copied rather than taken */
    OUTQ_LEASE_BYTES = 512,       /* fewer are copied where they need an entry for themselves: the
                                     kernel would spend more on that */
};

struct segment;

struct outq {
    struct segment *first;
    struct segment *last;
    size_t len;
    size_t leased; /* segments that are only referred to */
};

/* False: out of memory, and what was queued may lack its end. */
bool outq_append(struct outq *q, struct slice bytes);
/* The same for some pieces, which may stand in what is being handed over. */
bool outq_append_leased(struct outq *q, const struct slice *pieces, size_t count,
                        const struct leased *in);
/* Copies what is only referred to, so that it does not hold on to where it was received. No writev
 * may be under way. */
bool outq_own(struct outq *q);
/* Empties `bytes`, also on failure. */
bool outq_append_take(struct outq *q, struct buf *bytes);
/* Fills up to `max` entries from the head; returns how many and in `total` the bytes. */
int outq_iov(const struct outq *q, struct iovec *iov, int max, size_t *total);
void outq_consume(struct outq *q, size_t n);
void outq_clear(struct outq *q);

#endif
