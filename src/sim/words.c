/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/engine.h"
#include "sim/random.h"

static const char words[] = " the fox ran out and saw one red hen its egg was not big but did "
                            "lie low all day two men ate pie who can say why sun sea sky";
enum {
    WORD_COUNT = (sizeof(words) - 1) / SIM_WORD_BYTES,
    BLOCK_BYTES = SIM_BLOCK_TOKENS * SIM_WORD_BYTES,
    MILLION = 1000000,
};

uint32_t sim_token_count(uint64_t bytes)
{
    uint64_t tokens = (bytes + SIM_WORD_BYTES - 1) / SIM_WORD_BYTES;

    return tokens == 0 ? 1 : tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}

struct slice sim_word(uint64_t hash, uint32_t n)
{
    return slice_of(words + sim_mix(hash + n) % WORD_COUNT * SIM_WORD_BYTES, SIM_WORD_BYTES);
}

bool sim_words_append(struct buf *out, uint64_t hash, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)buf_append(out, sim_word(hash, i)); /* a failure is kept */
    }
    return !buf_failed(out);
}

/* --- vectors
 * ------------------------------------------------------------------------------------------- */

/* -1 to 1 */
static double element(uint64_t hash, uint32_t n)
{
    return (double)(int64_t)sim_mix(hash + n) / 9.3e18;
}

bool sim_vector_append(struct buf *out, uint64_t hash, uint32_t dimensions)
{
    double sum = 0, scale;

    for (uint32_t i = 0; i < dimensions; i++) {
        sum += element(hash, i) * element(hash, i);
    }
    scale = MILLION / sqrt(sum);
    for (uint32_t i = 0; i < dimensions; i++) {
        /* printf of a double takes far longer, and many of these are written. */
        int32_t value = (int32_t)lround(element(hash, i) * scale);
        uint32_t digits = (uint32_t)abs(value);
        char text[] = ",-0.000000";

        text[0] = i == 0 ? '[' : ',';
        text[2] = (char)('0' + digits / MILLION);
        if (digits >= MILLION) {
            digits = 0;
        }
        for (size_t at = sizeof(text) - 2; digits > 0; digits /= 10) {
            text[at--] = (char)('0' + digits % 10);
        }
        if (value < 0) {
            (void)buf_append(out, slice_of(text, sizeof(text) - 1)); /* a failure is kept */
        } else {
            (void)buf_append_byte(out, text[0]);
            (void)buf_append(out, slice_of(text + 2, sizeof(text) - 3));
        }
    }
    return buf_append_byte(out, ']');
}

/* --- chains
 * -------------------------------------------------------------------------------------------- */

void sim_chain_reset(struct sim_chain *chain, uint64_t seed, bool keeps_blocks)
{
    chain->hash = sim_mix(seed + 1);
    chain->bytes = 0;
    chain->count = 0;
    chain->keeps_blocks = keeps_blocks;
}

void sim_chain_fini(struct sim_chain *chain)
{
    free(chain->blocks);
    *chain = (struct sim_chain){0};
}

static void keep_block(struct sim_chain *chain)
{
    if (chain->count == chain->cap) {
        size_t cap = chain->cap == 0 ? 64 : 2 * chain->cap;
        uint64_t *blocks = realloc(chain->blocks, cap * sizeof(*blocks));

        if (blocks == NULL) {
            chain->keeps_blocks = false; /* a hole would make all behind it another text's */
            return;
        }
        chain->blocks = blocks;
        chain->cap = cap;
    }
    chain->blocks[chain->count++] = sim_mix(chain->hash);
}

void sim_chain_add(struct sim_chain *chain, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        chain->hash = (chain->hash ^ (unsigned char)text.ptr[i]) * 0x100000001B3U;
        chain->bytes++;
        if (chain->bytes % BLOCK_BYTES == 0 && chain->keeps_blocks) {
            keep_block(chain);
        }
    }
}
