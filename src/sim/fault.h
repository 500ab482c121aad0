/* SPDX-License-Identifier: Apache-2.0 */
/* What a simulated node does wrong, and when: NAME[:N][@every M], as --fault, the header
 * X-Sim-Fault and options.sim_fault have it. Plain values. */
#ifndef MCP_SIM_FAULT_H
#define MCP_SIM_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum sim_fault_kind {
    SIM_FAULT_NONE,
#define SIM_FAULT(id, name, number, most, help) SIM_FAULT_##id,
#include "sim/fault.def"
#undef SIM_FAULT
};

struct sim_fault {
    enum sim_fault_kind kind;
    uint32_t number; /* what it means is in fault.def */
    uint32_t every;  /* the M-th, the 2 M-th ... call; 1: each */
};

/* "reset", "reset:3", "hang@every 10". 0, or MCP_EARGUMENT with what was expected. */
int sim_fault_parse(struct sim_fault *f, struct slice text, struct err *e);
/* Whether the `count`-th call (from 1) has it. */
bool sim_fault_hits(const struct sim_fault *f, uint64_t count);

#endif
