/* SPDX-License-Identifier: Apache-2.0 */
/* The cost model and scheduler of a simulated node: calls and the time go in, tokens and ends come
 * out. Pure: no clock, no descriptor, no thread, randomness only from the seed; so it runs under
 * virtual time as well. As Ollama: a model that is loaded takes calls straight into its slots, in
 * order; all others wait in one queue whose head alone is looked at, while it loads and while
 * others are evicted for it. Loaded models compute independently of each other, each in steps as
 * llama.cpp does: one token for every answer under way and up to SIM_STEP_TOKENS of new prompts.
 *
 * phase     entered                              left by
 * PENDING   submitted, the model is not ready    it is ready
 * WAITING   the model is ready, no slot is free  a slot is
 * FIXED     it has a slot: call-us, item-us      that time is over
 * PROMPT    then                                 prompt_tokens were read
 * DECODE    then, with the first token           all tokens were made
 * DONE      then (embeddings: after PROMPT)      sim_engine_next has told */
#ifndef MCP_SIM_ENGINE_H
#define MCP_SIM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "sim/profile.h"

enum {
    SIM_STEP_TOKENS = 512, /* of prompts in one step: llama.cpp's n_batch */
    SIM_BLOCK_TOKENS = 16, /* the prompt cache compares so many at a time */
};

enum sim_phase {
    SIM_NONE,
    SIM_PENDING,
    SIM_WAITING,
    SIM_FIXED,
    SIM_PROMPT,
    SIM_DECODE,
    SIM_DONE,
};

struct sim_runner;

/* One call, embedded in its owner and zeroed before its first use; the engine has it from
 * sim_engine_submit until `done` was told or sim_engine_cancel. */
struct sim_call {
    /* Said by the owner. */
    size_t model;           /* index */
    uint32_t items;         /* inputs of an embedding; 1 to generate; 0: only load the model */
    uint32_t prompt_tokens; /* at least 1, unless it only loads */
    uint32_t tokens;        /* to make; 0: an embedding, or it only loads */
    uint32_t context;       /* the model is loaded anew where another one was loaded with */
    int64_t keep_alive_us;  /* how long the model stays behind this call; below 0: for ever */
    /* Prompt and answer, SIM_BLOCK_TOKENS a block: each a hash of all up to there. Borrowed; NULL:
     * the prompt cache is left alone. */
    const uint64_t *blocks;
    size_t block_count;

    /* Told by the engine. */
    enum sim_phase phase;
    uint64_t submitted_us;
    uint64_t ready_us;   /* the model was */
    uint64_t started_us; /* it had a slot */
    uint64_t decode_us;  /* the prompt was read */
    uint64_t ended_us;
    uint32_t cached_tokens; /* of the prompt */
    uint32_t made;          /* tokens */

    /* The engine's own. */
    struct list_link link;
    struct list_link news_link;
    struct sim_runner *runner;
    struct sim_slot *slot;
    uint64_t fixed_end_us;
    uint32_t prompt_left;
    uint32_t share; /* of the prompt, in this step */
    uint32_t told;
    bool in_step;
};

struct sim_event {
    struct sim_call *call;
    uint32_t tokens; /* new ones */
    bool done;       /* the call is its owner's again */
};

enum sim_verdict {
    SIM_TAKEN,
    SIM_QUEUE_FULL,
    SIM_TOO_LARGE, /* the model does not fit into the memory */
};

struct sim_totals { /* since the start */
    uint64_t calls; /* taken */
    uint64_t done;
    uint64_t cancelled;
    uint64_t refused;
    uint64_t loads;
    uint64_t evictions; /* unloaded for another model, or for other options */
    uint64_t expiries;  /* unloaded when keep_alive was over */
    uint64_t prompt_tokens;
    uint64_t cached_tokens; /* of those */
    uint64_t tokens;
};

struct sim_model_state {
    bool loaded;
    bool loading;
    size_t busy; /* slots */
    size_t waiting;
    uint64_t context;
    uint64_t expires_us; /* UINT64_MAX: never */
};

struct sim_engine;

/* NULL: out of memory. */
struct sim_engine *sim_engine_new(const struct sim_profile *profile, size_t model_count,
                                  uint64_t seed);
/* One more model, behind the others. False: out of memory, and nothing has changed. */
bool sim_engine_add_model(struct sim_engine *e);
/* After the last call has ended or was cancelled. */
void sim_engine_free(struct sim_engine **e);

/* `now_us` never goes back, here and below. What is due before is done first, at its own time: a
 * late caller changes nothing but when it hears of it. */
enum sim_verdict sim_engine_submit(struct sim_engine *e, struct sim_call *c, uint64_t now_us);
/* The owner has left; does nothing for a call that the engine does not have. */
void sim_engine_cancel(struct sim_engine *e, struct sim_call *c, uint64_t now_us);
/* The model goes as soon as it is idle. */
void sim_engine_unload(struct sim_engine *e, size_t model, uint64_t now_us);
/* So many slots from now on; who has one keeps it. False: none, or more than it began with. */
bool sim_engine_set_slots(struct sim_engine *e, uint64_t slots, uint64_t now_us);
/* The next news, false: none up to `now_us`. Calls may be submitted and cancelled in between. */
bool sim_engine_next(struct sim_engine *e, uint64_t now_us, struct sim_event *ev);
/* When there will be more to do; UINT64_MAX: not before the next submit. Not before all news was
 * taken. */
uint64_t sim_engine_due_us(const struct sim_engine *e);

/* How long slots had nothing to do, from when an answer's end was told to the next call: so many of
 * a hundred at most that; 0: none had. */
uint64_t sim_engine_gap_us(const struct sim_engine *e, unsigned percent);
const struct sim_totals *sim_engine_totals(const struct sim_engine *e);
void sim_engine_model(const struct sim_engine *e, size_t model, uint64_t now_us,
                      struct sim_model_state *out);
size_t sim_engine_pending(const struct sim_engine *e); /* calls whose model is not ready */

#endif
