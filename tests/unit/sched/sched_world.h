/* SPDX-License-Identifier: Apache-2.0 */
/* Shorthand for tests of the scheduler: nodes and requests by few words. */
#ifndef MCP_TESTS_SCHED_WORLD_H
#define MCP_TESTS_SCHED_WORLD_H

#include "sched/sched.h"

struct node_words {
    const char *lists;    /* models, separated by spaces; NULL: none */
    const char *resident; /* likewise, each "name" or "name:bytes" */
    uint32_t slots;
    uint64_t memory; /* 0: not known */
    unsigned speaks; /* 0: 1 */
    bool down, cordoned, loads;
};

/* Tells `s` of node `id`. False: out of memory. */
bool world_try_node(struct sched *s, uint64_t now_us, uint64_t id, struct node_words words);
void world_node(struct sched *s, uint64_t now_us, uint64_t id, struct node_words words);

/* A request of tenant "t" for model "m" that anything suits. */
struct sched_job world_job(uint64_t tag);

/* Arrives, is granted at once, and returns the node; anything else fails the test. */
uint64_t world_granted(struct sched *s, uint64_t now_us, const struct sched_job *job,
                       uint64_t *ticket);
/* Arrives and waits. */
uint64_t world_queued(struct sched *s, uint64_t now_us, const struct sched_job *job);
/* Takes one decision, which is a grant, and returns its tag; 0: there is none. */
uint64_t world_taken(struct sched *s, struct sched_decision *out);
void world_done(struct sched *s, uint64_t now_us, uint64_t ticket);

#endif
