/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/outq.h"

#include <stdint.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"

struct segment {
    struct segment *next;
    char *data; /* `room`, or a buffer taken over */
    size_t head;
    size_t tail;
    size_t cap;
    char room[];
};

/* Room for `bytes` at least; 0: for none, `data` is to be set. */
static struct segment *segment_new(size_t bytes)
{
    size_t size = block_room(sizeof(struct segment) + bytes);
    struct segment *s = bytes > SIZE_MAX / 2 ? NULL : block_get(size);

    if (s != NULL) {
        s->next = NULL;
        s->data = s->room;
        s->head = s->tail = 0;
        s->cap = size - sizeof(*s);
    }
    return s;
}

static void segment_free(struct segment *s)
{
    if (s->data != s->room) {
        block_put(s->data, s->cap);
        block_put(s, sizeof(*s));
    } else {
        block_put(s, sizeof(*s) + s->cap);
    }
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

static size_t segment_room(const struct outq *q, size_t bytes)
{
    size_t least = (q->first == NULL ? (size_t)OUTQ_FIRST_BYTES : (size_t)OUTQ_CHUNK_BYTES) -
                   sizeof(struct segment);

    return bytes > least ? bytes : least;
}

bool outq_append(struct outq *q, struct slice bytes)
{
    if (bytes.len == 0) {
        return true;
    }
    if (q->last != NULL && q->last->data == q->last->room) {
        size_t n = segment_fill(q->last, bytes);

        q->len += n;
        bytes = slice_skip(bytes, n);
    }
    if (bytes.len > 0) {
        struct segment *s = segment_new(segment_room(q, bytes.len));

        if (s == NULL) {
            return false;
        }
        push_segment(q, s);
        q->len += segment_fill(s, bytes);
    }
    return true;
}

bool outq_append_take(struct outq *q, struct buf *bytes)
{
    struct segment *s;

    if (buf_len(bytes) < OUTQ_TAKE_BYTES) {
        bool ok = outq_append(q, buf_slice(bytes));

        buf_clear(bytes);
        return ok;
    }
    s = segment_new(0);
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

void outq_consume(struct outq *q, size_t n)
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
        segment_free(s);
    }
}

void outq_clear(struct outq *q)
{
    outq_consume(q, q->len);
}
