/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, one sequence at a time: strict (no overlong forms, no surrogates, nothing above U+10FFFF).
 * Pure. */
#ifndef MCP_BASE_UTF8_H
#define MCP_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define UTF8_REPLACEMENT 0xFFFDU

static inline bool utf8_is_tail(char c)
{
    return ((unsigned char)c & 0xC0U) == 0x80U;
}

/* How many bytes (2 to 4) the sequence at `p` has, whose first byte is not ASCII; 0 where it is not
 * well formed or does not end within `avail` bytes (at least 1). */
static inline size_t utf8_sequence(const char *p, size_t avail)
{
    unsigned char first = (unsigned char)p[0];
    unsigned char second = avail > 1 ? (unsigned char)p[1] : 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t len;

    if (first < 0xC2 || first > 0xF4) {
        return 0;
    }
    if (first < 0xE0) {
        len = 2;
    } else if (first < 0xF0) {
        len = 3;
        low = first == 0xE0 ? 0xA0 : low;
        high = first == 0xED ? 0x9F : high;
    } else {
        len = 4;
        low = first == 0xF0 ? 0x90 : low;
        high = first == 0xF4 ? 0x8F : high;
    }
    if (avail < len || second < low || second > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (!utf8_is_tail(p[i])) {
            return 0;
        }
    }
    return len;
}

/* Writes `code` (at most U+10FFFF); returns how many bytes (1 to 4). */
static inline size_t utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0U | code >> 6);
        out[1] = (char)(0x80U | (code & 0x3FU));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0U | code >> 12);
        out[1] = (char)(0x80U | (code >> 6 & 0x3FU));
        out[2] = (char)(0x80U | (code & 0x3FU));
        return 3;
    }
    out[0] = (char)(0xF0U | code >> 18);
    out[1] = (char)(0x80U | (code >> 12 & 0x3FU));
    out[2] = (char)(0x80U | (code >> 6 & 0x3FU));
    out[3] = (char)(0x80U | (code & 0x3FU));
    return 4;
}

/* At most the first `max_bytes` bytes, without cutting a sequence in two. */
static inline struct slice utf8_first(struct slice s, size_t max_bytes)
{
    size_t len = max_bytes;

    if (s.len <= max_bytes) {
        return s;
    }
    for (int back = 0; back < 3 && len > 0 && utf8_is_tail(s.ptr[len]); back++) {
        len--;
    }
    return slice_first(s, utf8_is_tail(s.ptr[len]) ? max_bytes : len);
}

#endif
