/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated model node: Ollama's HTTP API (and of /v1 the models, chat and completions) on
 * one loop, with the cost model of engine.h behind it, or nothing at all (profile echo). What it
 * says of itself is marked: "simulated": true in /api/version, counts in /sim/stats. It stands in
 * for a node in tests and benchmarks; nothing of it is part of the gateway. */
#ifndef MCP_SIM_SERVER_H
#define MCP_SIM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "reactor/addr.h"
#include "reactor/loop.h"
#include "sim/fault.h"
#include "sim/profile.h"

struct sim_options {
    struct sim_profile profile;
    const char *const *models; /* their names; ":latest" is added where there is no tag */
    size_t model_count;
    uint64_t seed;
    const struct sim_fault *faults; /* the first that hits a call is used */
    size_t fault_count;
    bool has_gap; /* profile echo writes each part by itself, `gap_us` apart; 0: turn by turn */
    uint64_t gap_us;
};

struct sim_server;

/* Listens; `options` is copied. Out of memory ends the process: for start-up. NULL: it cannot
 * listen there. */
struct sim_server *sim_server_new(struct loop *loop, const struct addr *at,
                                  const struct sim_options *options, struct err *e);
/* Cuts all connections. */
void sim_server_free(struct sim_server **s);
const struct addr *sim_server_addr(const struct sim_server *s);

#endif
