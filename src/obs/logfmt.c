/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/logfmt.h"

#include <inttypes.h>
#include <time.h>

enum { VALUE_BYTES_MAX = 256 };

bool logfmt_time(struct buf *out, uint64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000U);
    struct tm utc;
    char text[32] = "";

    if (gmtime_r(&seconds, &utc) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc); /* fits */
    }
    return buf_printf(out, "%s.%06" PRIu64 "Z", text, wall_us % 1000000U);
}

static bool is_plain(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];

        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* One line stays one line whatever a client put into its model's name. */
static void append_quoted(struct buf *out, struct slice value)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];

        if (c == '"' || c == '\\') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            buf_printf(out, "\\x%02x", (unsigned)c);
        } else {
            buf_append_byte(out, (char)c);
        }
    }
    buf_append_byte(out, '"');
}

bool logfmt_pair(struct buf *out, const char *key, struct slice value)
{
    value = slice_first(value, VALUE_BYTES_MAX);
    if (value.len == 0) {
        return !buf_failed(out);
    }
    buf_printf(out, " %s=", key);
    if (is_plain(value)) {
        return buf_append(out, value);
    }
    append_quoted(out, value);
    return !buf_failed(out);
}

bool logfmt_number(struct buf *out, const char *key, uint64_t value)
{
    return buf_printf(out, " %s=%" PRIu64, key, value);
}
