/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated model says: words of SIM_WORD_BYTES bytes and unit vectors that follow from a
 * hash of the prompt (so the same prompt has the same answer), and the chain of hashes by which the
 * prompt cache knows a text. A token is SIM_WORD_BYTES bytes of any text. Pure. */
#ifndef MCP_SIM_WORDS_H
#define MCP_SIM_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { SIM_WORD_BYTES = 4 };

/* How many tokens a text of so many bytes has; at least 1. */
uint32_t sim_token_count(uint64_t bytes);

struct slice sim_word(uint64_t hash, uint32_t n);
bool sim_words_append(struct buf *out, uint64_t hash, uint32_t count);

/* Appends "[0.123456,...]", of length 1. */
bool sim_vector_append(struct buf *out, uint64_t hash, uint32_t dimensions);

/* Zeroed is empty. */
struct sim_chain {
    uint64_t hash; /* of everything so far */
    uint64_t bytes;
    uint64_t *blocks; /* the hash at the end of each SIM_BLOCK_TOKENS; NULL: not kept */
    size_t count;
    size_t cap;
    bool keeps_blocks;
};

void sim_chain_reset(struct sim_chain *chain, uint64_t seed, bool keeps_blocks);
void sim_chain_fini(struct sim_chain *chain);
/* Out of memory: blocks are missing from there on, so less is found in the cache. */
void sim_chain_add(struct sim_chain *chain, struct slice text);

#endif
