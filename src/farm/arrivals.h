/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that nobody made: conversations begin at random (Poisson), in bursts if need be, of
 * tenants and for models of which some are more frequent than others; lengths are log-normal. Turns
 * come when they come, not when the one before was answered, so every policy has the same ones.
 * Pure; memory for the conversations under way. */
#ifndef MCP_FARM_ARRIVALS_H
#define MCP_FARM_ARRIVALS_H

#include "farm/farm.h"

struct farm_arrivals;

struct farm_load {
    uint64_t requests;
    double per_s;           /* requests, on average */
    double burst_factor;    /* 1: none; conversations begin so many times as often ... */
    uint64_t burst_us;      /* ... for so long ... */
    uint64_t burst_each_us; /* ... so often */
    const struct slice *tenants;
    const unsigned *weights; /* of them */
    size_t tenant_count;
    double tenant_skew; /* Zipf's exponent; 0: all are alike */
    size_t model_count;
    double model_skew;
    double prompt_tokens, prompt_sigma; /* median of what each turn adds, and its spread */
    double answer_tokens, answer_sigma;
    uint32_t system_tokens; /* that all prompts of a tenant begin with */
    double turns;           /* of a conversation, on average; 1: there are none */
    double pause_us;        /* between two of them, on average */
    double batch_share;     /* of requests that nobody waits for (SCHED_CLASS_BATCH) */
    uint64_t seed;
};

struct farm_arrivals *farm_arrivals_new(const struct farm_load *load);
void farm_arrivals_free(struct farm_arrivals **a);
/* A farm_next_fn; `owner` is the farm_arrivals. */
bool farm_arrivals_next(void *owner, struct farm_request *out);

/* Tokens of prompts and answers of a request, on average; `known`: only of what is new in a prompt.
 */
void farm_load_means(const struct farm_load *load, bool known, double *prompt_tokens,
                     double *answer_tokens);

#endif
