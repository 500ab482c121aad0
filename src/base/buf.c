/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"

enum { FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_fini(struct buf *b)
{
    block_put(b->data, b->cap);
    *b = (struct buf){0};
}

static void move_to_front(struct buf *b)
{
    if (b->head > 0) {
        memmove(b->data, b->data + b->head, buf_len(b));
        b->tail -= b->head;
        b->head = 0;
    }
}

/* The content in memory for `cap` bytes; NULL: out of memory. */
static char *move_to(struct buf *b, size_t cap)
{
    char *data;

    if (b->cap > BLOCK_BYTES_MAX) {
        return realloc(b->data, cap);
    }
    data = block_get(cap);
    if (data != NULL && b->data != NULL) {
        memcpy(data, b->data, b->tail);
        block_put(b->data, b->cap);
    }
    return data;
}

/* Doubles, so that n appends cost O(n), but not beyond `enough`. */
static bool grow_to(struct buf *b, size_t need, size_t enough)
{
    size_t cap = b->cap < FIRST_BYTES ? FIRST_BYTES : b->cap;
    char *data;

    while (cap < need) {
        if (cap > SIZE_MAX / 2) {
            return false;
        }
        cap *= 2;
    }
    if (cap > enough && need <= enough) {
        cap = enough;
    }
    data = move_to(b, cap);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

/* Room for `n` bytes of content and `spare` behind them, which do not count against the limit. No
 * more than `enough` is made where that will do. */
static char *reserve(struct buf *b, size_t n, size_t spare, size_t enough)
{
    size_t len = buf_len(b);

    if (b->failed) {
        return NULL;
    }
    if (n > SIZE_MAX - len - spare || (b->max > 0 && len + n > b->max)) {
        b->failed = true;
        return NULL;
    }
    if (b->data != NULL && b->cap - b->tail >= n + spare) {
        return b->data + b->tail;
    }
    if (b->data != NULL && b->head >= len && b->cap >= len + n + spare) {
        /* Moving costs no more than what was consumed since the last time. */
        move_to_front(b);
        return b->data + b->tail;
    }
    if (!grow_to(b, len + n + spare > b->cap ? len + n + spare : b->cap + 1, enough)) {
        b->failed = true;
        return NULL;
    }
    move_to_front(b);
    return b->data + b->tail;
}

char *buf_reserve(struct buf *b, size_t n)
{
    return reserve(b, n, 0, SIZE_MAX);
}

void buf_commit(struct buf *b, size_t n)
{
    ASSERT(n <= b->cap - b->tail);
    b->tail += n;
}

static bool append(struct buf *b, struct slice s, size_t enough)
{
    char *at = reserve(b, s.len, 0, enough);

    if (at == NULL) {
        return false;
    }
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
        b->tail += s.len;
    }
    return true;
}

bool buf_append_slowly(struct buf *b, struct slice s)
{
    return append(b, s, SIZE_MAX);
}

bool buf_append_of(struct buf *b, struct slice s, size_t total_bytes)
{
    return append(b, s, total_bytes);
}

bool buf_append_uint(struct buf *b, uint64_t value)
{
    char text[20];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return buf_append(b, slice_of(text + at, sizeof(text) - at));
}

bool buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    char *at;
    int len;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (len < 0) {
        b->failed = true;
        return false;
    }
    at = reserve(b, (size_t)len, 1, SIZE_MAX);
    if (at == NULL) {
        return false;
    }
    (void)vsnprintf(at, (size_t)len + 1, fmt, args); /* the length was measured above */
    b->tail += (size_t)len;
    return true;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    bool ok;

    va_start(args, fmt);
    ok = buf_vprintf(b, fmt, args);
    va_end(args);
    return ok;
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= buf_len(b));
    b->head += n;
    if (b->head == b->tail) {
        b->head = b->tail = 0;
    }
}

void buf_clear(struct buf *b)
{
    b->head = b->tail = 0;
    b->failed = false;
}

void buf_release(struct buf *b)
{
    size_t max = b->max;

    buf_fini(b);
    b->max = max;
}

void buf_move(struct buf *dst, struct buf *src)
{
    size_t max = src->max;

    buf_fini(dst);
    *dst = *src;
    *src = (struct buf){.max = max};
}
