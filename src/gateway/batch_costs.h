/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop has learnt of the calls that it made (sched/batch_cost.h), by node and model; the
 * pair that was used longest ago makes room. The loop's thread only. */
#ifndef MCP_GATEWAY_BATCH_COSTS_H
#define MCP_GATEWAY_BATCH_COSTS_H

#include <stdint.h>

#include "base/slice.h"
#include "sched/batch_cost.h"

struct batch_costs;

/* What is known of that node and model, made where there is nothing yet; NULL: out of memory.
 * Valid until the next call of this. `costs` begins as NULL. */
struct batch_cost *batch_costs_of(struct batch_costs **costs, uint64_t node_id, struct slice model);
/* batch_cost_note, and counts. */
void batch_costs_note(struct batch_cost *c, const struct batch_size *size, uint64_t us);
void batch_costs_free(struct batch_costs **costs);

#endif
