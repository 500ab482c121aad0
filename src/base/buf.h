/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte queue: appended at the tail, consumed at the head. Embedded
 * (`buf_init`/`buf_fini`); owns its memory, one thread. A failed append (out of memory, or beyond
 * `max`) is sticky: the content stays as it was, later appends fail too, and `buf_failed` tells, so
 * that a writer may check once at the end. Zero-initialised is a valid empty buf without a limit.
 */
#ifndef MCP_BASE_BUF_H
#define MCP_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

struct buf {
    char *data;
    size_t head; /* first byte not consumed */
    size_t tail; /* behind the last byte */
    size_t cap;
    size_t max; /* most bytes held at once; 0: no limit */
    bool failed;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}

/* The content; valid until the next call that is not const. Never a NULL pointer. */
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data == NULL ? "" : b->data + b->head, b->tail - b->head};
}

/* Room for `n` more bytes: where to write them, or NULL (then failed is set). Follow with
 * `buf_commit` of what was written. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

bool buf_append_slowly(struct buf *b, struct slice s); /* buf_append where room is to be made */

/* buf_append for a content of which the end is known: its memory does not grow beyond `total_bytes`
 * before the content does. */
bool buf_append_of(struct buf *b, struct slice s, size_t total_bytes);

/* All return false on failure. */
static inline bool buf_append(struct buf *b, struct slice s)
{
    if (s.len > 0 && b->cap - b->tail >= s.len && b->max == 0 && !b->failed) {
        memcpy(b->data + b->tail, s.ptr, s.len);
        b->tail += s.len;
        return true;
    }
    return buf_append_slowly(b, s);
}

static inline bool buf_append_byte(struct buf *b, char c)
{
    return buf_append(b, (struct slice){&c, 1});
}

static inline bool buf_append_str(struct buf *b, const char *str)
{
    return buf_append(b, slice_str(str));
}

bool buf_append_uint(struct buf *b, uint64_t value);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool buf_vprintf(struct buf *b, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Drops `n` bytes at the head; `n` is at most the length. An emptied buf keeps its memory. */
void buf_consume(struct buf *b, size_t n);
/* Empties it and clears the failure; keeps the memory. */
void buf_clear(struct buf *b);
/* Empties it and gives the memory back. */
void buf_release(struct buf *b);
/* Moves the content of `src` to `dst` (which is released first); `src` is empty afterwards. */
void buf_move(struct buf *dst, struct buf *src);

#endif
