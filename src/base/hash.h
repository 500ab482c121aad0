/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes for tables, for telling equal things and for spreading keys (splitmix64, eight bytes at a
 * time). Where others choose the keys a secret seed keeps them from choosing collisions. Values are
 * of one process: they are not kept, nor sent. */
#ifndef MCP_BASE_HASH_H
#define MCP_BASE_HASH_H

#include <stdint.h>
#include <string.h>

#include "base/slice.h"

static inline uint64_t hash_number(uint64_t seed, uint64_t x)
{
    x += seed + 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

/* `seed` may be the hash of what stands before. */
static inline uint64_t hash_bytes(uint64_t seed, struct slice bytes)
{
    uint64_t hash = hash_number(seed, bytes.len), word;

    for (; bytes.len >= sizeof(word); bytes = slice_skip(bytes, sizeof(word))) {
        memcpy(&word, bytes.ptr, sizeof(word));
        hash = hash_number(hash, word);
    }
    if (bytes.len > 0) {
        word = 0;
        memcpy(&word, bytes.ptr, bytes.len);
        hash = hash_number(hash, word);
    }
    return hash;
}

#endif
