/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as Ollama writes them: "2026-11-22T12:00:00.123456789Z", with any offset. Pure. */
#ifndef MCP_CODEC_RFC3339_H
#define MCP_CODEC_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Microseconds since 1970; what is finer is cut off. False: `text` is no such time. */
bool rfc3339_read(struct slice text, int64_t *us);

#endif
