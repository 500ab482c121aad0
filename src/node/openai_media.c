/* SPDX-License-Identifier: Apache-2.0 */
#include "node/openai_media.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcp/error.h"

enum { PAD = 64, BREAK = 65, INVALID = 66, SNIFF_CHARS = 24 };

static unsigned value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    switch (c) {
    case '+':
        return 62;
    case '/':
        return 63;
    case '=':
        return PAD;
    case '\r':
    case '\n':
        return BREAK;
    default:
        return INVALID;
    }
}

/* Whether it is whole groups of four with padding at the end only, line breaks apart. */
static bool is_base64(struct slice s)
{
    size_t chars = 0;
    size_t pads = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned v = value_of(s.ptr[i]);

        if (v == INVALID || (v < PAD && pads > 0)) {
            return false;
        }
        chars += v != BREAK;
        pads += v == PAD;
    }
    return chars % 4 == 0 && pads <= 2;
}

/* Decodes what is known to be base64. */
static size_t decode(struct slice s, unsigned char *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned v = value_of(s.ptr[i]);

        if (v >= PAD) {
            continue;
        }
        bits = bits << 6 | v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[len++] = (unsigned char)(bits >> have & 0xFF);
        }
    }
    return len;
}

int openai_base64_decode(struct slice base64, struct buf *out)
{
    char *at;

    if (!is_base64(base64)) {
        return MCP_EBAD_REQUEST;
    }
    at = buf_reserve(out, base64.len / 4 * 3 + 3);
    if (at == NULL) {
        return MCP_ENOMEM;
    }
    buf_commit(out, decode(base64, (unsigned char *)at));
    return 0;
}

static bool has_bytes(const unsigned char *head, size_t len, size_t at, const char *want)
{
    struct slice w = slice_str(want);

    return at + w.len <= len && slice_eq(slice_of(head + at, w.len), w);
}

static const char *audio_format(const unsigned char *head, size_t len)
{
    if (has_bytes(head, len, 0, "RIFF") && has_bytes(head, len, 8, "WAVE")) {
        return "wav";
    }
    if (has_bytes(head, len, 0, "ID3") ||
        (len >= 2 && head[0] == 0xFF && (head[1] & 0xE0) == 0xE0)) {
        return "mp3";
    }
    return NULL;
}

static const char *image_type(const unsigned char *head, size_t len)
{
    if (has_bytes(head, len, 0, "\x89PNG\r\n\x1a\n")) {
        return "image/png";
    }
    if (has_bytes(head, len, 0, "GIF87a") || has_bytes(head, len, 0, "GIF89a")) {
        return "image/gif";
    }
    if (has_bytes(head, len, 0, "RIFF") && has_bytes(head, len, 8, "WEBPVP")) {
        return "image/webp";
    }
    return has_bytes(head, len, 0, "BM") ? "image/bmp" : "image/jpeg";
}

static void append_without_breaks(struct buf *out, struct slice base64)
{
    size_t begin = 0;

    for (size_t i = 0; i <= base64.len; i++) {
        if (i == base64.len || value_of(base64.ptr[i]) == BREAK) {
            (void)buf_append(out, slice_of(base64.ptr + begin, i - begin)); /* sticky */
            begin = i + 1;
        }
    }
}

int openai_media_append(struct buf *out, struct slice base64)
{
    unsigned char head[SNIFF_CHARS];
    const char *audio;
    size_t len;

    if (!is_base64(base64)) {
        return MCP_EBAD_REQUEST;
    }
    len = decode(slice_of(base64.ptr, base64.len < SNIFF_CHARS ? base64.len : SNIFF_CHARS), head);
    audio = audio_format(head, len);
    if (audio != NULL) {
        (void)buf_printf(
            out, "{\"type\":\"input_audio\",\"input_audio\":{\"format\":\"%s\",\"data\":\"", audio);
    } else {
        (void)buf_printf(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:%s;base64,",
                         image_type(head, len));
    }
    append_without_breaks(out, base64); /* needs no escapes; sticky, as all here */
    (void)buf_append_str(out, "\"}}");
    return 0;
}
