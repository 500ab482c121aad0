/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/face/host.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "gateway/keys.h"
#include "http/io/server.h"
#include "http/parse/url.h"
#include "obs/prometheus.h"
#include "reactor/listener.h"

enum { HEAD_TIMEOUT_MS = 10000, BODY_TIMEOUT_MS = 10000, IDLE_TIMEOUT_MS = 60000 };

struct admin_face {
    struct gateway *gateway;
    struct listener *listener;
    struct http_server *server;
};

struct admin_reply {
    unsigned status;
    struct slice content_type;
    struct buf body;
};

static void reply_text(struct admin_reply *r, unsigned status, const char *text)
{
    r->status = status;
    r->content_type = SLICE("text/plain; charset=utf-8");
    buf_append_str(&r->body, text);
}

static void get_healthz(const struct gateway *g, struct admin_reply *r)
{
    (void)g;
    reply_text(r, 200, "ok\n");
}

static void get_readyz(const struct gateway *g, struct admin_reply *r)
{
    if (gateway_ready(g)) {
        reply_text(r, 200, "ready\n");
    } else if (g->draining) {
        reply_text(r, 503, "shutting down\n");
    } else {
        reply_text(r, 503, nodes_all_polled(g->nodes) ? "no node is up\n" : "starting\n");
    }
}

static void get_metrics(const struct gateway *g, struct admin_reply *r)
{
    const struct counters **sets = calloc(1 + g->sub_count, sizeof(*sets));

    r->content_type = SLICE("text/plain; version=0.0.4; charset=utf-8");
    if (sets == NULL || !prometheus_render(sets, gateway_counters(g, sets), &r->body)) {
        r->status = 500;
    }
    free(sets);
}

static void get_nodes(const struct gateway *g, struct admin_reply *r)
{
    r->content_type = SLICE("application/json");
    (void)health_body(g->nodes, &r->body); /* a failure is sticky */
}

static const struct {
    const char *path;
    bool open; /* asks for no key */
    void (*get)(const struct gateway *g, struct admin_reply *r);
} pages[] = {
    {"/healthz", true, get_healthz},
    {"/readyz", true, get_readyz},
    {"/metrics", false, get_metrics},
    {"/admin/nodes", false, get_nodes},
};

static bool authorized(const struct gateway *g, const struct http_head *head)
{
    struct slice value = http_head_find(head, SLICE("authorization"));

    return g->config->key_count == 0 ||
           (value.ptr != NULL && keys_match(g->config, keys_bearer(value)) != NULL);
}

static void find_page(const struct gateway *g, const struct http_head *head, struct admin_reply *r)
{
    struct slice path = url_target_path(head->target);

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (!slice_eq(path, slice_str(pages[i].path))) {
            continue;
        }
        if (!slice_eq(head->method, SLICE("GET")) && !slice_eq(head->method, SLICE("HEAD"))) {
            reply_text(r, 405, "405 method not allowed\n");
        } else if (!pages[i].open && !authorized(g, head)) {
            counter_add(COUNTER_UNAUTHORIZED, 1);
            reply_text(r, 401, "an API key is required: Authorization: Bearer KEY\n");
        } else {
            pages[i].get(g, r);
        }
        return;
    }
    reply_text(r, 404, "404 page not found; there are /healthz /readyz /metrics /admin/nodes\n");
}

static void on_request(void *owner, struct http_request *q, const struct http_head *head)
{
    struct admin_face *f = owner;
    struct admin_reply r = {.status = 200};

    if (host_is_foreign(f->gateway->config, listener_addr(f->listener), head)) {
        reply_text(&r, 403, HOST_FOREIGN_TEXT "\n");
    } else {
        find_page(f->gateway, head, &r);
    }
    if (buf_failed(&r.body)) {
        r.status = 500;
        buf_clear(&r.body);
    }
    http_reply_simple(&q, r.status, r.content_type, buf_slice(&r.body));
    buf_fini(&r.body);
}

/* Every request is answered with its head; nothing is left to be told. */
static void on_body(void *owner, struct slice bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void on_conn_closed(void *owner)
{
    (void)owner;
    counter_add(COUNTER_OPEN_ADMIN, -1);
}

static const struct http_server_ops server_ops = {
    .closed = on_conn_closed,
    .request = on_request,
    .body = on_body,
    .body_end = on_nothing,
    .gone = on_nothing,
};

static void on_accept(void *owner, int fd, const struct addr *peer)
{
    struct admin_face *f = owner;

    counter_add(COUNTER_CONN_ADMIN, 1);
    counter_add(COUNTER_OPEN_ADMIN, 1);
    http_server_accept(f->server, fd, peer);
}

struct admin_face *admin_face_new(struct gateway *g, const struct addr *at, struct err *e)
{
    static const struct http_server_limits limits = {.head_timeout_ms = HEAD_TIMEOUT_MS,
                                                     .body_timeout_ms = BODY_TIMEOUT_MS,
                                                     .idle_timeout_ms = IDLE_TIMEOUT_MS};
    struct admin_face *f = xcalloc(1, sizeof(*f));

    f->gateway = g;
    f->listener = listener_new(g->loop, at, on_accept, f, e);
    if (f->listener == NULL) {
        free(f);
        return NULL;
    }
    listener_keep_reachable(f->listener);
    f->server = http_server_new(g->loop, &server_ops, f, &limits);
    return f;
}

void admin_face_free(struct admin_face **face)
{
    struct admin_face *f = *face;

    if (f == NULL) {
        return;
    }
    *face = NULL;
    listener_free(&f->listener);
    http_server_free(&f->server);
    free(f);
}

const struct addr *admin_face_addr(const struct admin_face *f)
{
    return listener_addr(f->listener);
}
