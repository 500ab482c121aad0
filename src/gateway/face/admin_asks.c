/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the admin listener that every loop is asked for. */
#include <inttypes.h>

#include "gateway/face/admin_internal.h"
#include "gateway/face/sessions.h"
#include "gateway/gateway.h"
#include "gateway/trace.h"

static void drop_ask(struct admin_wait *w)
{
    sub_ask_forget(&w->ask);
}

static void ask(struct admin_face *f, struct http_request *q, sub_look_fn look, struct slice about,
                sub_ask_cb cb)
{
    struct admin_wait *w = admin_wait_new(f, q);

    if (w == NULL) {
        return;
    }
    w->drop = drop_ask;
    w->ask = sub_ask_begin(w->gateway, look, about, cb, w);
    if (w->ask == NULL) {
        admin_wait_refuse(w, 500, SLICE("out of memory"));
    }
}

static void append_unknown(struct buf *out, const struct config *c)
{
    if (c->trace_requests == 0) {
        buf_append_str(out, "{\"error\":\"requests are not traced: trace.requests is 0\"}\n");
    } else {
        buf_printf(out,
                   "{\"error\":\"no request of that id; the last %" PRIu64
                   " requests are kept (trace.requests)\"}\n",
                   c->trace_requests);
    }
}

static void on_requests(void *owner, struct slice found, size_t count)
{
    struct admin_wait *w = owner;
    struct buf body = {0};

    if (count > 0) {
        buf_append_str(&body, "{\"requests\":[");
        buf_append(&body, found);
        buf_append_str(&body, "]}\n");
    } else {
        append_unknown(&body, w->gateway->config);
    }
    admin_wait_reply(w, count > 0 ? 200 : 404, &body);
}

void admin_asks_request(struct admin_face *f, struct http_request *q, struct slice id)
{
    ask(f, q, trace_find, id, on_requests);
}

static void on_sessions(void *owner, struct slice found, size_t count)
{
    struct buf body = {0};

    buf_append_str(&body, "{\"sessions\":[");
    buf_append(&body, found);
    buf_printf(&body, "],\"total\":%zu}\n", count);
    admin_wait_reply(owner, 200, &body);
}

void admin_asks_sessions(struct admin_face *f, struct http_request *q, struct slice rest)
{
    ask(f, q, sessions_look, rest, on_sessions);
}
