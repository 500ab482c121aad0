/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt: key=value pairs on one line; values that hold more than plain ASCII are quoted, and what
 * controls a terminal, or is not UTF-8, is escaped. Pure. */
#ifndef MCP_OBS_LOGFMT_H
#define MCP_OBS_LOGFMT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* "2026-01-31T12:00:00.123456Z" */
bool logfmt_time(struct buf *out, uint64_t wall_us);
/* " key=value"; nothing for an empty value. At most 256 bytes of the value. */
bool logfmt_pair(struct buf *out, const char *key, struct slice value);
/* Pairs that are already put together: only what could break the line or a terminal is escaped. */
bool logfmt_text(struct buf *out, struct slice text);
bool logfmt_number(struct buf *out, const char *key, uint64_t value);

#endif
