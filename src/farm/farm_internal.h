/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the farm share; farm.h is for everybody else. A `member` is a model on a node,
 * in its memory or not. */
#ifndef MCP_FARM_FARM_INTERNAL_H
#define MCP_FARM_FARM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "farm/farm.h"
#include "sched/heap.h"

enum live_place {
    LIVE_FREE,
    LIVE_COMING,  /* not arrived */
    LIVE_WAITING, /* the scheduler has it */
    LIVE_PENDING, /* in the node's queue */
    LIVE_LINED,   /* its model is in memory or on its way, but has no slot free */
    LIVE_READING, /* has a slot, and others' prompts go first */
    LIVE_PROMPT,
    LIVE_ANSWER
};

struct live {
    struct farm_live seen; /* first: what watchers get */
    struct list_link in_list;
    struct heap_link in_heap;
    struct heap_link in_cancels;
    uint32_t index;
    uint8_t place;
    uint64_t prompt_end_us;
    double answer_end; /* on the clock of the node's tokens */
};

LIST_DECLARE(live_list, struct live, in_list);

static inline bool prompt_before(const struct live *a, const struct live *b)
{
    return a->prompt_end_us < b->prompt_end_us;
}
HEAP_DECLARE(prompt_heap, struct live, in_heap, prompt_before);

static inline bool answer_before(const struct live *a, const struct live *b)
{
    return a->answer_end < b->answer_end;
}
HEAP_DECLARE(answer_heap, struct live, in_heap, answer_before);

static inline bool cancel_before(const struct live *a, const struct live *b)
{
    return a->seen.request.cancel_us < b->seen.request.cancel_us;
}
HEAP_DECLARE(cancel_heap, struct live, in_cancels, cancel_before);

struct member {
    bool resident;
    uint32_t loaded; /* how often: prompts of an earlier time are forgotten */
    uint32_t running;
    uint64_t used_us;
    struct live_list line;
};

struct prompt_line;

struct node {
    struct heap_link in_events, in_outstanding;
    struct farm_node spec;
    struct member *members; /* by model */
    struct member *loading; /* NULL: none */
    uint64_t loaded_us;
    uint64_t resident_bytes;
    struct live_list pending;
    struct live_list reading;
    struct prompt_heap prompts;
    struct answer_heap answers;
    double tokens; /* that each answer has had since there were none; at tokens_us */
    uint64_t tokens_us;
    uint64_t next_us; /* of its events; UINT64_MAX */
    uint32_t outstanding;
    uint64_t chosen; /* when last, counted */
    uint32_t running;
    uint64_t busy_us, busy_from_us;
    struct prompt_line *known; /* prompts.c; NULL: it remembers none */
    uint32_t known_mask;
    uint64_t noted;
};

static inline bool event_before(const struct node *a, const struct node *b)
{
    return a->next_us < b->next_us;
}
HEAP_DECLARE(event_heap, struct node, in_events, event_before);

static inline bool idler(const struct node *a, const struct node *b)
{
    return a->outstanding != b->outstanding ? a->outstanding < b->outstanding
                                            : a->chosen < b->chosen;
}
HEAP_DECLARE(outstanding_heap, struct node, in_outstanding, idler);

struct farm {
    struct farm_options o;
    struct node *nodes;
    struct member *members;
    struct event_heap events;
    struct outstanding_heap outstanding; /* of FARM_LEAST */
    struct cancel_heap cancels;
    struct sched *s;                       /* of FARM_OURS */
    struct sched_model *listed, *resident; /* for what a node says */
    struct live **pages;
    size_t page_count;
    struct live_list free;
    struct live *coming; /* the next to arrive; NULL: there is none */
    uint64_t now_us, polls, chosen, random;
    uint64_t arrived, ended, loads, evictions;
};

static inline struct node *farm_node_of(const struct farm *f, const struct live *l)
{
    return &f->nodes[l->seen.node];
}

void farm_saw(struct farm *f, enum farm_event event, const struct live *l);
/* It has left its node, or never had one: tells the policy and forgets it. */
void farm_end(struct farm *f, struct live *l, enum sched_end how);

/* node.c */
void node_init(struct farm *f, struct node *n, const struct farm_node *spec);
void node_fini(struct node *n);
void node_enter(struct farm *f, struct node *n, struct live *l);
/* Does what is due at f->now_us. */
void node_turn(struct farm *f, struct node *n);
/* A request of it that is cancelled; the caller ends it. */
void node_drop(struct farm *f, struct node *n, struct live *l);

/* prompts.c */
void prompts_init(struct node *n);
void prompts_fini(struct node *n);
/* How many of the prompt's tokens are known from before; from now on all of them are. */
uint32_t prompts_note(struct node *n, const struct farm_request *q, uint32_t loaded);

/* choose.c: nodes by a simple policy. */
void choose_init(struct farm *f);
struct node *choose(struct farm *f);
void choose_counts(struct farm *f, struct node *n, int more); /* of what is outstanding */

#endif
