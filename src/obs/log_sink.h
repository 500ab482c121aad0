/* SPDX-License-Identifier: Apache-2.0 */
/* The log as logfmt lines on stderr. */
#ifndef MCP_OBS_LOG_SINK_H
#define MCP_OBS_LOG_SINK_H

#include "base/log.h"

/* Lines of `level` and above go to stderr from now on. Start-up only. */
void log_sink_open(enum log_level level);
/* Any time, any thread. */
void log_sink_level(enum log_level level);

#endif
