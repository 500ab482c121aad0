/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 connection: one request at a time, answers as JSON or NDJSON. */
#include <stdio.h>

#include "load/load.h"

bool load_http_begin(struct load_conn *c)
{
    c->parser = http_parser_new(HTTP_PARSE_RESPONSES);
    splitter_init(&c->split, SPLIT_NDJSON, WIRE_MAX_FRAME_BYTES);
    return c->parser != NULL;
}

void load_http_finish(struct load_conn *c)
{
    http_parser_free(&c->parser);
    splitter_fini(&c->split);
}

static bool take_part(struct load_conn *c, struct slice part)
{
    part = part_trim(part);
    return part.len == 0 || load_part(c->lanes, part);
}

static bool take_body(struct load_conn *c, struct slice body)
{
    while (body.len > 0) {
        struct slice part;
        ptrdiff_t n = splitter_feed(&c->split, body, &part);

        if (n < 0) {
            return load_conn_fail(c, "a part that is too large");
        }
        body = slice_skip(body, (size_t)n);
        if (part.ptr != NULL && !take_part(c, part)) {
            return false;
        }
    }
    return true;
}

static bool take_head(struct load_conn *c, const struct http_head *head)
{
    char text[64];

    if (!c->lanes->busy) {
        return load_conn_fail(c, "an answer nobody asked for");
    }
    if (head->status != 200) {
        (void)snprintf(text, sizeof(text), "status %u", head->status);
        return load_conn_fail(c, text);
    }
    c->keep_alive = head->keep_alive;
    return true;
}

static bool take_end(struct load_conn *c)
{
    if (!take_part(c, splitter_rest(&c->split))) {
        return false;
    }
    splitter_fini(&c->split);
    splitter_init(&c->split, SPLIT_NDJSON, WIRE_MAX_FRAME_BYTES);
    if (!c->keep_alive) {
        c->end = LOAD_ENDS_WELL; /* before the answer is counted, which may send the next request */
    }
    return load_answered(c->lanes);
}

static bool take_event(struct load_conn *c, const struct http_event *ev)
{
    switch (ev->kind) {
    case HTTP_EV_HEAD:
        return take_head(c, ev->head);
    case HTTP_EV_BODY:
        return take_body(c, ev->body);
    case HTTP_EV_END:
        return take_end(c);
    default:
        return true;
    }
}

void load_http_recv(struct load_conn *c, struct slice in)
{
    struct http_event ev;
    struct err e = {0};

    do {
        ptrdiff_t n = http_parser_feed(c->parser, in, &ev, &e);

        if (n < 0) {
            (void)load_conn_fail(c, e.text);
            return;
        }
        in = slice_skip(in, (size_t)n);
        if (!take_event(c, &ev)) {
            return;
        }
    } while (ev.kind != HTTP_EV_MORE);
}
