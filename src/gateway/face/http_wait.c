/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/http_wait.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "gateway/face/http_reply.h"
#include "gateway/sub.h"

enum { SAID_BYTES_MAX = 64 * 1024, STATUS_BAD_GATEWAY = 502 };

static void on_time(void *owner);

void http_wait_init(struct http_exchange *h)
{
    timer_init(&h->wait.timer, on_time, h);
    buf_init(&h->wait.said, SAID_BYTES_MAX);
}

void http_wait_fini(struct http_exchange *h)
{
    timer_cancel(h->sub->loop, &h->wait.timer);
    buf_fini(&h->wait.said);
}

static bool streams_events(const struct http_exchange *h)
{
    switch (h->route->end) {
    case STREAM_END_SSE_DONE:
    case STREAM_END_SSE_MESSAGE:
    case STREAM_END_SSE_RESPONSE:
        return h->exchange->streams;
    default:
        return false;
    }
}

void http_wait_queued(struct http_exchange *h)
{
    if (streams_events(h) && !timer_armed(&h->wait.timer)) {
        timer_arm(h->sub->loop, &h->wait.timer, h->sub->config->queue_comments_ms);
    }
}

static void speak(struct http_exchange *h)
{
    const struct exchange_turn *t = &h->exchange->turn;
    char text[96];
    char eta[40] = "";
    int len;

    if (t->eta_us != SCHED_UNKNOWN) {
        (void)snprintf(eta, sizeof(eta), " eta=%" PRIu64 "s", t->eta_us / 1000000);
    }
    len = snprintf(text, sizeof(text), ": queued position=%" PRIu64 "%s\n\n", t->position, eta);
    http_reply_body(h->request, slice_of(text, (size_t)len)); /* fits */
}

static void on_time(void *owner)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->exchange == NULL || !turn_is_awaited(&h->exchange->turn)) {
        return;
    }
    if (!h->wait.spoke) {
        h->wait.spoke = true;
        http_exchange_begin_events(h);
    }
    speak(h);
    timer_arm(h->sub->loop, &h->wait.timer, h->sub->config->queue_comments_ms);
}

static struct http_header numbered(struct slice name, uint64_t number, char value[])
{
    int len = snprintf(value, HTTP_WAIT_VALUE_MAX, "%" PRIu64, number);

    return (struct http_header){name, slice_of(value, (size_t)len)};
}

size_t http_wait_headers(const struct http_exchange *h, struct http_header *headers,
                         char values[HTTP_WAIT_HEADERS][HTTP_WAIT_VALUE_MAX])
{
    const struct exchange_turn *t = &h->exchange->turn;

    if (t->position == 0) {
        return 0;
    }
    headers[0] = numbered(SLICE("X-Mcpgate-Queue-Position"), t->position, values[0]);
    headers[1] = numbered(SLICE("X-Mcpgate-Queue-Depth"), t->depth, values[1]);
    headers[2] = numbered(SLICE("X-Mcpgate-Queue-Wait"), t->waited_us / 1000, values[2]);
    return HTTP_WAIT_HEADERS;
}

bool http_wait_takes_head(struct http_exchange *h, const struct http_head *head)
{
    bool fits = head->status < 400 && http_head_has_type(head, SLICE("text/event-stream"));

    if (!h->wait.spoke) {
        return false;
    }
    h->wait.swallows = !fits;
    h->wait.status = head->status >= 400 ? head->status : STATUS_BAD_GATEWAY;
    return true;
}

bool http_wait_takes_bytes(struct http_exchange *h, struct slice bytes)
{
    if (h->wait.swallows) {
        (void)buf_append(&h->wait.said, bytes); /* a longer text is cut */
    }
    return h->wait.swallows;
}
