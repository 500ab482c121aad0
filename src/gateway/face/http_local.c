/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/http_local.h"

#include "base/buf.h"
#include "base/counter.h"
#include "gateway/face/routes.h"
#include "gateway/origin.h"
#include "http/parse/url.h"
#include "node/poll.h"

enum { STATUS_LOOP = 508, PREFLIGHT_HEADERS_MAX = 16 };

void http_local_reply(const struct http_local *r, unsigned status, struct slice type,
                      struct slice text, struct http_header another)
{
    struct http_header headers[3 + ORIGIN_HEADERS] = {
        {SLICE("Content-Type"), type}, {SLICE("X-Request-Id"), slice_str(r->id)}, another};
    size_t count = another.value.len > 0 ? 3 : 2;
    struct http_request *q = r->request;

    count += origin_headers(r->origin, &headers[count]);
    http_reply_head(q, status, headers, count, (int64_t)text.len);
    http_reply_body(q, text);
    http_reply_end(&q);
}

void http_local_plain(const struct http_local *r, unsigned status, struct slice text)
{
    http_local_reply(r, status, SLICE("text/plain; charset=utf-8"), text, (struct http_header){0});
}

void http_local_to_itself(struct http_request *q, struct slice probe)
{
    const struct http_header echo = {SLICE(NODE_PROBE_HEADER), probe};

    http_reply_head(q, STATUS_LOOP, &echo, 1, 0);
    http_reply_end(&q);
}

/* As gin answers what it has no route for. */
static void reply_no_route(const struct http_local *r, unsigned status, struct slice text,
                           struct http_header another)
{
    counter_add(COUNTER_HTTP_BAD, 1);
    http_local_reply(r, status, SLICE("text/plain"), text, another);
}

void http_local_no_method(const struct http_local *r, struct slice path)
{
    struct buf allow = {0};

    (void)route_allow(path, &allow); /* failed: without it */
    reply_no_route(r, 405, SLICE("405 method not allowed"),
                   (struct http_header){SLICE("Allow"), buf_slice(&allow)});
    buf_fini(&allow);
}

void http_local_no_path(const struct http_local *r, const struct http_head *head)
{
    struct slice path = url_target_path(head->target);
    struct buf tidy = {0};

    if (route_tidy(path, &tidy) && buf_append(&tidy, slice_skip(head->target, path.len))) {
        reply_no_route(r, 307, SLICE(""),
                       (struct http_header){SLICE("Location"), buf_slice(&tidy)});
    } else {
        reply_no_route(r, 404, SLICE("404 page not found"), (struct http_header){0});
    }
    buf_fini(&tidy);
}

void http_local_preflight(const struct http_local *r, struct slice path)
{
    struct http_header headers[PREFLIGHT_HEADERS_MAX] = {{SLICE("X-Request-Id"), slice_str(r->id)}};
    struct buf allow = {0};
    size_t preflight_count;
    const struct http_header *preflight = origin_preflight(&preflight_count);
    size_t count = 1 + origin_headers(r->origin, &headers[1]);
    struct http_request *q = r->request;

    for (size_t i = 0; i < preflight_count; i++) {
        headers[count++] = preflight[i];
    }
    if (route_allow(path, &allow) && buf_len(&allow) > 0) {
        headers[count++] = (struct http_header){SLICE("Allow"), buf_slice(&allow)};
    }
    http_reply_head(q, 204, headers, count, HTTP_LENGTH_NONE);
    http_reply_end(&q);
    buf_fini(&allow);
}
