/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/decode_text.h"

#include <ctype.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/utf8.h"

/* --- hexadecimal digits ----------------------------------------------------------------------- */

bool decode_is_text(struct slice input)
{
    for (size_t i = 0; i < input.len; i++) {
        unsigned char c = (unsigned char)input.ptr[i];

        if (c != '\n' && c != '\r' && c != '\t' && (c < 0x20 || c >= 0x7f)) {
            return false;
        }
    }
    return true;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "00000010: ", as xxd begins its lines. */
static size_t offset_len(struct slice line)
{
    size_t len = 0;

    while (len < line.len && digit(line.ptr[len]) >= 0) {
        len++;
    }
    return len >= 4 && len + 1 < line.len && line.ptr[len] == ':' && line.ptr[len + 1] == ' '
               ? len + 2
               : 0;
}

/* The digits of a line of xxd, without the characters behind them. */
static struct slice digits_of_xxd(struct slice line)
{
    const char *end = memmem(line.ptr, line.len, "  ", 2);

    return end == NULL ? line : slice_first(line, (size_t)(end - line.ptr));
}

static bool is_prefix(struct slice rest)
{
    return rest.len > 2 && rest.ptr[0] == '0' && (rest.ptr[1] | 0x20) == 'x';
}

/* The offset of what cannot be read, or the length of the line. */
static size_t read_digits(struct slice line, struct buf *out)
{
    size_t at = 0;

    while (at < line.len && line.ptr[at] != '#') {
        struct slice rest = slice_skip(line, at);

        if (strchr(" \t\r,:-", rest.ptr[0]) != NULL) {
            at++;
        } else if (is_prefix(rest)) {
            at += 2;
        } else if (rest.len > 1 && digit(rest.ptr[0]) >= 0 && digit(rest.ptr[1]) >= 0) {
            (void)buf_append_byte(out, (char)(digit(rest.ptr[0]) << 4 | digit(rest.ptr[1])));
            at += 2;
        } else {
            return at;
        }
    }
    return line.len;
}

static int read_line(struct slice line, enum decode_way *way, struct buf *out, size_t number,
                     struct err *e)
{
    struct slice digits = line;
    size_t skipped, stopped;

    if (digits.len > 0 && (digits.ptr[0] == '>' || digits.ptr[0] == '<')) {
        *way = digits.ptr[0] == '>' ? DECODE_TO_SERVER : DECODE_TO_CLIENT;
        digits = slice_skip(digits, 1);
    }
    skipped = offset_len(digits);
    if (skipped > 0) {
        digits = digits_of_xxd(slice_skip(digits, skipped));
    }
    stopped = read_digits(digits, out);
    if (stopped < digits.len) {
        return err_set(e, MCP_EARGUMENT, "line %zu, column %zu: expected two hexadecimal digits",
                       number, (size_t)(digits.ptr - line.ptr) + stopped + 1);
    }
    return buf_failed(out) ? err_set(e, MCP_ENOMEM, "out of memory") : MCP_OK;
}

int decode_hex(struct slice text, decode_bytes_cb cb, void *owner, struct err *e)
{
    enum decode_way way = DECODE_ANY;
    struct buf bytes = {0};
    size_t number = 0;
    int rv = MCP_OK;

    while (text.len > 0 && rv == MCP_OK) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct slice line = end == NULL ? text : slice_first(text, (size_t)(end - text.ptr));

        buf_clear(&bytes);
        rv = read_line(line, &way, &bytes, ++number, e);
        if (buf_len(&bytes) > 0) { /* those before a mistake too */
            cb(owner, way, buf_slice(&bytes));
        }
        text = slice_skip(text, end == NULL ? line.len : line.len + 1);
    }
    buf_fini(&bytes);
    return rv;
}

/* --- payloads --------------------------------------------------------------------------------- */

/* The length of the string that begins `json`, which is valid, with its quotes. */
static size_t string_len(struct slice json)
{
    size_t at = 1;

    while (json.ptr[at] != '"') {
        at += json.ptr[at] == '\\' ? 2 : 1;
    }
    return at + 1;
}

/* Behind a string: whether it is the name of a member, and if so `at` is behind the colon and the
 * blanks around it. */
static bool is_name(struct slice json, size_t *at)
{
    size_t i = *at;

    while (i < json.len && isspace((unsigned char)json.ptr[i])) {
        i++;
    }
    if (i == json.len || json.ptr[i] != ':') {
        return false;
    }
    do {
        i++;
    } while (isspace((unsigned char)json.ptr[i]));
    *at = i;
    return true;
}

/* In any case of letters: the gateway refuses "Auth", but what stands behind it is a key. */
static bool is_secret(struct slice quoted)
{
    struct slice rest = slice_of(quoted.ptr + 1, quoted.len - 2);
    struct slice name = SLICE("auth");

    while (rest.len > 0 && name.len > 0) {
        uint32_t c = json_take_char(&rest);

        if (c > 'z' || tolower((int)c) != name.ptr[0]) {
            return false;
        }
        name = slice_skip(name, 1);
    }
    return rest.len == 0 && name.len == 0;
}

/* The length of the value that begins `json`; 0 of an object or array. */
static size_t scalar_len(struct slice json)
{
    size_t len = 0;

    if (json.ptr[0] == '"') {
        return string_len(json);
    }
    while (len < json.len && strchr("{}[], \t\r\n", json.ptr[len]) == NULL) {
        len++;
    }
    return len;
}

/* Appends the string that begins `json`, and the value behind it where that is to be hidden.
 * Returns how far that went. */
static size_t append_string(struct slice json, struct buf *out)
{
    struct slice quoted = slice_first(json, string_len(json));
    size_t at = quoted.len;

    buf_append(out, quoted);
    if (is_name(json, &at)) {
        buf_append_byte(out, ':');
        if (is_secret(quoted) && scalar_len(slice_skip(json, at)) > 0) {
            buf_append(out, SLICE("\"***\""));
            at += scalar_len(slice_skip(json, at));
        }
    }
    return at;
}

bool decode_json_line(struct slice json, size_t max_chars, struct buf *out)
{
    size_t begin = buf_len(out);
    struct slice line;
    size_t at = 0;

    if (json_validate(json, NULL) != JSON_OK) {
        return false;
    }
    while (at < json.len && (max_chars == 0 || buf_len(out) - begin <= max_chars)) {
        if (json.ptr[at] == '"') {
            at += append_string(slice_skip(json, at), out);
        } else {
            if (!isspace((unsigned char)json.ptr[at])) {
                buf_append_byte(out, json.ptr[at]);
            }
            at++;
        }
    }
    line = slice_skip(buf_slice(out), begin);
    if (max_chars > 0 && line.len > max_chars) {
        struct slice kept = utf8_first(line, max_chars);

        out->tail -= line.len - kept.len;
        buf_append(out, SLICE("..."));
    }
    return true;
}
