/* SPDX-License-Identifier: Apache-2.0 */
/* One model in the memory of the simulated node: its slots, its steps and its prompt cache. The
 * engine says when it loads and goes, and runs it whenever it is due. Private to the engine. */
#ifndef MCP_SIM_RUNNER_H
#define MCP_SIM_RUNNER_H

#include "base/list.h"
#include "sim/engine.h"

LIST_DECLARE(sim_call_list, struct sim_call, link);
LIST_DECLARE(sim_news_list, struct sim_call, news_link);

/* Times of a few microseconds to minutes, four classes to each power of two. */
enum { SIM_GAP_CLASSES = 128, SIM_FREED_MAX = 64 };

/* Of slots that had nothing to do: from when an answer's end was told to the next call's start. */
struct sim_gaps {
    uint64_t freed_us[SIM_FREED_MAX]; /* a ring: of slots that are free now, the first first */
    size_t first, count;
    uint64_t classes[SIM_GAP_CLASSES];
};

/* What all runners of an engine share. */
struct sim_shared {
    struct sim_profile profile; /* its slots are those of now */
    uint64_t most_slots;        /* as it began */
    uint64_t random;
    struct sim_news_list news;
    struct sim_totals totals;
    struct sim_gaps gaps;
};

struct sim_slot {
    bool busy;
    uint64_t used_us;
    uint64_t *blocks; /* the last prompt and answer, as far as they were computed */
    size_t block_count;
    size_t block_cap;
};

enum sim_runner_state { SIM_RUNNER_ABSENT, SIM_RUNNER_LOADING, SIM_RUNNER_READY };

struct sim_runner {
    struct sim_shared *shared;
    enum sim_runner_state state;
    bool draining;    /* it takes no more calls: it is to go when it is idle */
    uint64_t context; /* loaded with */
    struct sim_call_list active;
    struct sim_call_list waiting;
    uint64_t load_end_us;
    uint64_t step_end_us; /* UINT64_MAX: no step */
    uint64_t used_us;     /* the last call ended */
    int64_t keep_alive_us;
    struct sim_slot *slots; /* of the prompt cache; NULL: none */
};

/* False: out of memory. */
bool sim_runner_init(struct sim_runner *r, struct sim_shared *shared);
void sim_runner_fini(struct sim_runner *r);

void sim_runner_load(struct sim_runner *r, uint64_t context, uint64_t now_us);
void sim_runner_ready(struct sim_runner *r);
/* It must be idle. */
void sim_runner_unload(struct sim_runner *r);

bool sim_runner_idle(const struct sim_runner *r);
/* When an idle one goes; UINT64_MAX: never. */
uint64_t sim_runner_expires_us(const struct sim_runner *r);
/* The end of loading, of a step or fixed time, or of the keep-alive, whichever comes first. */
uint64_t sim_runner_due_us(const struct sim_runner *r);

void sim_runner_add(struct sim_runner *r, struct sim_call *c, uint64_t now_us);
void sim_runner_cancel(struct sim_runner *r, struct sim_call *c, uint64_t now_us);
/* Does what is due at `now_us`. */
void sim_runner_run(struct sim_runner *r, uint64_t now_us);

void sim_gap_began(struct sim_gaps *g, uint64_t now_us);
void sim_gap_ended(struct sim_gaps *g, uint64_t now_us);
/* So many of a hundred are at most that long; 0: there were none. */
uint64_t sim_gap_percentile_us(const struct sim_gaps *g, unsigned percent);

/* `us` with the profile's jitter. */
uint64_t sim_vary(struct sim_shared *shared, uint64_t us);

#endif
