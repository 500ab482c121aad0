/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes: pointer and length, passed by value, never owned, not terminated.
 * Valid until the call that received it returns unless a header says longer. */
#ifndef MCP_BASE_SLICE_H
#define MCP_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

/* A string literal as a slice. */
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/* For "%.*s". */
#define SLICE_ARG(s) ((int)(s).len), ((s).ptr)

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

static inline struct slice slice_str(const char *str)
{
    return (struct slice){str, str == NULL ? 0 : strlen(str)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII letters compared without case. Most differ in the first, which spares the call. */
static inline bool slice_eq_case(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || (((a.ptr[0] ^ b.ptr[0]) & ~0x20) == 0 &&
                                             strncasecmp(a.ptr, b.ptr, a.len) == 0));
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* What follows the first `n` bytes; `n` is at most the length. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
    return n == 0 ? s : (struct slice){s.ptr + n, s.len - n}; /* NULL + 0 is undefined in C */
}

static inline struct slice slice_first(struct slice s, size_t n)
{
    return (struct slice){s.ptr, n < s.len ? n : s.len};
}

/* Copies to `*at`, which moves behind the copy. */
static inline struct slice slice_keep(struct slice s, char **at)
{
    char *copy = *at;

    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    *at += s.len;
    return (struct slice){copy, s.len};
}

/* Copies to `out` as a string; what does not fit is cut. */
static inline void slice_copy(struct slice s, char *out, size_t size)
{
    size_t len = s.len < size ? s.len : size - 1;

    if (len > 0) {
        memcpy(out, s.ptr, len);
    }
    out[len] = '\0';
}

/* A copy as a string, to be freed; NULL: out of memory. (strndup is for strings: checked builds
 * look for their end.) */
static inline char *slice_dup(struct slice s)
{
    char *copy = (char *)malloc(s.len + 1);

    if (copy != NULL) {
        slice_copy(s, copy, s.len + 1);
    }
    return copy;
}

/* Without spaces and tabs at either end. */
static inline struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = slice_skip(s, 1);
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

#endif
