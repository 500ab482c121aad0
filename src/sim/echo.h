/* SPDX-License-Identifier: Apache-2.0 */
/* Whole replies of profile echo as bytes, made once for each kind of request. */
#ifndef MCP_SIM_ECHO_H
#define MCP_SIM_ECHO_H

#include "base/buf.h"
#include "sim/answer.h"

enum { SIM_ECHO_ENTRIES = 16, SIM_ECHO_TOKENS_MAX = 1024 };

struct sim_echo {
    enum sim_op op;
    bool stream;
    bool usage;
    bool cut_short;
    uint32_t tokens;
    struct buf model;
    unsigned users; /* replies under way that are written piece by piece */

    struct buf bytes;
    size_t first_end; /* of head and first part */
    size_t part_len;  /* of each further part */
    size_t last_at;
};

struct sim_echo_cache {
    struct sim_echo entries[SIM_ECHO_ENTRIES];
    size_t next; /* to be replaced */
};

void sim_echo_cache_fini(struct sim_echo_cache *cache);
/* The reply to a request that these members of `a` describe: op, model, usage, cut_short, tokens.
 * Valid while it has users, else until the next is made. NULL: not made yet. */
struct sim_echo *sim_echo_find(struct sim_echo_cache *cache, const struct sim_answer *a,
                               bool stream);
/* Makes it; now all members are read. NULL: out of memory, no tokens or too many, or all places are
 * in use. */
struct sim_echo *sim_echo_make(struct sim_echo_cache *cache, const struct sim_answer *a,
                               bool stream, uint64_t hash);
/* The `n`-th of tokens + 1 pieces: the first has the head, the last one the end. */
struct slice sim_echo_piece(const struct sim_echo *e, uint32_t n);

#endif
