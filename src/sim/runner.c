/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/runner.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim/random.h"

uint64_t sim_vary(struct sim_shared *shared, uint64_t us)
{
    uint64_t reach = us * shared->profile.jitter_percent / 100;

    return reach == 0 ? us : us - reach + sim_random_next(&shared->random) % (2 * reach + 1);
}

bool sim_runner_init(struct sim_runner *r, struct sim_shared *shared)
{
    *r = (struct sim_runner){.shared = shared, .step_end_us = UINT64_MAX};
    if (shared->profile.prompt_cache != 0 && shared->profile.slots != 0) {
        r->slots = calloc(shared->most_slots, sizeof(*r->slots));
        return r->slots != NULL;
    }
    return true;
}

static void forget_prompts(struct sim_runner *r)
{
    for (size_t i = 0; r->slots != NULL && i < r->shared->most_slots; i++) {
        free(r->slots[i].blocks);
        r->slots[i] = (struct sim_slot){0};
    }
}

void sim_runner_fini(struct sim_runner *r)
{
    forget_prompts(r);
    free(r->slots);
}

void sim_runner_load(struct sim_runner *r, uint64_t context, uint64_t now_us)
{
    ASSERT(r->state == SIM_RUNNER_ABSENT);
    r->state = SIM_RUNNER_LOADING;
    r->context = context;
    r->load_end_us = now_us + sim_vary(r->shared, r->shared->profile.load_ms * 1000);
    r->shared->totals.loads++;
}

void sim_runner_ready(struct sim_runner *r)
{
    r->state = SIM_RUNNER_READY;
    r->used_us = r->load_end_us;
    r->keep_alive_us = (int64_t)r->shared->profile.keep_alive_s * 1000000;
}

void sim_runner_unload(struct sim_runner *r)
{
    ASSERT(r->state == SIM_RUNNER_READY && sim_runner_idle(r));
    r->state = SIM_RUNNER_ABSENT;
    r->draining = false;
    forget_prompts(r);
}

/* --- when
 * ---------------------------------------------------------------------------------------------- */

bool sim_runner_idle(const struct sim_runner *r)
{
    return r->active.count == 0 && r->waiting.count == 0;
}

uint64_t sim_runner_expires_us(const struct sim_runner *r)
{
    return r->keep_alive_us < 0 ? UINT64_MAX : r->used_us + (uint64_t)r->keep_alive_us;
}

uint64_t sim_runner_due_us(const struct sim_runner *r)
{
    uint64_t due = r->step_end_us;

    switch (r->state) {
    case SIM_RUNNER_ABSENT:
        return UINT64_MAX;
    case SIM_RUNNER_LOADING:
        return r->load_end_us;
    case SIM_RUNNER_READY:
        break;
    }
    if (sim_runner_idle(r)) {
        return sim_runner_expires_us(r);
    }
    for (struct sim_call *c = sim_call_list_first(&r->active); c != NULL;
         c = sim_call_list_next(&r->active, c)) {
        if (c->phase == SIM_FIXED && c->fixed_end_us < due) {
            due = c->fixed_end_us;
        }
    }
    return due;
}

/* --- prompt cache
 * -------------------------------------------------------------------------------------- */

static size_t common_blocks(const struct sim_slot *slot, const struct sim_call *c)
{
    size_t most = slot->block_count < c->block_count ? slot->block_count : c->block_count;
    size_t n = 0;

    while (n < most && slot->blocks[n] == c->blocks[n]) {
        n++;
    }
    return n;
}

/* The free slot that has most of the prompt; of equal ones that which was used longest ago. */
static void take_slot(struct sim_runner *r, struct sim_call *c)
{
    struct sim_slot *best = NULL;
    size_t best_common = 0;
    uint64_t cached;

    if (r->slots == NULL) {
        return;
    }
    for (size_t i = 0; i < r->shared->most_slots; i++) {
        struct sim_slot *slot = &r->slots[i];
        size_t common = slot->busy ? 0 : common_blocks(slot, c);

        if (!slot->busy && (best == NULL || common > best_common ||
                            (common == best_common && slot->used_us < best->used_us))) {
            best = slot;
            best_common = common;
        }
    }
    ASSERT(best != NULL);
    best->busy = true;
    c->slot = best;
    cached = (uint64_t)best_common * SIM_BLOCK_TOKENS;
    /* The last token is read again: without it there is nothing to go on from. */
    c->cached_tokens = (uint32_t)(cached < c->prompt_tokens ? cached : c->prompt_tokens - 1);
}

/* The slot keeps what was computed. Out of memory: nothing of it. */
static void give_slot(struct sim_call *c, uint64_t now_us)
{
    struct sim_slot *slot = c->slot;
    size_t count;

    if (slot == NULL) {
        return;
    }
    c->slot = NULL;
    slot->busy = false;
    slot->used_us = now_us;
    if (c->blocks == NULL || c->phase == SIM_FIXED) {
        return;
    }
    count = (c->prompt_tokens - c->prompt_left + c->made) / SIM_BLOCK_TOKENS;
    count = count < c->block_count ? count : c->block_count;
    if (count > slot->block_cap) {
        uint64_t *blocks = realloc(slot->blocks, count * sizeof(*blocks));

        slot->block_cap = blocks == NULL ? slot->block_cap : count;
        slot->blocks = blocks == NULL ? slot->blocks : blocks;
        count = blocks == NULL ? 0 : count;
    }
    if (count > 0) {
        memcpy(slot->blocks, c->blocks, count * sizeof(*c->blocks));
    }
    slot->block_count = count;
}

/* --- steps
 * --------------------------------------------------------------------------------------------- */

static void tell(struct sim_runner *r, struct sim_call *c)
{
    if (!sim_news_list_has(c)) {
        sim_news_list_push(&r->shared->news, c);
    }
}

static void leave(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    sim_call_list_remove(&r->active, c);
    give_slot(c, now_us);
    c->runner = NULL;
    r->used_us = now_us;
}

static void finish(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    leave(r, c, now_us);
    c->phase = SIM_DONE;
    c->ended_us = now_us;
    r->shared->totals.done++;
    tell(r, c);
}

static void begin_step(struct sim_runner *r, uint64_t now_us)
{
    const struct sim_profile *p = &r->shared->profile;
    uint64_t decoding = 0, reading = 0, cost;
    bool any = false;

    for (struct sim_call *c = sim_call_list_first(&r->active); c != NULL;
         c = sim_call_list_next(&r->active, c)) {
        c->in_step = c->phase == SIM_DECODE;
        if (c->in_step) {
            decoding++;
        } else if (c->phase == SIM_PROMPT && reading < SIM_STEP_TOKENS) {
            uint64_t room = SIM_STEP_TOKENS - reading;

            c->share = c->prompt_left < room ? c->prompt_left : (uint32_t)room;
            c->in_step = true;
            reading += c->share;
        }
        any = any || c->in_step;
    }
    cost = reading * p->prompt_us;
    if (decoding > 0) {
        cost += p->decode_us + p->decode_slot_us * decoding;
    }
    r->step_end_us = any ? now_us + sim_vary(r->shared, cost) : UINT64_MAX;
}

static void make_token(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    c->made++;
    r->shared->totals.tokens++;
    if (c->made == c->tokens) {
        finish(r, c, now_us);
    } else {
        tell(r, c);
    }
}

static void read_prompt(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    c->prompt_left -= c->share;
    if (c->prompt_left > 0) {
        return;
    }
    c->decode_us = now_us;
    if (c->tokens == 0) {
        finish(r, c, now_us);
        return;
    }
    c->phase = SIM_DECODE;
    make_token(r, c, now_us); /* the last step of a prompt gives the first token */
}

static void end_step(struct sim_runner *r, uint64_t now_us)
{
    struct sim_call *next;

    r->step_end_us = UINT64_MAX;
    for (struct sim_call *c = sim_call_list_first(&r->active); c != NULL; c = next) {
        next = sim_call_list_next(&r->active, c);
        if (!c->in_step) {
            continue;
        }
        c->in_step = false;
        if (c->phase == SIM_PROMPT) {
            read_prompt(r, c, now_us);
        } else {
            make_token(r, c, now_us);
        }
    }
}

/* --- slots
 * --------------------------------------------------------------------------------------------- */

static void start(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    const struct sim_profile *p = &r->shared->profile;

    sim_call_list_push(&r->active, c);
    c->started_us = now_us;
    sim_gap_ended(&r->shared->gaps, now_us);
    if (c->items == 0) {
        finish(r, c, now_us);
        return;
    }
    take_slot(r, c);
    c->prompt_left = c->prompt_tokens - c->cached_tokens;
    c->phase = SIM_FIXED;
    c->fixed_end_us = now_us + sim_vary(r->shared, p->call_us + p->item_us * c->items);
    r->shared->totals.prompt_tokens += c->prompt_tokens;
    r->shared->totals.cached_tokens += c->cached_tokens;
}

static void end_fixed(struct sim_runner *r, uint64_t now_us)
{
    for (struct sim_call *c = sim_call_list_first(&r->active); c != NULL;
         c = sim_call_list_next(&r->active, c)) {
        if (c->phase == SIM_FIXED && c->fixed_end_us <= now_us) {
            c->phase = SIM_PROMPT;
        }
    }
}

static void fill(struct sim_runner *r, uint64_t now_us)
{
    uint64_t slots = r->shared->profile.slots;

    while (r->waiting.count > 0 && (slots == 0 || r->active.count < slots)) {
        start(r, sim_call_list_pop(&r->waiting), now_us);
    }
    end_fixed(r, now_us);
    if (r->step_end_us == UINT64_MAX) {
        begin_step(r, now_us);
    }
}

void sim_runner_add(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    ASSERT(r->state == SIM_RUNNER_READY);
    c->runner = r;
    c->phase = SIM_WAITING;
    c->ready_us = now_us;
    r->keep_alive_us = c->keep_alive_us;
    sim_call_list_push(&r->waiting, c);
    fill(r, now_us);
}

void sim_runner_cancel(struct sim_runner *r, struct sim_call *c, uint64_t now_us)
{
    if (c->phase == SIM_WAITING) {
        sim_call_list_remove(&r->waiting, c);
        c->runner = NULL;
        return;
    }
    leave(r, c, now_us);
    if (r->active.count == 0) {
        r->step_end_us = UINT64_MAX;
    }
    fill(r, now_us);
}

void sim_runner_run(struct sim_runner *r, uint64_t now_us)
{
    if (r->step_end_us <= now_us) {
        end_step(r, now_us);
    }
    fill(r, now_us);
}
