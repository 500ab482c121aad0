/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum { LINE_BYTES = 1024 };

_Atomic unsigned log_threshold = LOG_LEVEL_INFO;

static log_sink_fn current_sink;
static void *sink_owner;

void log_set_sink(log_sink_fn sink, void *owner)
{
    current_sink = sink;
    sink_owner = owner;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;

    if (current_sink == NULL) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* a longer line is cut */
    va_end(args);
    current_sink(sink_owner, level, event, text);
}
