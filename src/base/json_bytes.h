/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of bytes within JSON text, many at a time: sixteen with SSE2, which every x86-64 has, else
 * eight in a word. Never reads at or behind `end`. The portable ones are compiled everywhere, so
 * that a test can compare both. */
#ifndef MCP_BASE_JSON_BYTES_H
#define MCP_BASE_JSON_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define JSON_ONES (UINT64_MAX / 0xFF)
#define JSON_HIGHS (JSON_ONES * 0x80)

/* Stands for itself in a string and is ASCII: no quote, backslash or control character. */
static inline bool json_byte_is_plain(char c)
{
    return c >= ' ' && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The first byte from `p` on that is not plain; `end` where all are. */
static inline const char *json_skip_plain_portable(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word;
        uint64_t special;

        memcpy(&word, p, sizeof(word));
        /* Sets the high bit of each special byte; a borrow spoils only the bytes above one. */
        special = ((word ^ (JSON_ONES * '"')) - JSON_ONES) |
                  ((word ^ (JSON_ONES * '\\')) - JSON_ONES) | (word - JSON_ONES * 0x20) | word;
        if ((special & JSON_HIGHS) != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + __builtin_ctzll(special & JSON_HIGHS) / 8;
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < end && json_byte_is_plain(*p)) {
        p++;
    }
    return p;
}

/* The first byte from `p` on that is no decimal digit; `end` where all are. */
static inline const char *json_skip_digits_portable(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

#ifdef __SSE2__

static inline __m128i json_load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline const char *json_skip_plain(const char *p, const char *end)
{
    while (end - p >= 16) {
        __m128i bytes = json_load16(p);
        /* Signed: what is not ASCII is below a blank too. */
        __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
                                       _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')));
        unsigned mask = (unsigned)_mm_movemask_epi8(special);

        if (mask != 0) {
            return p + (unsigned)__builtin_ctz(mask);
        }
        p += 16;
    }
    return json_skip_plain_portable(p, end);
}

static inline const char *json_skip_digits(const char *p, const char *end)
{
    while (end - p >= 16) {
        __m128i value = _mm_sub_epi8(json_load16(p), _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value);
        unsigned mask = (unsigned)_mm_movemask_epi8(digit) ^ 0xFFFFU;

        if (mask != 0) {
            return p + (unsigned)__builtin_ctz(mask);
        }
        p += 16;
    }
    return json_skip_digits_portable(p, end);
}

#else

static inline const char *json_skip_plain(const char *p, const char *end)
{
    return json_skip_plain_portable(p, end);
}

static inline const char *json_skip_digits(const char *p, const char *end)
{
    return json_skip_digits_portable(p, end);
}

#endif
#endif
