/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_run.h"

#include <string.h>

struct sim_engine *e;
uint64_t now;
struct sim_call calls[CALLS];
unsigned told[CALLS];       /* tokens */
static size_t ended[CALLS]; /* in this order */
size_t ended_count;

struct sim_profile profile_of(const char *name)
{
    struct sim_profile p;

    assert_true(sim_profile_find(name, &p));
    p.jitter_percent = 0;
    return p;
}

void begin(const struct sim_profile *p, size_t models, uint64_t seed)
{
    memset(calls, 0, sizeof(calls));
    memset(told, 0, sizeof(told));
    ended_count = 0;
    now = BEGIN_S * (uint64_t)S;
    e = sim_engine_new(p, models, seed);
    assert_non_null(e);
}

void take_news(void)
{
    struct sim_event ev;

    while (sim_engine_next(e, now, &ev)) {
        size_t id = (size_t)(ev.call - calls);

        assert_in_range(id, 0, CALLS - 1);
        told[id] += ev.tokens;
        if (ev.done) {
            assert_int_equal(told[id], calls[id].tokens);
            ended[ended_count++ % CALLS] = id;
        }
    }
}

void run_to(uint64_t until_us)
{
    take_news();
    for (uint64_t due; (due = sim_engine_due_us(e)) <= until_us;) {
        assert_true(due >= now);
        now = due;
        take_news();
    }
    now = until_us;
}

void run_all(void)
{
    run_to(now + 3600 * (uint64_t)S);
}

struct sim_call *call_of(size_t id, size_t model, uint32_t items, uint32_t prompt, uint32_t tokens)
{
    calls[id] = (struct sim_call){
        .model = model,
        .items = items,
        .prompt_tokens = prompt,
        .tokens = tokens,
        .context = 4096,
        .keep_alive_us = 300 * (int64_t)S,
    };
    told[id] = 0;
    return &calls[id];
}

void submit(struct sim_call *c)
{
    assert_int_equal(sim_engine_submit(e, c, now), SIM_TAKEN);
}

uint64_t took(size_t id)
{
    return calls[id].ended_us - calls[id].submitted_us;
}

void assert_ended(const size_t *ids, size_t count)
{
    assert_int_equal(ended_count, count);
    assert_memory_equal(ended, ids, count * sizeof(*ids));
    ended_count = 0;
}
const struct sim_totals *totals(void)
{
    return sim_engine_totals(e);
}

struct sim_model_state model(size_t i)
{
    struct sim_model_state state;

    sim_engine_model(e, i, now, &state);
    return state;
}
