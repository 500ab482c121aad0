/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <stdlib.h>

#include "base/check.h"

/* The next piece in memory of its own, so that a sanitizer sees every byte read beside it. */
static struct slice next_piece(struct slice *rest, size_t len)
{
    struct slice piece;
    char *copy;

    if (len == 0 || len > rest->len) {
        len = rest->len;
    }
    copy = malloc(len + 1);
    ASSERT(copy != NULL);
    memcpy(copy, rest->ptr, len);
    piece = slice_of(realloc(copy, len == 0 ? 1 : len), len);
    *rest = slice_skip(*rest, len);
    return piece;
}

static void free_piece(struct slice piece)
{
    union {
        const char *borrowed;
        void *owned;
    } memory = {.borrowed = piece.ptr};

    free(memory.owned);
}

static void put_head(struct buf *out, const struct http_head *head)
{
    if (head->status == 0) {
        (void)buf_printf(out, "HEAD %.*s %.*s", SLICE_ARG(head->method), SLICE_ARG(head->target));
    } else {
        (void)buf_printf(out, "HEAD %u \"%.*s\"", head->status, SLICE_ARG(head->reason));
    }
    (void)buf_printf(out, " 1.%u%s%s%s%s", head->minor, head->keep_alive ? " keep-alive" : "",
                     head->has_body ? " body" : "", head->chunked ? " chunked" : "",
                     head->expect_continue ? " continue" : "");
    if (head->has_length) {
        (void)buf_printf(out, " length=%llu", (unsigned long long)head->content_length);
    }
    (void)buf_append_byte(out, '\n');
    for (size_t i = 0; i < head->header_count; i++) {
        (void)buf_printf(out, "  [%.*s]=[%.*s]\n", SLICE_ARG(head->headers[i].name),
                         SLICE_ARG(head->headers[i].value));
    }
}

/* Feeds one piece; false after an error. */
static bool trace_piece(struct buf *out, struct http_parser *p, struct slice in, bool *in_body)
{
    struct http_event ev;
    struct err e = {0};

    do {
        ptrdiff_t used = http_parser_feed(p, in, &ev, &e);

        if (*in_body && (used < 0 || (ev.kind != HTTP_EV_BODY && ev.kind != HTTP_EV_MORE))) {
            (void)buf_append_byte(out, '\n');
            *in_body = false;
        }
        if (used < 0) {
            struct err again = {0};

            (void)buf_printf(out, "ERROR %s: %s\n", mcp_error_name((int)used), e.text);
            ASSERT(e.code == used);
            ASSERT(http_parser_feed(p, in, &ev, &again) == used && again.code == e.code);
            return false;
        }
        ASSERT((size_t)used <= in.len);
        in = slice_skip(in, (size_t)used);
        if (ev.kind == HTTP_EV_HEAD) {
            put_head(out, ev.head);
        } else if (ev.kind == HTTP_EV_BODY) {
            ASSERT(ev.body.len > 0);
            (void)(*in_body || buf_append_str(out, "BODY "));
            *in_body = true;
            (void)buf_append(out, ev.body);
        } else if (ev.kind == HTTP_EV_END) {
            ASSERT(http_parser_idle(p));
            (void)buf_append_str(out, "END\n");
        }
    } while (ev.kind != HTTP_EV_MORE);
    ASSERT(in.len == 0);
    return true;
}

void http_trace(struct buf *out, enum http_role role, bool no_body, struct slice in,
                struct cuts cuts)
{
    struct http_parser *p = http_parser_new(role);
    struct http_event ev;
    bool in_body = false;
    bool alive = true;
    size_t len = cuts.first;

    ASSERT(p != NULL);
    if (no_body) {
        http_parser_no_body(p);
    }
    while (alive && in.len > 0) {
        struct slice piece = len == 0 && cuts.first == 0 ? slice_of(NULL, 0) : next_piece(&in, len);

        alive = trace_piece(out, p, piece, &in_body);
        free_piece(piece);
        len = cuts.step;
        cuts.first = 1;
    }
    if (alive) {
        int rv = http_parser_eof(p, &ev);

        (void)(!in_body || buf_append_byte(out, '\n'));
        (void)buf_append_str(out, rv < 0                   ? "EOF cut\n"
                                  : ev.kind == HTTP_EV_END ? "EOF end\n"
                                                           : "EOF idle\n");
    }
    http_parser_free(&p);
    ASSERT(!buf_failed(out));
}

void split_trace(struct buf *out, enum split_kind kind, size_t max_part_bytes, struct slice in,
                 struct cuts cuts)
{
    struct splitter s;
    struct slice part;
    size_t len = cuts.first == 0 ? 1 : cuts.first;

    splitter_init(&s, kind, max_part_bytes);
    while (in.len > 0) {
        struct slice piece = next_piece(&in, len);
        struct slice rest = piece;

        do {
            ptrdiff_t used = splitter_feed(&s, rest, &part);

            if (used < 0) {
                (void)buf_printf(out, "ERROR %s\n", mcp_error_name((int)used));
                free_piece(piece);
                splitter_fini(&s);
                return;
            }
            ASSERT((size_t)used <= rest.len);
            rest = slice_skip(rest, (size_t)used);
            if (part.ptr != NULL) {
                (void)buf_printf(out, "PART %zu ", part.len);
                (void)buf_append(out, part);
                (void)buf_append_byte(out, '\n');
            }
        } while (part.ptr != NULL);
        ASSERT(rest.len == 0);
        free_piece(piece);
        len = cuts.step;
    }
    (void)buf_printf(out, "REST %zu ", splitter_rest(&s).len);
    (void)buf_append(out, splitter_rest(&s));
    splitter_fini(&s);
    ASSERT(!buf_failed(out));
}
