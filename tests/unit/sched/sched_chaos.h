/* SPDX-License-Identifier: Apache-2.0 */
/* A few nodes, models and tenants, to which anything may happen at any time. Behind each step all
 * that must hold is looked at (sched_check.h); what does not ends the process by ASSERT. Chance is
 * the caller's: a random number, or a fuzzer's bytes. */
#ifndef MCP_TESTS_SCHED_CHAOS_H
#define MCP_TESTS_SCHED_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"

enum { CHAOS_NODES = 5, CHAOS_TICKETS = 64 };

typedef uint64_t (*chaos_pick_fn)(void *owner, uint64_t below); /* 0 up to below `below` */

struct chaos_ticket {
    uint64_t ticket, tag; /* 0: free */
    unsigned speaks;
    bool granted, loads;
    uint64_t node;
};

struct chaos {
    struct sched *s;
    chaos_pick_fn pick;
    void *owner;
    bool memory_fails; /* now and then, by the caller */
    uint64_t now_us, tag;
    struct chaos_ticket tickets[CHAOS_TICKETS];
    bool up[CHAOS_NODES + 1];
    unsigned speaks[CHAOS_NODES + 1];
};

/* Limits are small, so that they are met; `seed` decides which. */
void chaos_begin(struct chaos *c, uint64_t seed, chaos_pick_fn pick, void *owner);
void chaos_step(struct chaos *c);
/* All tickets leave, all nodes go; nothing is left. */
void chaos_end(struct chaos *c);

#endif
