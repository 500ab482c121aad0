/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler: which request goes to which node, and when. Pure: events and the time go in,
 * decisions come out; no clock, lock, log or descriptor, and the same seed and calls give the same
 * decisions. One caller at a time. All memory is bounded by its limits and reused.
 *
 * Two calls for each request: sched_arrive and, exactly once, sched_leave. Any call may also decide
 * about requests that wait; whoever made it takes those decisions with sched_take and sends them
 * home. A ticket that was refused has ended; leaving with a ticket that has ended does nothing, so
 * a decision may cross with a cancel.
 *
 * ticket        entered when                       left by
 * waiting       sched_arrive said SCHED_QUEUED     a decision; sched_leave
 * decided       sched_take has not told yet        sched_take; sched_leave
 * granted       told                               sched_leave
 * Times are in microseconds of one clock that never goes back. */
#ifndef MCP_SCHED_SCHED_H
#define MCP_SCHED_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct sched;

#define SCHED_NEVER UINT64_MAX   /* of a time */
#define SCHED_UNKNOWN UINT64_MAX /* of an ETA: nothing is measured yet */
#define SCHED_SLOTS_UNLIMITED 0U
#define SCHED_SLOTS_AUTO UINT32_MAX /* a controller finds out how many */
enum { SCHED_PREFIX_MAX = 32 };     /* further hashes are not looked at */

struct sched_limits {
    uint64_t queue_jobs;       /* waiting, per tenant and model */
    uint64_t queue_jobs_all;   /* waiting, in all */
    uint64_t queue_bytes;      /* of what waits (sched_job.bytes), in all */
    uint64_t tenants;          /* remembered; the oldest idle one is forgotten for a new one */
    uint64_t prefixes;         /* prompt prefixes remembered, in all; 16 bytes each */
    uint64_t min_resident_us;  /* a model that served so recently is not evicted ... */
    uint64_t max_load_wait_us; /* ... unless somebody has waited so long for a load to begin */
    uint64_t ageing_us;        /* waiting so long lifts a request by one class */
    uint64_t node_wait_us;     /* so long those that wait outlast the last node that serves them */
};

/* 4096, 65536, 1 GiB, 16384, 65536, 2 s, 10 s, 30 s, 10 s. */
struct sched_limits sched_limits_default(void);

/* NULL: out of memory. */
struct sched *sched_new(const struct sched_limits *limits, uint64_t seed);
void sched_free(struct sched **s);
void sched_set_limits(struct sched *s, uint64_t now_us, const struct sched_limits *limits);

/* --- nodes ------------------------------------------------------------------------------------ */

struct sched_model {
    struct slice name;
    uint64_t bytes;   /* in memory for a resident one, else of its files; 0: not known */
    uint64_t context; /* of a resident one: its context length; 0: not known */
};

struct sched_node_state {
    uint64_t id; /* not 0 */
    bool up;
    bool cordoned;         /* gets nothing new */
    unsigned speaks;       /* the lower 8 bits, which mean something to the caller alone */
    uint32_t slots;        /* per model; or one of SCHED_SLOTS_ */
    uint64_t memory_bytes; /* for models; 0: not known */
    /* It loads and unloads models, and `resident` says which are in its memory. Else all that it
     * lists is ready at any time, also where what is resident cannot be known. */
    bool loads;
    const struct sched_model *models; /* that it lists */
    size_t model_count;
    const struct sched_model *resident;
    size_t resident_count;
};

/* A new node, or one that changed; cheap when nothing did. False: out of memory, and the node is as
 * if it were gone. */
bool sched_node(struct sched *s, uint64_t now_us, const struct sched_node_state *n);
/* The caller is to have a model loaded on a node, without a request. False: not now, as something
 * else is being loaded there, or what would go for it serves, or did so just now; `now`: also then.
 * True: it is to be done, and sched_loaded called when it is over. */
bool sched_load(struct sched *s, uint64_t now_us, uint64_t node, const struct sched_model *model,
                bool now);
void sched_loaded(struct sched *s, uint64_t now_us, uint64_t node, struct slice model, bool ok);
/* Granted tickets of a node that is gone or down stay; their owners leave when they notice. */
void sched_node_gone(struct sched *s, uint64_t now_us, uint64_t id);

/* --- requests --------------------------------------------------------------------------------- */

enum sched_class {
    SCHED_CLASS_INTERACTIVE,
    SCHED_CLASS_NORMAL,
    SCHED_CLASS_BATCH,
    SCHED_CLASS_COUNT
};

struct sched_job {
    uint32_t home; /* with `tag`, comes back with the decision */
    uint64_t tag;
    struct slice model;    /* normalised */
    bool anywhere;         /* nodes need not list the model, and none loads it: a cloud's */
    uint64_t options;      /* hash of all that makes a node load the model anew; 0: none said */
    uint64_t context;      /* num_ctx where that is all of `options`, else 0 */
    unsigned speaks;       /* the node must have one of these bits; 0: any node will do */
    struct slice tenant;   /* may be empty */
    unsigned weight;       /* of the tenant, from 1; 0 is 1 */
    uint32_t rate_per_min; /* requests that the tenant may make; 0: any */
    enum sched_class class;
    uint32_t prompt_tokens; /* estimates; 0: not known */
    uint32_t answer_tokens;
    size_t bytes;         /* that it holds while it waits */
    uint64_t deadline_us; /* 0: none */
    uint64_t prefer_node; /* the session's last; 0: none */
    uint64_t avoid_node;  /* it has just failed there; 0: none */
    /* Hashes of the prompt's beginning, each of a longer one: equal hashes, equal beginnings. */
    const uint64_t *prefix;
    size_t prefix_count;
};

enum sched_verdict {
    SCHED_GRANTED,
    SCHED_QUEUED,
    SCHED_NONE_UP,
    SCHED_NONE_SUITS,    /* some are up, none speaks it */
    SCHED_UNKNOWN_MODEL, /* some suit, none lists the model */
    SCHED_QUEUE_FULL,    /* too much waits: of this tenant for this model, or in all */
    SCHED_RATE_LIMITED,  /* the tenant's rate_per_min */
    SCHED_TOO_LATE,      /* its deadline is before its turn */
    SCHED_NO_MEMORY
};

enum sched_why {                    /* it got this node */
                 SCHED_WHY_LEAST,   /* the least work, of those where the model is resident */
                 SCHED_WHY_ONLY,    /* the one that serves it */
                 SCHED_WHY_SESSION, /* prefer_node */
                 SCHED_WHY_PREFIX,  /* it has most of the prompt */
                 SCHED_WHY_LOAD,    /* the model had to be loaded */
                 SCHED_WHY_SLOT     /* it waited, and there a slot became free */
};

struct sched_answer {
    uint64_t ticket; /* GRANTED, QUEUED */
    uint64_t node;   /* GRANTED */
    bool loads;      /* the model is not in the node's memory yet: call sched_started */
    enum sched_why why;
    size_t position;         /* its turn among those that wait for this model; from 1 */
    size_t depth;            /* how many wait for it */
    uint64_t eta_us;         /* from now to its turn; SCHED_UNKNOWN */
    uint64_t retry_after_us; /* QUEUE_FULL, RATE_LIMITED, TOO_LATE; at least a second */
};

enum sched_verdict sched_arrive(struct sched *s, uint64_t now_us, const struct sched_job *job,
                                struct sched_answer *out);

/* Takes one request of a tenant's rate for what will come as part of another's job (which has a
 * `rate_per_min` of 0). False: it has none left; `retry_after_us` as in sched_answer. */
bool sched_rate(struct sched *s, uint64_t now_us, struct slice tenant, uint32_t rate_per_min,
                uint64_t *retry_after_us);

/* The first byte came for a ticket that was granted with `loads`: the load is over. Calling it late
 * or not at all delays other loads on that node until sched_node reports the model resident. */
void sched_started(struct sched *s, uint64_t now_us, uint64_t ticket);

enum sched_end {
    SCHED_DONE,
    SCHED_CANCELLED, /* by the client, or its deadline */
    SCHED_FAILED,    /* by the node */
    SCHED_UNREACHED  /* nothing of it got to the node */
};

/* A part of a job that several have made together. */
struct sched_share {
    struct slice tenant;
    unsigned weight;
    uint64_t part; /* to those of the others */
};

struct sched_outcome {
    enum sched_end end;
    uint32_t prompt_tokens, answer_tokens; /* that were computed; 0: not known */
    uint64_t first_us;                /* from the grant to the answer's first byte; 0: none, or it
                    came in one piece */
    const struct sched_share *shares; /* who had what of it; NULL: the tenant that came had all */
    size_t share_count;
};

/* Waiting or granted; `o` is read for granted ones and may be NULL for others. */
void sched_leave(struct sched *s, uint64_t now_us, uint64_t ticket, const struct sched_outcome *o);

/* --- decisions -------------------------------------------------------------------------------- */

struct sched_decision {
    uint64_t ticket;
    uint32_t home;
    uint64_t tag;
    enum sched_verdict verdict; /* GRANTED; else a refusal, and the ticket has ended */
    uint64_t node;
    bool loads;
    enum sched_why why;
};

/* Moves up to `most` decisions to `out`, oldest first. */
size_t sched_take(struct sched *s, struct sched_decision *out, size_t most);

/* Does what is due. */
void sched_tick(struct sched *s, uint64_t now_us);
/* When sched_tick wants to be called; SCHED_NEVER. Any call may change it; cheap. */
uint64_t sched_next_us(const struct sched *s);

/* --- looking at it ---------------------------------------------------------------------------- */

/* Position, depth and ETA of one that waits; false: it does not. */
bool sched_look(const struct sched *s, uint64_t now_us, uint64_t ticket, struct sched_answer *out);

struct sched_stats {
    uint64_t waiting, running; /* requests */
    uint64_t waiting_bytes;
    uint64_t loads; /* begun, ever */
    uint64_t tenants, models, nodes;
};
void sched_stats(const struct sched *s, struct sched_stats *out);

/* One that waits or runs. Slices are valid until the callback returns. */
struct sched_view {
    uint64_t ticket;
    uint32_t home;
    uint64_t tag;
    struct slice model, tenant;
    enum sched_class class; /* that it came with */
    uint64_t node;          /* 0: it waits */
    bool loads;
    uint64_t age_us; /* since it arrived; since the grant for one that runs */
    size_t position; /* of those that wait */
    uint64_t eta_us;
};
typedef bool (*sched_view_cb)(void *owner, const struct sched_view *view); /* false: enough */
/* Those that wait, by model in the order of arrival, then those that run. */
void sched_walk(const struct sched *s, uint64_t now_us, sched_view_cb cb, void *owner);

struct sched_node_view {
    struct slice model;
    bool resident, loading;
    uint32_t running;
    uint32_t slots;      /* that it has now; 0: unlimited */
    double tokens_per_s; /* of one request; 0: not measured */
};
typedef bool (*sched_node_view_cb)(void *owner, const struct sched_node_view *view);
/* The models of a node that are resident or have requests. */
void sched_node_walk(const struct sched *s, uint64_t id, sched_node_view_cb cb, void *owner);

#endif
