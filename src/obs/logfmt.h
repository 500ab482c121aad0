/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt: key=value pairs on one line; values that hold blanks, quotes or control bytes are quoted
 * and escaped. Pure. */
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
bool logfmt_number(struct buf *out, const char *key, uint64_t value);

#endif
