/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse/split.h"

#include "mcp/error.h"

/* The search for the nearer of \n and \r goes window by window, so that a stream with only one of
 * the two is not searched to its end for the other at every line. */
enum { WINDOW_BYTES = 512 };

void splitter_init(struct splitter *s, enum split_kind kind, size_t max_part_bytes)
{
    *s = (struct splitter){.kind = kind, .max_part_bytes = max_part_bytes};
}

void splitter_fini(struct splitter *s)
{
    buf_fini(&s->hold);
}

/* The first \n or \r; the length where there is none. */
static size_t find_line_end(const char *ptr, size_t len)
{
    for (size_t at = 0; at < len; at += WINDOW_BYTES) {
        size_t width = len - at < WINDOW_BYTES ? len - at : WINDOW_BYTES;
        const char *lf = memchr(ptr + at, '\n', width);
        const char *cr = memchr(ptr + at, '\r', lf == NULL ? width : (size_t)(lf - ptr) - at);

        if (cr != NULL || lf != NULL) {
            return (size_t)((cr != NULL ? cr : lf) - ptr);
        }
    }
    return len;
}

/* Bytes of `in` up to and including the end of the part; *ended tells whether it is there. */
static size_t scan_ndjson(struct slice in, bool *ended)
{
    const char *lf = in.len == 0 ? NULL : memchr(in.ptr, '\n', in.len);

    *ended = lf != NULL;
    return lf == NULL ? in.len : (size_t)(lf - in.ptr) + 1;
}

static size_t scan_sse(struct splitter *s, struct slice in, bool *ended)
{
    size_t at = 0;

    *ended = false;
    while (at < in.len) {
        char c = in.ptr[at];

        switch (s->line) {
        case SPLIT_LINE_INSIDE:
            at += find_line_end(in.ptr + at, in.len - at);
            if (at < in.len) {
                s->line = in.ptr[at] == '\r' ? SPLIT_LINE_CR : SPLIT_LINE_START;
                at++;
            }
            break;
        case SPLIT_LINE_START:
            at++;
            if (c == '\n') {
                *ended = true;
                return at;
            }
            s->line = c == '\r' ? SPLIT_BLANK_CR : SPLIT_LINE_INSIDE;
            break;
        case SPLIT_LINE_CR:
            at++;
            if (c == '\r') { /* \r\r: handed on at once, such a stream has no \n to wait for */
                *ended = true;
                return at;
            }
            s->line = c == '\n' ? SPLIT_LINE_START : SPLIT_LINE_INSIDE;
            break;
        case SPLIT_BLANK_CR:
            *ended = true;
            return c == '\n' ? at + 1 : at;
        }
    }
    return at;
}

ptrdiff_t splitter_feed(struct splitter *s, struct slice in, struct slice *part)
{
    bool ended;
    size_t used;

    *part = (struct slice){NULL, 0};
    if (s->release) {
        buf_clear(&s->hold);
        s->release = false;
    }
    used = s->kind == SPLIT_NDJSON ? scan_ndjson(in, &ended) : scan_sse(s, in, &ended);
    if (used > s->max_part_bytes || buf_len(&s->hold) > s->max_part_bytes - used) {
        return MCP_ETOO_LARGE;
    }
    if (ended) {
        s->line = SPLIT_LINE_START;
    }
    if (ended && buf_len(&s->hold) == 0) {
        *part = slice_first(in, used);
        return (ptrdiff_t)used;
    }
    if (!buf_append(&s->hold, slice_first(in, used))) {
        return MCP_ENOMEM;
    }
    if (ended) {
        *part = buf_slice(&s->hold);
        s->release = true;
    }
    return (ptrdiff_t)used;
}

struct slice splitter_rest(struct splitter *s)
{
    if (s->release) {
        buf_clear(&s->hold);
        s->release = false;
    }
    return buf_slice(&s->hold);
}

struct slice part_trim(struct slice part)
{
    while (part.len > 0 && (part.ptr[part.len - 1] == '\n' || part.ptr[part.len - 1] == '\r')) {
        part.len--;
    }
    return part;
}
