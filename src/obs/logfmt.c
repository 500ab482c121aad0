/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/logfmt.h"

#include <time.h>

#include "base/utf8.h"

enum { VALUE_BYTES_MAX = 256 };

bool logfmt_time(struct buf *out, uint64_t wall_us)
{
    /* Lines come in seconds of many. */
    static _Thread_local time_t last;
    static _Thread_local char text[32];
    time_t seconds = (time_t)(wall_us / 1000000U);
    uint64_t micros = wall_us % 1000000U;
    char digits[8] = {'.', '0', '0', '0', '0', '0', '0', 'Z'};
    struct tm utc;

    if ((seconds != last || text[0] == '\0') && gmtime_r(&seconds, &utc) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc); /* fits */
        last = seconds;
    }
    for (int at = 6; at > 0; at--, micros /= 10) {
        digits[at] = (char)('0' + micros % 10);
    }
    return buf_append_str(out, text) && buf_append(out, slice_of(digits, sizeof(digits)));
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

/* U+0080 to U+009F move a terminal's cursor as the bytes below a blank do. */
static bool is_control(const char *p, size_t len)
{
    unsigned char first = (unsigned char)p[0];

    return first < ' ' || first == 0x7f ||
           (len == 2 && first == 0xc2 && (unsigned char)p[1] < 0xa0);
}

/* One line stays one line, and a terminal stays as it is, whatever a peer put into it. */
static void append_escaped(struct buf *out, struct slice value, bool quoted)
{
    while (value.len > 0) {
        bool ascii = (unsigned char)value.ptr[0] < 0x80;
        size_t len = ascii ? 1 : utf8_sequence(value.ptr, value.len);

        if (len == 0 || is_control(value.ptr, len)) {
            len = 1; /* what follows of a longer one is no sequence of its own and comes here too */
            buf_printf(out, "\\x%02x", (unsigned)(unsigned char)value.ptr[0]);
        } else {
            if (quoted && (value.ptr[0] == '"' || value.ptr[0] == '\\')) {
                buf_append_byte(out, '\\');
            }
            buf_append(out, slice_first(value, len));
        }
        value = slice_skip(value, len);
    }
}

bool logfmt_text(struct buf *out, struct slice text)
{
    append_escaped(out, text, false);
    return !buf_failed(out);
}

static void append_key(struct buf *out, const char *key)
{
    buf_append_byte(out, ' ');
    buf_append_str(out, key);
    buf_append_byte(out, '=');
}

bool logfmt_pair(struct buf *out, const char *key, struct slice value)
{
    value = utf8_first(value, VALUE_BYTES_MAX);
    if (value.len == 0) {
        return !buf_failed(out);
    }
    append_key(out, key);
    if (is_plain(value)) {
        return buf_append(out, value);
    }
    buf_append_byte(out, '"');
    append_escaped(out, value, true);
    return buf_append_byte(out, '"');
}

bool logfmt_number(struct buf *out, const char *key, uint64_t value)
{
    append_key(out, key);
    return buf_append_uint(out, value);
}
