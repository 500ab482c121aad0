/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a simulated node's cost model, by profile: `echo` costs nothing, `seed` is one
 * call at a time at 27.2 ms + 1.36 ms per item, `llm` loads, evicts, batches and caches. Plain
 * values. */
#ifndef MCP_SIM_PROFILE_H
#define MCP_SIM_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_profile {
    const char *name;
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) uint64_t field;
#include "sim/profile.def"
#undef SIM_NUMBER
};

/* False: no profile of that name. */
bool sim_profile_find(const char *name, struct sim_profile *out);
/* Nothing takes time and nothing is limited, so there is nothing to schedule. */
bool sim_profile_is_free(const struct sim_profile *p);

#endif
