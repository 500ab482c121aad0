/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson, Bernstein 2012): a hash of short texts that nobody can foresee or try out
 * without the key. Pure. */
#ifndef MCP_BASE_SIPHASH_H
#define MCP_BASE_SIPHASH_H

#include <stdint.h>

#include "base/slice.h"

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash(const struct siphash_key *key, struct slice bytes);

#endif
