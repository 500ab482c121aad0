/* SPDX-License-Identifier: Apache-2.0 */
/* An engine under virtual time: `now` is only ever what a test says. One at a time; begin() makes
 * it, the test frees it. */
#ifndef MCP_TEST_SIM_ENGINE_RUN_H
#define MCP_TEST_SIM_ENGINE_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/engine.h"

enum { CALLS = 64, S = 1000000, MS = 1000, BEGIN_S = 5 };

extern struct sim_engine *e;
extern uint64_t now;
extern struct sim_call calls[CALLS];
extern unsigned told[CALLS]; /* tokens */
extern size_t ended_count;   /* since the last ENDED */

/* Without jitter. */
struct sim_profile profile_of(const char *name);
void begin(const struct sim_profile *p, size_t models, uint64_t seed);
void take_news(void);
/* Whatever happens until then, each at its own time. */
void run_to(uint64_t until_us);
void run_all(void); /* an hour */
struct sim_call *call_of(size_t id, size_t model, uint32_t items, uint32_t prompt, uint32_t tokens);
void submit(struct sim_call *c);
uint64_t took(size_t id);
const struct sim_totals *totals(void);
struct sim_model_state model(size_t i);

/* These calls have ended, in this order. */
void assert_ended(const size_t *ids, size_t count);
#define ENDED(...)                                                                                 \
    assert_ended((const size_t[]){__VA_ARGS__},                                                    \
                 sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

#endif
