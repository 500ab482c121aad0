/* SPDX-License-Identifier: Apache-2.0 */
/* How evenly tenants that wait for the same model are served; see report.h. */
#ifndef MCP_FARM_FAIRNESS_H
#define MCP_FARM_FAIRNESS_H

#include "farm/farm.h"

struct farm_fairness;

struct farm_fairness *farm_fairness_new(size_t models, size_t tenants);
void farm_fairness_free(struct farm_fairness **f);
void farm_fairness_watch(struct farm_fairness *f, uint64_t now_us, enum farm_event event,
                         const struct farm_live *l);
bool farm_fairness_result(const struct farm_fairness *f, double *jain, double *most_apart);

#endif
