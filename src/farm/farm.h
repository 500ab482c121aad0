/* SPDX-License-Identifier: Apache-2.0 */
/* A farm of simulated nodes in virtual time, under the scheduler of the gateway (src/sched, the
 * same code) or a simple policy beside it. Pure: requests come from a source, what happens to them
 * goes to a watcher, the same seed and requests give the same farm bit for bit. One thread. For
 * tools and tests: memory that cannot be had ends the process.
 *
 * A node has memory for so many bytes of models and loads one at a time. Requests come to it in a
 * queue, as to an Ollama: the first may have to wait for a load, for which what was used least
 * recently goes once it is idle; those behind it wait too. A model in memory answers so many at
 * once and the others in order. Prompts are computed at so much for each token that is not known
 * from before, answers together: each of n gets a token every token_us + (n - 1) * batch_us.
 *
 * a request     entered when                        left by
 * arrived       its time has come                   the policy's choice of a node
 * waiting       the scheduler has it                a decision; a cancel
 * at the node   it has a node                       a slot, and its model in memory; a cancel
 * prompt        its slot                            its first byte; a cancel
 * answer        its first byte                      the end; a cancel
 * Times are in microseconds, the first request is not before 1. */
#ifndef MCP_FARM_FARM_H
#define MCP_FARM_FARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "sched/sched.h"

struct farm;

enum { FARM_NODES_MAX = 100000, FARM_MODELS_MAX = 4096 };

struct farm_model {
    struct slice name; /* outlives the farm */
    uint64_t bytes, load_us;
};

struct farm_node {
    uint32_t slots;        /* that it has, of each model */
    uint32_t told_slots;   /* that the scheduler is told; also SCHED_SLOTS_ */
    uint64_t memory_bytes; /* 0: it has all models at any time */
    double prompt_us;      /* for each token of a prompt */
    double token_us;       /* for each token of an answer, of one alone */
    double batch_us;       /* and more for each other answer under way */
    bool prompts_in_turn;  /* one after the other, else all at once */
    uint32_t prompts;      /* prefixes of prompts that it remembers; 0: none */
};

enum farm_policy {
#define FARM_POLICY(id, name, meaning) FARM_##id,
#include "farm/policy.def"
#undef FARM_POLICY
    FARM_POLICY_COUNT
};
const char *farm_policy_name(enum farm_policy policy);
const char *farm_policy_meaning(enum farm_policy policy);
/* False: there is none of that name. */
bool farm_policy_find(struct slice name, enum farm_policy *out);

struct farm_request {
    uint64_t due_us; /* not before that of the request in front of it */
    uint64_t tag;    /* the source's */
    uint32_t model;
    struct slice tenant; /* outlives the farm */
    uint32_t tenant_number;
    unsigned weight; /* 0 is 1 */
    enum sched_class class;
    uint32_t prompt_tokens, answer_tokens;
    uint32_t said_tokens; /* of the answer, as an estimate; 0: none */
    uint64_t cancel_us;   /* 0: never */
    /* Hashes of the prompt's beginning, each of a longer one, and how many tokens that is. */
    uint64_t prefix[SCHED_PREFIX_MAX];
    uint32_t prefix_tokens[SCHED_PREFIX_MAX];
    size_t prefix_count;
};

/* The next request; false: there is none. */
typedef bool (*farm_next_fn)(void *owner, struct farm_request *out);

enum farm_event { FARM_ARRIVED, FARM_BEGUN, FARM_FIRST, FARM_ENDED };

/* A request and what has come of it until now. */
struct farm_live {
    struct farm_request request;
    enum sched_verdict verdict; /* GRANTED, else why it ended without a node */
    uint64_t node;              /* index; of GRANTED */
    uint64_t eta_us;            /* as it was told at its arrival */
    uint64_t granted_us, begun_us, first_us, done_us; /* 0: not yet; begun: its slot */
    uint32_t cached_tokens;                           /* of the prompt */
    bool waited, loads, cancelled;
    uint64_t ticket;
};

struct farm_options {
    const struct farm_model *models;
    size_t model_count;
    const struct farm_node *nodes; /* copied */
    size_t node_count;
    bool warm; /* nodes begin with as many models in memory as there is room for, else with none */
    enum farm_policy policy;
    struct sched_limits limits;
    uint64_t poll_us; /* each node is asked so often what it has; 0: a second */
    uint64_t seed;
    farm_next_fn next;
    void *next_owner;
    /* Called for each event; NULL: nobody looks. */
    void (*watch)(void *owner, struct farm *f, enum farm_event event, const struct farm_live *l);
    void *watch_owner;
};

struct farm *farm_new(const struct farm_options *options);
void farm_free(struct farm **f);

/* So many events more; false: all requests have ended. */
bool farm_run(struct farm *f, size_t events);

struct farm_totals {
    uint64_t now_us;
    uint64_t arrived, ended; /* requests */
    uint64_t loads, evictions;
};
void farm_totals(const struct farm *f, struct farm_totals *out);

/* How long its slots have been taken, summed over them. */
uint64_t farm_busy_us(const struct farm *f, size_t node);
/* How many requests have a slot, and how many of the others wait at the node. */
size_t farm_running(const struct farm *f, size_t node, size_t *waiting);

/* Sees that nothing is left behind when all have ended; false: something is. */
bool farm_is_empty(const struct farm *f);
/* That of FARM_OURS, else NULL. */
struct sched *farm_sched(struct farm *f);
/* The node has so many slots from now on, whatever it said. */
void farm_set_slots(struct farm *f, size_t node, uint32_t slots);

#endif
