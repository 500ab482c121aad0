/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the scheduler share; sched.h is for everybody else.
 *
 * A `model` is a name. A `runner` is that model on one node, resident or not; its slots are what
 * requests are granted. Requests that wait stand in a `line`: one for each model, runner options
 * and set of nodes that will do. Within a line a `flow` holds those of one tenant and class in
 * order of arrival, and of the flows the one whose tenant has had least service goes first. An
 * `account` is what a tenant has had of a model. */
#ifndef MCP_SCHED_SCHED_INTERNAL_H
#define MCP_SCHED_SCHED_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/slice.h"
#include "sched/heap.h"
#include "sched/map.h"
#include "sched/rank_heap.h"
#include "sched/sched.h"
#include "sched/slab.h"

enum { JOBS_PER_PAGE = 64, COUNTER_SCALE = 1024, SPEAKS_BITS = 8, CACHE_LINE_BYTES = 64 };

enum job_state { JOB_FREE, JOB_WAITING, JOB_DECIDED, JOB_GRANTED };

/* Two cache lines, as there may be very many. */
struct job {
    struct list_link in_age;   /* of the line, or of what is decided */
    struct list_link in_order; /* of its flow while it waits, then of the model's that run */
    uint32_t index, generation;
    uint8_t state;
    uint8_t verdict, why;
    uint8_t class, level;     /* asked for, lifted to */
    uint8_t prefix_count;     /* of `prefix` */
    bool placed : 1;          /* it has a runner, not a flow */
    bool loads : 1;           /* whose model was being loaded at the grant */
    bool full : 1, alone : 1; /* the runner was, with this one; this one was there */
    uint32_t home;
    union {
        uint32_t seq;         /* in its flow */
        uint32_t limit_epoch; /* of the runner, at the grant */
    };
    uint64_t since_us; /* it waits; it runs */
    struct account *account;
    union {
        struct flow *flow;
        struct runner *runner;
    };
    uint32_t prompt_tokens, answer_tokens; /* estimates */
    uint64_t deadline_us;
    uint64_t near_node; /* which has most of its prompt; 0: none */
    uint64_t *prefix;   /* until the grant; NULL: none */
    uint64_t bytes;
    uint64_t tag;
};

_Static_assert(sizeof(struct job) <= 128, "two cache lines");

LIST_DECLARE(age_list, struct job, in_age);
LIST_DECLARE(running_list, struct job, in_order);
LIST_DECLARE(flow_list, struct job, in_order);

/* Its turn in the heap is what its account had when it was put there. Since then that may only have
 * become more, so that the first of the heap is the first of all once its own turn is right. */
struct flow {
    uint32_t place; /* in the heap of its level, from 1; 0: in none */
    uint32_t seq;   /* of the next */
    uint8_t level;
    struct account *account;
    struct line *line;
    struct flow_list jobs;
    uint64_t work;       /* of all of them */
    uint64_t starved_us; /* not served since */
    struct list_link in_account, in_level;
};

LIST_DECLARE(account_flows, struct flow, in_account);
LIST_DECLARE(level_flows, struct flow, in_level);

struct account {
    struct map_link in_accounts;
    struct tenant *tenant;
    struct model *model;
    uint64_t counter; /* service that it has had, by weight */
    uint32_t weight;
    uint32_t waiting, running;
    struct account_flows flows;
    struct list_link in_tenant, in_model;
};

LIST_DECLARE(tenant_accounts, struct account, in_tenant);
LIST_DECLARE(model_accounts, struct account, in_model);

struct tenant {
    struct map_link in_tenants;
    struct list_link in_idle; /* of those for whom nothing waits or runs */
    char *name;
    size_t name_len;
    struct tenant_accounts accounts;
    uint64_t busy;         /* requests that wait or run */
    uint64_t rate_full_us; /* when it may again make all requests of a minute at once */
};

LIST_DECLARE(tenant_list, struct tenant, in_idle);

/* Of a line, those of one class. */
struct level {
    size_t jobs;
    struct level_flows all; /* those starved for longest first */
    struct rank_heap turns; /* of flows */
};

struct line {
    struct list_link in_model;
    struct heap_link in_timers;
    struct model *model;
    uint64_t options, context;
    unsigned speaks;
    uint64_t avoid_node;
    struct age_list jobs; /* all of them, by arrival */
    struct level levels[SCHED_CLASS_COUNT];
    uint64_t due_us;    /* of its timer: the earlier of the next two */
    uint64_t orphan_us; /* when those that wait are refused; SCHED_NEVER: nodes serve it */
    uint64_t try_us;    /* when to look for a node that loads the model */
    struct node *claim; /* that is to load it */
};

LIST_DECLARE(line_list, struct line, in_model);

static inline bool line_before(const struct line *a, const struct line *b)
{
    return a->due_us < b->due_us;
}
HEAP_DECLARE(line_heap, struct line, in_timers, line_before);

/* How many nodes serve something, those that load it, and those that speak each of the bits. */
struct serving {
    size_t nodes, loaders;
    uint32_t speak[SPEAKS_BITS];
};

/* What one node counts for in that. */
struct served {
    bool serves, loads;
    unsigned speaks;
};

struct runner {
    uint32_t place;   /* in its group, from 1; 0: it has no slot free */
    uint32_t serial;  /* prefix.c's */
    uint64_t node_id; /* by which equals stand in the configured order */
    double recent;    /* work granted in the last minute or so */
    uint64_t recent_us;
    struct node *node;
    struct model *model;
    struct group *group;  /* NULL: takes nothing now, also with a slot free */
    uint64_t outstanding; /* estimated work of what runs */
    uint32_t running;
    uint64_t served;
    double work_us; /* as the model's, here */
    uint64_t used_us, load_began_us, evicted_us;
    bool listed, resident;
    bool loading;
    bool closed;               /* it gets nothing new, as it is to be evicted */
    bool seen, victim;         /* while a state is read; while a load is thought about */
    bool options_known;        /* by one of us */
    uint64_t options, context; /* that it was loaded with */
    uint64_t reported_context;
    uint64_t bytes;
    struct served served_as; /* of the model's */
    struct map_link in_runners;
    struct list_link in_node, in_model;
    /* slots.c */
    uint32_t limit, limit_epoch; /* 0: the first one */
    uint32_t samples;            /* of this window */
    double first_us, total_us;   /* their sums */
    double base_us;              /* to the first byte, without waiting */
    bool found;                  /* it has once been too much */
    uint32_t good_windows;
};

LIST_DECLARE(node_runners, struct runner, in_node);
LIST_DECLARE(model_runners, struct runner, in_model);

/* Runners of a model that take the same requests; those with a free slot, by load. */
struct group {
    struct list_link in_model;
    unsigned speaks;
    bool any_options, options_known;
    uint64_t options, context;
    size_t runners;
    struct rank_heap open; /* of runners */
};

LIST_DECLARE(group_list, struct group, in_model);

struct model {
    struct map_link in_models;
    char *name; /* "": requests that may go anywhere */
    size_t name_len;
    struct model_runners runners;
    struct group_list groups;
    struct line_list lines; /* in which somebody waits */
    struct model_accounts accounts;
    uint64_t busy;  /* its requests that have a ticket */
    uint64_t vtime; /* counter of the account that was served last */
    uint64_t waiting;
    struct running_list running; /* by grant */
    uint64_t load_us;            /* a mean; 0: not measured */
    uint64_t served, counted;    /* requests; those whose tokens are known */
    double service_us;           /* means, of those: from the grant to the end */
    double work_us;              /* for each unit of work */
    double prompt_tokens, answer_tokens;
    struct serving serving;
};

struct node {
    uint64_t id;
    bool up, cordoned, loads, gone;
    bool unsure; /* it last reported other than we believe */
    bool wanted; /* some line looks again when something gets idle */
    bool tight;  /* a load was seen to evict something */
    unsigned speaks;
    uint32_t slots;
    uint64_t running;
    struct runner *loading;  /* at most one at a time */
    struct line *claimed_by; /* which is to load its model here */
    struct map_link in_nodes;
    struct node_runners runners;
    uint64_t memory_bytes;   /* for models; 0: nobody has said */
    uint64_t most_bytes;     /* ever seen resident */
    struct served served_as; /* of the scheduler's */
    uint64_t state_hash;
    struct list_link in_all, in_reopen;
};

LIST_DECLARE(node_list, struct node, in_all);
LIST_DECLARE(reopen_list, struct node, in_reopen);

struct sched {
    struct sched_limits limits;
    uint64_t seed;
    struct map nodes, models, runners, tenants, accounts;
    struct node_list all_nodes;
    struct serving serving; /* anything */
    struct slab flow_slab, line_slab, tenant_slab, account_slab, runner_slab, group_slab;
    struct slab model_slab, node_slab, few_hashes_slab, hashes_slab;
    struct rank_pool rank_pool;
    struct job **job_pages;
    size_t job_page_count;
    struct flow_list free_jobs;
    struct age_list decided;
    struct tenant_list idle_tenants;
    struct line_heap timers;
    struct reopen_list reopen; /* nodes with closed runners that are claimed no more */
    uint64_t waiting, running, waiting_bytes, loads;
    /* prefix.c */
    struct prefix_line *prefixes; /* NULL: none are remembered */
    size_t prefix_mask;
    struct runner **serials; /* by the lower bits of their serial; NULL: free */
    size_t serials_size, serials_free, serials_next;
    uint32_t generations;
};

static inline struct flow *flow_at(const struct rank *rank) /* NULL: of none */
{
    return rank == NULL ? NULL : MAP_OF(rank->place, struct flow, place);
}

static inline struct runner *runner_at(const struct rank *rank)
{
    return rank == NULL ? NULL : MAP_OF(rank->place, struct runner, place);
}

/* It will be written to soon, and is likely to be in no cache. */
static inline void prefetch(const void *ptr, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CACHE_LINE_BYTES) {
        __builtin_prefetch((const char *)ptr + at, 1);
    }
}

static inline struct slice model_name(const struct model *m)
{
    return slice_of(m->name, m->name_len);
}

/* queue.c: requests and where they wait. */
struct job *job_get(struct sched *s); /* NULL: out of memory */
void job_free(struct sched *s, struct job *j);
void job_keep_prefix(struct sched *s, struct job *j, const struct sched_job *job);
void job_forget_prefix(struct sched *s, struct job *j);
struct job *job_find(const struct sched *s, uint64_t ticket); /* NULL: it has ended */
static inline uint64_t job_ticket(const struct job *j)
{
    return (uint64_t)j->generation << 32 | j->index;
}
/* Requests with ever other options could make very many lines. */
bool line_has_room(const struct model *m, const struct sched_job *job);
struct line *line_get(struct sched *s, struct model *m, const struct sched_job *job);
static inline uint64_t work_of(uint64_t prompt_tokens, uint64_t answer_tokens)
{
    return prompt_tokens + 2 * answer_tokens; /* as the paper weighs them */
}

/* What it is thought to need; charged at the grant. */
static inline uint64_t job_work(const struct job *j)
{
    uint64_t work = work_of(j->prompt_tokens, j->answer_tokens);

    return work > 0 ? work : 1;
}

/* False: out of memory. */
bool queue_push(struct sched *s, struct line *line, struct job *j, uint64_t now_us);
/* Before a request that is granted is removed: its flow does not starve. */
void queue_served(struct job *j, uint64_t now_us);
/* The line goes with its last request. */
void queue_remove(struct sched *s, struct job *j);
/* The one whose turn it is on this runner; NULL: none waits for it. */
struct job *queue_first(struct sched *s, const struct runner *r, uint64_t now_us);
/* In place of the first, one of the same flow whose prompt this runner has most of. */
struct job *queue_nearer(struct job *first, const struct runner *r, uint64_t now_us);
/* Of one class of a line, the flow whose turn it is; NULL: none waits. */
struct flow *level_first(struct level *level);
/* Into the heap, once more or for the first time, by what its account has now. */
void flow_requeue(struct flow *f);
/* What queue_first may come to is likely to be in no cache: it, and when it has come what it refers
 * to. NULL: nothing waits. */
const struct job *queue_prefetch(struct model *m);
void job_prefetch(const struct job *j);
void line_try(struct sched *s, struct line *line, uint64_t try_us);
void line_orphan(struct sched *s, struct line *line, uint64_t orphan_us);
bool line_takes(const struct line *line, const struct group *g);
void queue_refuse(struct sched *s, struct job *j, enum sched_verdict verdict);
void queue_refuse_all(struct sched *s, struct line *line, enum sched_verdict verdict);
void queue_fini(struct sched *s);

/* fair.c: tenants and what they have had. */
/* NULL: out of memory. Call tenant_settle when nothing came of it. */
struct tenant *tenant_get(struct sched *s, struct slice name);
void tenant_settle(struct sched *s, struct tenant *t); /* it may be idle now, or no more */
/* Takes one request of its rate; else how long until there is one. */
bool tenant_takes(struct tenant *t, uint64_t now_us, uint32_t per_min, uint64_t *wait_us);
struct account *account_get(struct sched *s, struct tenant *t, struct model *m);
/* A request of it is about to wait or run. */
void account_arrives(struct sched *s, struct account *a, unsigned weight);
/* It has had so much more, or less, and so many more of its requests run. */
void account_charge(struct account *a, int64_t work, int running);
/* A request of it is granted that is thought to need so much. */
void account_grant(struct account *a, uint64_t work);
void account_leaves(struct sched *s, struct account *a); /* a request of it has ended */
void accounts_forget(struct sched *s, struct model *m);  /* all of them idle */
/* Of `work` that the account was charged, others are charged what they had of it. */
void account_divide(struct sched *s, struct account *a, uint64_t work,
                    const struct sched_outcome *o);
void fair_fini(struct sched *s);

/* nodes.c */
struct node *node_find(const struct sched *s, uint64_t id);
struct model *model_find(const struct sched *s, struct slice name);
void model_release(struct sched *s, struct model *m); /* unless somebody needs it */
/* NULL: none. */
struct runner *runner_find(const struct sched *s, const struct node *n, const struct model *m);
void runner_release(struct sched *s, struct runner *r); /* likewise */
bool node_takes(const struct node *n);
/* Whether a node that is up serves such requests. */
bool model_usable(const struct model *m, unsigned speaks, uint64_t avoid_node);
enum sched_verdict nodes_verdict(const struct sched *s, const struct sched_job *job);
void nodes_fini(struct sched *s);

/* place.c: which node. */
/* Into the group that it belongs to now; where memory is out, into none until its node reports. */
void runner_settle(struct sched *s, struct runner *r);
void runner_unsort(struct sched *s, struct runner *r);
void runner_rekey(struct runner *r); /* its load or its slots changed */
void groups_fini(struct sched *s);
/* NULL: none that takes it has a slot free. */
struct runner *place_choose(const struct sched *s, struct model *m, const struct sched_job *job,
                            enum sched_why *why, uint64_t *near_node);
bool place_wanted(const struct sched_job *job, const struct runner *r); /* it takes such */
void place_grant(struct sched *s, struct job *j, struct runner *r, enum sched_why why,
                 uint64_t now_us);
/* Settles what it is charged. */
void place_release(struct sched *s, struct job *j, const struct sched_outcome *o, uint64_t now_us);
/* Grants this runner's free slots to those that wait. */
void place_fill(struct sched *s, struct runner *r, uint64_t now_us);

/* estimate.c: what is measured, and what follows. */
void estimate_job(const struct model *m, struct job *j); /* how many tokens it may need */
void estimate_done(struct runner *r, const struct job *j, const struct sched_outcome *o,
                   uint64_t now_us);
double estimate_load(const struct runner *r); /* how long what it has will take */
/* Of one that waits: its position and ETA. */
void estimate_turn(const struct job *j, uint64_t now_us, size_t *position, uint64_t *eta_us);
uint64_t estimate_retry_us(const struct model *m); /* until one of those that wait is let in */

/* prefix.c: who has what of a prompt. */
bool prefix_init(struct sched *s); /* by its limits; false: out of memory */
void prefix_add_runner(struct sched *s, struct runner *r);
void prefix_remove_runner(struct sched *s, struct runner *r);
void prefix_note(struct sched *s, const struct runner *r, const uint64_t *hashes, size_t count);
void prefix_forget(struct sched *s, struct runner *r); /* all that it has */
/* The one that has most of it, and how many of its hashes; NULL: none, or so has everybody. */
struct runner *prefix_find(const struct sched *s, const struct model *m,
                           const struct sched_job *job, size_t *depth);

/* slots.c: how many at once. */
uint32_t slots_of(const struct runner *r); /* SCHED_SLOTS_UNLIMITED */
void slots_granted(const struct runner *r, struct job *j);
void slots_done(struct runner *r, const struct job *j, const struct sched_outcome *o,
                uint64_t now_us);

/* evict.c: what goes for a load. */
struct eviction {
    uint64_t from_us;  /* it may begin; SCHED_NEVER: something of it runs */
    uint64_t used_us;  /* the latest use of what goes; 0: nothing goes */
    uint64_t demand;   /* requests that run on what goes, or wait for it */
    uint64_t drain_us; /* until what goes is idle */
};
/* Marks it as victims: what goes when the model of `r` is loaded on its node. */
void evict_mark(struct runner *r);
struct eviction evict_judge(const struct sched *s, struct runner *r); /* and marks it */
/* It is not known whether it evicts at all: no load was seen to, and no report is due. */
bool evict_may_not(const struct node *n);

/* load.c: what is resident. */
/* Looks for a node that loads the line's model; grants if it finds one. */
void load_consider(struct sched *s, struct line *line, uint64_t now_us);
void load_due(struct sched *s, uint64_t now_us);
void load_unclaim(struct sched *s, struct node *n);
void load_over(struct sched *s, struct runner *r, bool resident, uint64_t now_us);
void load_left(struct sched *s, struct runner *r, enum sched_end end, uint64_t now_us);
void load_reported(struct sched *s, struct runner *r, bool seen, uint64_t context, uint64_t now_us);
void load_took(struct model *m, uint64_t us);
void load_node_lost(struct sched *s, struct node *n);
void load_look_again(struct sched *s, struct node *n, uint64_t from_us);

#endif
