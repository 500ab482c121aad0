/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of several inputs take on one node with one model, learnt from those that were made:
 * so long for each call, each input, each token and each token of padding. Some engines make a
 * rectangle of a call, in which each input costs what the longest does; there it pays to put inputs
 * of like lengths together, and batch_cost_range says which. Everywhere else all lengths go
 * together, but for a trial now and then while that is not known: calls that are all mixed alike
 * tell nothing. Plain values: no clock, no memory. */
#ifndef MCP_SCHED_BATCH_COST_H
#define MCP_SCHED_BATCH_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BATCH_LENGTHS = 64, BATCH_COST_TERMS = 4 };

/* Of one call, or of what waits for one. */
struct batch_size {
    size_t inputs;
    uint64_t tokens;
    uint64_t padding; /* tokens that were missing to a rectangle */
};

/* What waits, by classes of length: two to each power of two. */
struct batch_lengths {
    size_t inputs[BATCH_LENGTHS];
    uint64_t tokens[BATCH_LENGTHS];
};

struct batch_cost {
    double calls; /* newer ones weigh more */
    /* Of products of the terms of each, the last being its us, all by what was expected. */
    double sums[BATCH_COST_TERMS + 1][BATCH_COST_TERMS + 1];
    double us[BATCH_COST_TERMS]; /* by call, input, token, token of padding */
    bool pads;                   /* us of padding is for certain, */
    bool may_pad;                /* or what the calls so far do not rule out */
    unsigned turns;              /* calls made while it was that */
    double spread;               /* of what calls took, to what was expected */
};

/* A call took `us`. */
void batch_cost_note(struct batch_cost *c, const struct batch_size *size, uint64_t us);
/* Expected of such a call; 0: nothing is known yet. */
double batch_cost_us(const struct batch_cost *c, const struct batch_size *size);

/* The class of an input. */
size_t batch_length(uint32_t tokens);
/* Which lengths, `of` among them, go into the next call, where calls take up to `max_inputs` and
 * what waits is to be done as soon as possible. */
void batch_cost_range(struct batch_cost *c, const struct batch_lengths *waiting, size_t max_inputs,
                      size_t of, size_t *from, size_t *to);

#endif
