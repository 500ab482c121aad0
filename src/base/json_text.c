/* SPDX-License-Identifier: Apache-2.0 */
/* The text half of the scanner: strings and whole numbers, read and written. */
#include "base/json_scan.h"

#include <string.h>

#include "base/utf8.h"

/* The four hexadecimal digits at `p`, known to be such. */
static uint32_t hex4(const char *p)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];

        value = value << 4 | (c <= '9' ? c - (uint32_t)'0' : (c | 0x20U) - (uint32_t)'a' + 10U);
    }
    return value;
}

/* At "\u": one or, for a surrogate pair, two escapes. */
static uint32_t take_unicode(struct slice *s)
{
    uint32_t first = hex4(s->ptr + 2);

    *s = slice_skip(*s, 6);
    if (first < 0xD800 || first > 0xDFFF) {
        return first;
    }
    if (first < 0xDC00 && slice_starts(*s, SLICE("\\u"))) {
        uint32_t second = hex4(s->ptr + 2);

        if (second >= 0xDC00 && second <= 0xDFFF) {
            *s = slice_skip(*s, 6);
            return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        }
    }
    return UTF8_REPLACEMENT;
}

/* At a backslash. */
static uint32_t take_escape(struct slice *s)
{
    char c = s->ptr[1];

    if (c == 'u') {
        return take_unicode(s);
    }
    *s = slice_skip(*s, 2);
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default: /* quote, backslash, slash */
        return (unsigned char)c;
    }
}

uint32_t json_take_char(struct slice *escaped)
{
    unsigned char first = (unsigned char)escaped->ptr[0];
    size_t len = 1;
    uint32_t code = first;

    if (first == '\\') {
        return take_escape(escaped);
    }
    if (first >= 0x80) {
        len = utf8_sequence(escaped->ptr, escaped->len);
        if (len == 0) { /* cannot be in a valid string */
            len = 1;
            code = UTF8_REPLACEMENT;
        } else {
            code &= 0x7FU >> len;
        }
        for (size_t i = 1; i < len; i++) {
            code = code << 6 | ((unsigned char)escaped->ptr[i] & 0x3FU);
        }
    }
    *escaped = slice_skip(*escaped, len);
    return code;
}

bool json_escaped_key_is(const struct json_member *m, struct slice name)
{
    struct slice rest = m->key;

    while (rest.len > 0) {
        char utf8[4];
        size_t len = utf8_encode(json_take_char(&rest), utf8);

        if (!slice_starts(name, slice_of(utf8, len))) {
            return false;
        }
        name = slice_skip(name, len);
    }
    return name.len == 0;
}

bool json_unescape(struct slice quoted, struct buf *out)
{
    struct slice rest = slice_of(quoted.ptr + 1, quoted.len - 2);

    while (rest.len > 0) {
        const char *backslash = memchr(rest.ptr, '\\', rest.len);
        size_t plain = backslash == NULL ? rest.len : (size_t)(backslash - rest.ptr);
        char utf8[4];

        if (!buf_append(out, slice_first(rest, plain))) {
            return false;
        }
        rest = slice_skip(rest, plain);
        if (rest.len > 0 &&
            !buf_append(out, slice_of(utf8, utf8_encode(take_escape(&rest), utf8)))) {
            return false;
        }
    }
    return true;
}

/* How many bytes at the start of `s` can stand in a JSON string as they are. */
static size_t plain_len(struct slice s)
{
    size_t i = 0;

    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t len = c < 0x80 ? 1 : utf8_sequence(s.ptr + i, s.len - i);

        if (len == 0 || c < 0x20 || c == '"' || c == '\\') {
            break;
        }
        i += len;
    }
    return i;
}

static bool append_escape(struct buf *out, char c)
{
    switch (c) {
    case '"':
        return buf_append(out, SLICE("\\\""));
    case '\\':
        return buf_append(out, SLICE("\\\\"));
    case '\b':
        return buf_append(out, SLICE("\\b"));
    case '\f':
        return buf_append(out, SLICE("\\f"));
    case '\n':
        return buf_append(out, SLICE("\\n"));
    case '\r':
        return buf_append(out, SLICE("\\r"));
    case '\t':
        return buf_append(out, SLICE("\\t"));
    default:
        if ((unsigned char)c >= 0x80) {
            return buf_append(out, SLICE("\xEF\xBF\xBD"));
        }
        return buf_printf(out, "\\u%04x", (unsigned)c);
    }
}

bool json_append_string(struct buf *out, struct slice text)
{
    if (!buf_append_byte(out, '"')) {
        return false;
    }
    while (text.len > 0) {
        size_t plain = plain_len(text);

        if (!buf_append(out, slice_first(text, plain))) {
            return false;
        }
        text = slice_skip(text, plain);
        if (text.len > 0) {
            if (!append_escape(out, text.ptr[0])) {
                return false;
            }
            text = slice_skip(text, 1);
        }
    }
    return buf_append_byte(out, '"');
}

bool json_uint(struct slice value, uint64_t *out)
{
    uint64_t sum = 0;

    if (value.len == 0 || (value.ptr[0] == '0' && value.len > 1)) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit;

        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return false;
        }
        digit = (uint64_t)(value.ptr[i] - '0');
        if (sum > ((uint64_t)INT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *out = sum;
    return true;
}
