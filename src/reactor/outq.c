/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/outq.h"

#include <stdint.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"

struct segment {
    struct segment *next;
    char *data; /* `room`, a buffer taken over, or, with a lease, where it was received */
    size_t head;
    size_t tail;
    size_t cap;
    struct lease *lease;
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
        s->lease = NULL;
    }
    return s;
}

static void segment_free(struct outq *q, struct segment *s)
{
    if (s->lease != NULL) {
        q->leased--;
        lease_give(s->lease);
        block_put(s, sizeof(*s));
    } else if (s->data != s->room) {
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
    bool is_little = q->last == NULL || q->last->lease != NULL;
    size_t least =
        (is_little ? (size_t)OUTQ_FIRST_BYTES : (size_t)OUTQ_CHUNK_BYTES) - sizeof(struct segment);

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

static bool is_within(struct slice whole, struct slice s)
{
    uintptr_t from = (uintptr_t)whole.ptr;
    uintptr_t at = (uintptr_t)s.ptr;

    return at >= from && at - from <= whole.len && s.len <= whole.len - (at - from);
}

/* Framing is a few bytes, for which a call costs more than they do. */
static inline bool stands_at(const char *at, struct slice bytes)
{
    uint32_t a = 0;
    uint32_t b = 0;

    if (at == bytes.ptr) {
        return true;
    }
    if (bytes.len < 2 || bytes.len > 4) {
        return memcmp(at, bytes.ptr, bytes.len) == 0;
    }
    /* Two halves, which overlap where it is three bytes. */
    memcpy(&a, at, 2);
    memcpy((char *)&a + 2, at + bytes.len - 2, 2);
    memcpy(&b, bytes.ptr, 2);
    memcpy((char *)&b + 2, bytes.ptr + bytes.len - 2, 2);
    return a == b;
}

/* How many of the pieces stand one behind the other where a reference at the queue's end ends; they
 * belong to it then. */
static size_t go_on(struct outq *q, const struct slice *pieces, size_t count,
                    const struct leased *in)
{
    struct segment *s = q->last;
    const char *at;
    size_t left;
    size_t i;

    if (s == NULL || s->lease != in->lease) {
        return 0;
    }
    at = s->data + s->tail;
    if (!is_within(in->bytes, slice_of(at, 0))) {
        return 0;
    }
    left = in->bytes.len - (size_t)(at - in->bytes.ptr);
    for (i = 0; i < count && pieces[i].len <= left && stands_at(at, pieces[i]); i++) {
        at += pieces[i].len;
        left -= pieces[i].len;
    }
    q->len += (size_t)(at - s->data) - s->tail;
    s->tail = (size_t)(at - s->data);
    return i;
}

/* Where to refer to a piece that begins an entry of a writev; NULL: it is to be copied. Framing may
 * stand before what follows it. */
static const char *place_of(struct slice piece, struct slice next, struct slice in)
{
    if (is_within(in, piece)) {
        return piece.len >= OUTQ_LEASE_BYTES ? piece.ptr : NULL;
    }
    if (next.len > 0 && is_within(in, next) && (size_t)(next.ptr - in.ptr) >= piece.len &&
        stands_at(next.ptr - piece.len, piece)) {
        return next.ptr - piece.len;
    }
    return NULL;
}

static bool refer(struct outq *q, const char *at, size_t bytes, struct lease *lease)
{
    struct segment *s = segment_new(0);

    if (s == NULL) {
        return false;
    }
    memcpy(&s->data, &at, sizeof(at)); /* it is not written to */
    s->tail = bytes;
    s->lease = lease;
    lease_take(lease);
    push_segment(q, s);
    q->len += bytes;
    q->leased++;
    return true;
}

bool outq_append_leased(struct outq *q, const struct slice *pieces, size_t count,
                        const struct leased *in)
{
    bool ok = true;

    for (size_t i = go_on(q, pieces, count, in); ok && i < count;
         i += go_on(q, pieces + i, count - i, in)) {
        struct slice piece = pieces[i++];
        const char *at = place_of(piece, i < count ? pieces[i] : SLICE(""), in->bytes);

        ok = at != NULL ? refer(q, at, piece.len, in->lease) : outq_append(q, piece);
    }
    return ok;
}

bool outq_own(struct outq *q)
{
    for (struct segment **at = &q->first; q->leased > 0; at = &(*at)->next) {
        struct segment *s = *at;
        struct segment *own;

        if (s->lease == NULL) {
            continue;
        }
        own = segment_new(s->tail - s->head);
        if (own == NULL) {
            return false;
        }
        (void)segment_fill(own, slice_of(s->data + s->head, s->tail - s->head)); /* it has room */
        own->next = s->next;
        *at = own;
        if (q->last == s) {
            q->last = own;
        }
        segment_free(q, s);
    }
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
        segment_free(q, s);
    }
}

void outq_clear(struct outq *q)
{
    outq_consume(q, q->len);
}
