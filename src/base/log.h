/* SPDX-License-Identifier: Apache-2.0 */
/* The log call; where lines go is the sink's business (src/obs). A line has a constant event name,
 * so that lines can be counted, and a text of key=value pairs. Never payloads, prompts or keys;
 * lengths and ids are fine. The level is tested before arguments are built. Any thread may call. */
#ifndef MCP_BASE_LOG_H
#define MCP_BASE_LOG_H

#include <stdatomic.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

typedef void (*log_sink_fn)(void *owner, enum log_level level, const char *event, const char *text);

/* The least severe that is written; may change at any time. */
extern _Atomic unsigned log_threshold;

/* Lines go to `sink` from now on (NULL: dropped). Start-up only. */
void log_set_sink(log_sink_fn sink, void *owner);
void log_write(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((cold, format(printf, 3, 4)));

#define LOG_AT(level, event, ...)                                                                  \
    do {                                                                                           \
        if ((level) >= atomic_load_explicit(&log_threshold, memory_order_relaxed)) {               \
            log_write(level, event, __VA_ARGS__);                                                  \
        }                                                                                          \
    } while (0)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define LOG_INFO(event, ...) LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_WARN(event, ...) LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#endif
