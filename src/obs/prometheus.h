/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics as Prometheus' text format 0.0.4. Any thread. */
#ifndef MCP_OBS_PROMETHEUS_H
#define MCP_OBS_PROMETHEUS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/counter.h"

/* Appends all families of metrics.def, summed over `count` sets. */
bool prometheus_render(const struct counters *const *sets, size_t count, struct buf *out);

#endif
