/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/http_reply.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "codec/error_body.h"
#include "gateway/origin.h"
#include "gateway/server_timing.h"
#include "gateway/sub.h"

enum {
    OWN_HEADERS_MAX = 6 + ORIGIN_HEADERS + HTTP_WAIT_HEADERS,
    REPLY_HEADERS_MAX = HTTP_HEADERS_MAX + OWN_HEADERS_MAX,
    STALL_FIRST_LOOK = 8,
};

static const struct exchange_sink http_sink;
static void on_stall(void *owner);

static void http_exchange_free(void *h)
{
    block_put(h, sizeof(struct http_exchange));
}

struct http_exchange *http_exchange_new(struct sub *sub, struct http_request *q,
                                        const struct route *route)
{
    struct http_exchange *h = block_get_zeroed(sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->exchange = exchange_new(sub, FACE_HTTP, &http_sink, h);
    if (h->exchange == NULL) {
        http_exchange_free(h);
        return NULL;
    }
    h->magic = HTTP_EXCHANGE_MAGIC;
    h->sub = sub;
    h->request = q;
    h->route = route;
    timer_init(&h->stall, on_stall, h);
    http_wait_init(h);
    http_request_set_owner(q, h);
    return h;
}

static void release(struct http_exchange *h)
{
    timer_cancel(h->sub->loop, &h->stall);
    http_wait_fini(h);
    h->magic = 0;
    loop_bury(h->sub->loop, h, http_exchange_free);
}

/* The client left: nobody is there to be told. */
void http_exchange_gone(void *owner)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    h->request = NULL;
    if (h->exchange != NULL) {
        exchange_cancel(&h->exchange);
    }
    release(h);
}

static void on_stall(void *owner)
{
    struct http_exchange *h = owner;
    int64_t delivered;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (http_reply_unsent(h->request) == 0) {
        return;
    }
    delivered = http_reply_delivered(h->request);
    if (delivered != h->stall_delivered) { /* the first time always: see wrote */
        h->stall_delivered = delivered;
        timer_arm(h->sub->loop, &h->stall, h->sub->config->client_stall_ms);
        return;
    }
    counter_add(COUNTER_CLIENT_STALLS, 1);
    if (h->exchange != NULL) {
        exchange_cancel(&h->exchange);
    }
    http_reply_abort(&h->request);
    release(h);
}

/* After each write: the time it was read at, back-pressure, and the watch for a client that does
 * not read. */
static void wrote(struct http_exchange *h)
{
    if (h->unsent_us == 0) {
        h->unsent_us = exchange_read_us(h->exchange);
        http_reply_notify_sent(h->request);
    }
    if (!timer_armed(&h->stall)) {
        /* Asking what the client has taken is a system call: only where bytes are unsent for a
         * while. */
        h->stall_delivered = -1;
        timer_arm(h->sub->loop, &h->stall, h->sub->config->client_stall_ms / STALL_FIRST_LOOK);
    }
    if (http_reply_over_high(h->request)) {
        exchange_pause(h->exchange);
    }
}

void http_exchange_sent(void *owner)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->unsent_us != 0) {
        histogram_record(HISTOGRAM_RELAY_US, loop_clock_us(h->sub->loop) - h->unsent_us);
        h->unsent_us = 0;
    }
}

void http_exchange_drained(void *owner)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->exchange != NULL) {
        exchange_resume(h->exchange);
    }
}

static struct slice id_of(const struct http_exchange *h)
{
    return slice_str(h->exchange->id);
}

/* What values are written into. */
struct own_values {
    char timing[SERVER_TIMING_MAX];
    char wait[HTTP_WAIT_HEADERS][HTTP_WAIT_VALUE_MAX];
};

/* The gateway's own headers, into `headers`. */
static size_t own_headers(const struct http_exchange *h, struct http_header *headers,
                          struct own_values *values)
{
    size_t count = 1 + origin_headers(h->origin, headers + 1);

    headers[0] = (struct http_header){SLICE("X-Request-Id"), id_of(h)};
    if (exchange_asked_model(h->exchange).len > 0) {
        headers[count++] =
            (struct http_header){SLICE("X-Mcpgate-Model"), buf_slice(&h->exchange->model)};
    }
    if (h->exchange->extra != NULL && buf_len(&h->exchange->extra->ignored) > 0) {
        headers[count++] = (struct http_header){SLICE("X-Mcpgate-Ignored"),
                                                buf_slice(&h->exchange->extra->ignored)};
    }
    if (h->exchange->extra != NULL && buf_len(&h->exchange->extra->node_names) > 0) {
        headers[count++] = (struct http_header){SLICE("X-Mcpgate-Nodes"),
                                                buf_slice(&h->exchange->extra->node_names)};
    }
    if (h->exchange->cache_hit) {
        headers[count++] = (struct http_header){SLICE("X-Mcpgate-Cache"), SLICE("hit")};
    }
    if (h->exchange->wants_timing) {
        headers[count++] = (struct http_header){SLICE("Server-Timing"),
                                                server_timing(h->exchange, values->timing)};
    }
    return count + http_wait_headers(h, headers + count, values->wait);
}

/* Framing is this side's own; Date is set anew; what pages may read is judged here. */
static bool header_is_replaced(const struct http_head *head, struct slice name, bool to_page)
{
    static const struct slice cors = SLICE("Access-Control-");

    return (to_page && slice_eq_case(slice_first(name, cors.len), cors)) ||
           http_header_is_hop_by_hop(head, name) || slice_eq_case(name, SLICE("content-length")) ||
           slice_eq_case(name, SLICE("date")) || slice_eq_case(name, SLICE("x-request-id"));
}

static int64_t reply_length(const struct http_exchange *h, const struct http_head *head)
{
    if (head->status == 204 || head->status == 304) {
        return HTTP_LENGTH_NONE;
    }
    if (h->stream != SHAPE_STREAM_NONE || !head->has_length) {
        return h->exchange->is_head && !head->has_length ? HTTP_LENGTH_NONE : HTTP_LENGTH_CHUNKED;
    }
    return (int64_t)head->content_length;
}

static void on_head(void *owner, const struct http_head *head)
{
    struct http_exchange *h = owner;
    struct http_header headers[REPLY_HEADERS_MAX];
    struct slice type;
    struct own_values values;
    size_t count = 0;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (http_wait_takes_head(h, head)) {
        return;
    }
    type = http_head_type(head);
    if (slice_eq_case(type, SLICE("text/event-stream"))) {
        h->stream = SHAPE_STREAM_SSE;
    } else if (slice_eq_case(type, SLICE("application/x-ndjson"))) {
        h->stream = SHAPE_STREAM_NDJSON;
    }
    for (size_t i = 0; i < head->header_count && count < HTTP_HEADERS_MAX; i++) {
        if (!header_is_replaced(head, head->headers[i].name, h->origin.len > 0)) {
            headers[count++] = head->headers[i];
        }
    }
    count += own_headers(h, headers + count, &values);
    h->exchange->sent_status = head->status;
    http_reply_head(h->request, head->status, headers, count, reply_length(h, head));
}

void http_exchange_begin_events(struct http_exchange *h)
{
    struct http_header headers[1 + OWN_HEADERS_MAX] = {
        {SLICE("Content-Type"), SLICE("text/event-stream")},
    };
    struct own_values values;
    size_t count = 1 + own_headers(h, headers + 1, &values);

    h->stream = SHAPE_STREAM_SSE;
    h->exchange->sent_status = 200;
    http_reply_head(h->request, 200, headers, count, HTTP_LENGTH_CHUNKED);
}

static void on_bytes(void *owner, struct slice bytes)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (http_wait_takes_bytes(h, bytes)) {
        return;
    }
    http_reply_body(h->request, bytes);
    wrote(h);
}

static void begin_native(struct http_exchange *h, int64_t length)
{
    struct http_header headers[1 + OWN_HEADERS_MAX] = {
        {SLICE("Content-Type"), length == HTTP_LENGTH_CHUNKED
                                    ? SLICE("application/x-ndjson")
                                    : SLICE("application/json; charset=utf-8")},
    };
    struct own_values values;
    size_t count = 1 + own_headers(h, headers + 1, &values);

    h->exchange->sent_status = 200;
    http_reply_head(h->request, 200, headers, count, length);
}

static void on_part(void *owner, struct slice part, bool last)
{
    struct http_exchange *h = owner;
    const struct slice line[] = {part, SLICE("\n")};

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (!http_reply_started(h->request)) {
        /* The only part of an answer goes as plain JSON: loading a model answers so even when
         * streaming. */
        bool streams = h->exchange->streams && !last;

        h->stream = streams ? SHAPE_STREAM_NDJSON : SHAPE_STREAM_NONE;
        begin_native(h, streams ? HTTP_LENGTH_CHUNKED : (int64_t)part.len);
    }
    http_reply_bodyv(h->request, line, h->stream == SHAPE_STREAM_NDJSON ? 2 : 1);
    wrote(h);
}

/* The error's text: the node's own words where it spoke. */
static struct slice error_text(const struct exchange_result *r, struct buf *scratch)
{
    if (r->node_body.len > 0 && error_text_from_node(r->node_body, scratch)) {
        return buf_slice(scratch);
    }
    return r->text;
}

/* Rounded up: who comes too early is refused again. */
static struct slice whole_seconds(uint64_t ms, char text[24])
{
    int len = snprintf(text, 24, "%" PRIu64, (ms + 999) / 1000);

    return slice_of(text, (size_t)len);
}

/* The error is what the client gets, or the end of it. */
static void end_with_body(struct http_exchange *h, struct slice body)
{
    h->exchange->bytes_out += h->exchange->is_head ? 0 : body.len;
    http_reply_body(h->request, body);
    http_reply_end(&h->request);
}

/* Of an answer that has begun: an error that its stream can carry, else it breaks off. */
static void end_with_event(struct http_exchange *h, unsigned status, struct slice text)
{
    struct buf event = {0};

    if (h->stream != SHAPE_STREAM_NONE &&
        shape_stream_error(h->route->shape, h->stream, status, text, id_of(h), &event)) {
        end_with_body(h, buf_slice(&event));
    } else {
        http_reply_abort(&h->request);
    }
    buf_fini(&event);
}

static void reply_error(struct http_exchange *h, const struct exchange_result *r)
{
    unsigned status = h->broken_status != 0 ? h->broken_status : exchange_error_status(h->exchange);
    struct buf scratch = {0};
    struct buf body = {0};
    struct slice text = error_text(r, &scratch);

    if (!http_reply_started(h->request)) {
        struct http_header headers[3 + OWN_HEADERS_MAX] = {
            {SLICE("Content-Type"), SLICE("application/json; charset=utf-8")},
        };
        char seconds[24];
        struct own_values values;
        size_t count = 1 + own_headers(h, headers + 1, &values);

        if (r->code == MCP_EUNAUTHORIZED) {
            headers[count++] = (struct http_header){SLICE("WWW-Authenticate"), SLICE("Bearer")};
        }
        if (r->retry_after_ms > 0) {
            headers[count++] = (struct http_header){SLICE("Retry-After"),
                                                    whole_seconds(r->retry_after_ms, seconds)};
        }
        (void)shape_error(h->route->shape, status, text, id_of(h),
                          &body); /* failed: an empty body */
        http_reply_head(h->request, status, headers, count, (int64_t)buf_len(&body));
        end_with_body(h, buf_slice(&body));
    } else {
        end_with_event(h, status, text);
    }
    buf_fini(&scratch);
    buf_fini(&body);
}

/* The node's own error, as an event. */
static void reply_swallowed(struct http_exchange *h)
{
    struct buf scratch = {0};
    struct slice text = SLICE("the node did not answer with events");

    if (error_text_from_node(buf_slice(&h->wait.said), &scratch) && buf_len(&scratch) > 0) {
        text = buf_slice(&scratch);
    }
    end_with_event(h, h->wait.status, text);
    buf_fini(&scratch);
}

static void on_ended(void *owner, const struct exchange_result *result)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->wait.swallows) {
        reply_swallowed(h);
    } else if (result->code == MCP_OK) {
        http_reply_end(&h->request);
    } else {
        reply_error(h, result);
    }
    h->exchange = NULL;
    release(h);
}

/* Uploads: there is a node to pass the body to, or room in its connection again. */
static void on_drained(void *owner)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->exchange->upload) {
        http_request_continue(h->request);
        http_request_resume(h->request);
    }
}

static void on_queued(void *owner, struct exchange *x)
{
    struct http_exchange *h = owner;

    (void)x;
    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    http_wait_queued(h);
}

static const struct exchange_sink http_sink = {
    .queued = on_queued,
    .head = on_head,
    .bytes = on_bytes,
    .part = on_part,
    .ended = on_ended,
    .drained = on_drained,
};
