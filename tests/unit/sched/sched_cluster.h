/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of which everything is said, run on a farm (src/farm): what the scheduler made of them.
 */
#ifndef MCP_TESTS_SCHED_CLUSTER_H
#define MCP_TESTS_SCHED_CLUSTER_H

#include "sched/sched.h"

enum { CLUSTER_NODES = 16, CLUSTER_MODELS = 8, CLUSTER_PROMPTS = 512 };

struct cluster_model {
    const char *name;
    uint64_t bytes, load_us;
};

struct cluster_node {
    uint32_t slots;             /* that it has */
    uint32_t declared;          /* that it is said to have, also SCHED_SLOTS_ */
    uint64_t memory_bytes;      /* 0: it has all models at any time */
    double prompt_us, token_us; /* for each token; of the answer, when alone */
    double batch_us;            /* more for each other request that runs */
};

struct cluster_request {
    uint64_t due_us;
    unsigned model;
    char tenant[16];
    unsigned weight;
    enum sched_class class;
    uint32_t prompt_tokens, answer_tokens;
    uint32_t said_tokens; /* of the answer, as an estimate */
    uint64_t cancel_us;   /* 0: never */
    uint64_t prefix[SCHED_PREFIX_MAX];
    size_t prefix_count;
    /* What came of it. */
    enum sched_verdict verdict;
    uint64_t eta_us, granted_us, begun_us, first_us, done_us; /* begun: its slot of the node */
    uint64_t node;
    uint32_t cached_tokens;
    bool waited, loads, cancelled;
    uint64_t ticket;
};

struct cluster {
    uint64_t poll_us; /* 0: a second */
    const struct cluster_model *models;
    size_t model_count;
    struct cluster_node nodes[CLUSTER_NODES];
    size_t node_count;
    struct cluster_request *requests; /* by due_us */
    size_t request_count;
    /* Called behind each event; may change the slots of nodes. */
    void (*watch)(struct cluster *c);
    void *owner;
    struct sched *s; /* for `watch` */
    uint64_t loads;  /* that nodes really did */
};

/* Runs until every request has ended. Asserts that each ends once and nothing is left behind. */
void cluster_run(struct cluster *c, const struct sched_limits *limits, uint64_t seed);

uint64_t cluster_random(uint64_t *state);
int cluster_by_u64(const void *a, const void *b); /* for qsort */

#endif
