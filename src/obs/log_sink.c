/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/log_sink.h"

#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "obs/line.h"
#include "obs/logfmt.h"

static uint64_t wall_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

/* One write per line, so that lines of several threads do not mix. */
static void write_line(void *owner, enum log_level level, const char *event, const char *text)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct buf line = {0};

    (void)owner;
    buf_append_str(&line, "ts=");
    logfmt_time(&line, wall_us());
    buf_printf(&line, " level=%s event=%s ", levels[level], event);
    logfmt_text(&line, slice_str(text));
    buf_append_byte(&line, '\n');
    line_write(STDERR_FILENO, &line);
    buf_fini(&line);
}

void log_sink_open(enum log_level level)
{
    log_sink_level(level);
    log_set_sink(write_line, NULL);
}

void log_sink_level(enum log_level level)
{
    atomic_store_explicit(&log_threshold, level, memory_order_relaxed);
}
