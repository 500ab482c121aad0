/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/outq.h"

#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"

struct segment {
    struct segment *next;
    char *data; /* `room`, or a buffer taken over, which is freed */
    size_t head;
    size_t tail;
    size_t cap;
    bool chunk; /* goes back to the pool */
    char room[];
};

enum { CHUNK_ROOM = OUTQ_CHUNK_BYTES - (int)sizeof(struct segment) };

void chunk_pool_fini(struct chunk_pool *pool)
{
    while (pool->free != NULL) {
        struct segment *s = pool->free;

        pool->free = s->next;
        free(s);
    }
    pool->count = 0;
}

static struct segment *segment_new(struct chunk_pool *pool, size_t room)
{
    bool chunk = room <= (size_t)CHUNK_ROOM && room > 0;
    struct segment *s = pool->free;

    if (chunk && s != NULL) {
        pool->free = s->next;
        pool->count--;
    } else {
        if (chunk) {
            room = (size_t)CHUNK_ROOM;
        }
        s = room > SIZE_MAX - sizeof(*s) ? NULL : malloc(sizeof(*s) + room);
        if (s == NULL) {
            return NULL;
        }
        s->cap = room;
        s->chunk = chunk;
    }
    s->next = NULL;
    s->data = s->room;
    s->head = s->tail = 0;
    return s;
}

static void segment_free(struct segment *s, struct chunk_pool *pool)
{
    if (s->chunk && pool->count < OUTQ_CHUNKS_KEPT) {
        s->next = pool->free;
        pool->free = s;
        pool->count++;
        return;
    }
    if (s->data != s->room) {
        block_put(s->data, s->cap);
    }
    free(s);
}

static void push_segment(struct outq *q, struct segment *s)
{
    if (q->last == NULL) {
        q->first = s;
    } else {
        q->last->next = s;
    }
    q->last = s;
}

static size_t segment_fill(struct segment *s, struct slice bytes)
{
    size_t n = s->cap - s->tail < bytes.len ? s->cap - s->tail : bytes.len;

    memcpy(s->data + s->tail, bytes.ptr, n);
    s->tail += n;
    return n;
}

bool outq_append(struct outq *q, struct chunk_pool *pool, struct slice bytes)
{
    if (bytes.len == 0) {
        return true;
    }
    if (q->last != NULL && q->last->chunk) {
        size_t n = segment_fill(q->last, bytes);

        q->len += n;
        bytes = slice_skip(bytes, n);
    }
    if (bytes.len > 0) {
        struct segment *s = segment_new(pool, bytes.len);

        if (s == NULL) {
            return false;
        }
        push_segment(q, s);
        q->len += segment_fill(s, bytes);
    }
    return true;
}

bool outq_append_take(struct outq *q, struct chunk_pool *pool, struct buf *bytes)
{
    struct segment *s;

    if (buf_len(bytes) < OUTQ_TAKE_BYTES) {
        bool ok = outq_append(q, pool, buf_slice(bytes));

        buf_clear(bytes);
        return ok;
    }
    s = segment_new(pool, 0);
    if (s == NULL) {
        buf_release(bytes);
        return false;
    }
    s->data = bytes->data;
    s->head = bytes->head;
    s->tail = bytes->tail;
    s->cap = bytes->cap;
    buf_init(bytes, bytes->max);
    push_segment(q, s);
    q->len += s->tail - s->head;
    return true;
}

int outq_iov(const struct outq *q, struct iovec *iov, int max, size_t *total)
{
    int count = 0;

    *total = 0;
    for (struct segment *s = q->first; s != NULL && count < max; s = s->next) {
        iov[count].iov_base = s->data + s->head;
        iov[count].iov_len = s->tail - s->head;
        *total += iov[count].iov_len;
        count++;
    }
    return count;
}

void outq_consume(struct outq *q, struct chunk_pool *pool, size_t n)
{
    ASSERT(n <= q->len);
    q->len -= n;
    while (q->first != NULL) {
        struct segment *s = q->first;
        size_t here = s->tail - s->head;

        if (n < here) {
            s->head += n;
            return;
        }
        n -= here;
        q->first = s->next;
        if (q->first == NULL) {
            q->last = NULL;
        }
        segment_free(s, pool);
    }
}

void outq_clear(struct outq *q, struct chunk_pool *pool)
{
    outq_consume(q, pool, q->len);
}
