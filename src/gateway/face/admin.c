/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/admin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/json_scan.h"
#include "base/list.h"
#include "gateway/brain.h"
#include "gateway/cluster.h"
#include "gateway/face/admin_internal.h"
#include "gateway/face/admin_routes.h"
#include "gateway/face/host.h"
#include "gateway/fleet.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "gateway/keys.h"
#include "gateway/origin.h"
#include "gateway/reload.h"
#include "gateway/route_book.h"
#include "http/io/server.h"
#include "http/parse/url.h"
#include "obs/prometheus.h"
#include "reactor/listener.h"

enum {
    HEAD_TIMEOUT_MS = 10000,
    BODY_TIMEOUT_MS = 10000,
    IDLE_TIMEOUT_MS = 60000,
    BODY_BYTES_MAX = 64 * 1024,
    STATUS_UNPROCESSABLE = 422,
    STATUS_UNAVAILABLE = 503
};

LIST_DECLARE(admin_wait_list, struct admin_wait, link);

struct admin_face {
    struct gateway *gateway;
    struct listener *listener;
    struct http_server *server;
    struct admin_wait_list waiting;
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

/* Sends `body` and frees it. */
static void reply_or_500(struct http_request **q, unsigned status, struct slice content_type,
                         struct buf *body)
{
    if (buf_failed(body)) {
        status = 500;
        buf_clear(body);
    }
    http_reply_simple(q, status, content_type, buf_slice(body));
    buf_fini(body);
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
        reply_text(r, 503,
                   !nodes_all_polled(g->nodes) ? "starting\n"
                   : nodes_up(g->nodes) == 0   ? "no node is up\n"
                                               : "every node that is up is cordoned\n");
    }
}

/* Counted when somebody asks: it takes a look at all models of all nodes. */
static void count_drift(const struct gateway *g)
{
    size_t drifting;

    if (cluster_drift_count(g->nodes, &drifting)) {
        counter_add(COUNTER_MODELS_DRIFTING,
                    (int64_t)drifting - counter_get(counters_current(), COUNTER_MODELS_DRIFTING));
    }
}

static void get_metrics(const struct gateway *g, struct admin_reply *r)
{
    const struct counters **sets = calloc(1 + g->sub_count, sizeof(*sets));

    r->content_type = SLICE("text/plain; version=0.0.4; charset=utf-8");
    count_drift(g);
    if (sets == NULL || !prometheus_render(sets, gateway_counters(g, sets), &r->body)) {
        r->status = 500;
    }
    free(sets);
}

static void get_nodes(const struct gateway *g, struct admin_reply *r)
{
    r->content_type = SLICE("application/json");
    health_begin(g->nodes, &r->body);
    buf_append_str(&r->body, ",\"discovery\":");
    fleet_names(g->fleet, &r->body);
    buf_append_byte(&r->body, '}'); /* a failure is sticky */
}

static void get_queue(const struct gateway *g, struct admin_reply *r)
{
    r->content_type = SLICE("application/json");
    (void)brain_page(g->brain, g->nodes, &r->body); /* a failure is sticky */
}

/* --- what is waited for ----------------------------------------------------------------------- */

struct admin_wait *admin_wait_new(struct admin_face *f, struct http_request *q)
{
    struct admin_wait *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        http_reply_simple(&q, 500, SLICE("text/plain"), SLICE("out of memory\n"));
        return NULL;
    }
    w->face = f;
    w->gateway = f->gateway;
    w->request = q;
    buf_init(&w->body, BODY_BYTES_MAX);
    admin_wait_list_push(&f->waiting, w);
    http_request_set_owner(q, w);
    return w;
}

void admin_wait_free(struct admin_wait *w)
{
    admin_wait_list_remove(&w->face->waiting, w);
    buf_fini(&w->rest);
    buf_fini(&w->body);
    buf_fini(&w->name);
    free(w);
}

/* Nobody is there to be told. */
static void wait_drop(struct admin_wait *w)
{
    if (w->drop != NULL) {
        w->drop(w);
    }
    admin_wait_free(w);
}

void admin_wait_reply(struct admin_wait *w, unsigned status, struct buf *body)
{
    reply_or_500(&w->request, status, SLICE("application/json"), body);
    admin_wait_free(w);
}

void admin_wait_refuse(struct admin_wait *w, unsigned status, struct slice text)
{
    struct buf body = {0};

    buf_append_str(&body, "{\"error\":");
    json_append_string(&body, text);
    buf_append_str(&body, "}\n");
    admin_wait_reply(w, status, &body);
}

static void on_gone(void *owner)
{
    wait_drop(owner);
}

/* --- POST /admin/reload ----------------------------------------------------------------------- */

/* "a,b" as ["a","b"]; the names need no escapes. */
static void append_names(struct buf *out, struct slice names)
{
    buf_append_byte(out, '[');
    while (names.len > 0) {
        const char *comma = memchr(names.ptr, ',', names.len);
        size_t len = comma == NULL ? names.len : (size_t)(comma - names.ptr);

        buf_printf(out, "\"%.*s\"%s", (int)len, names.ptr, comma == NULL ? "" : ",");
        names = slice_skip(names, comma == NULL ? len : len + 1);
    }
    buf_append_byte(out, ']');
}

static void on_reloaded(void *owner, int code, struct slice text)
{
    struct admin_wait *w = owner;
    unsigned status = code == MCP_OK          ? 200
                      : code == MCP_EARGUMENT ? STATUS_UNPROCESSABLE
                                              : STATUS_UNAVAILABLE;
    struct buf body = {0};

    buf_append_str(&body, code == MCP_OK ? "{\"status\":\"reloaded\",\"changed\":" : "{\"error\":");
    if (code == MCP_OK) {
        append_names(&body, text);
    } else {
        json_append_string(&body, text);
    }
    buf_append_str(&body, "}\n");
    admin_wait_reply(w, status, &body);
}

static void drop_reload(struct admin_wait *w)
{
    reload_cancel(w->gateway->reload, &w->reload);
}

static void post_reload(struct admin_face *f, struct http_request *q, struct slice rest)
{
    struct admin_wait *w = admin_wait_new(f, q);

    (void)rest;
    if (w != NULL) {
        w->drop = drop_reload;
        w->reload = (struct reload_asker){.done = on_reloaded, .owner = w};
        reload_ask(f->gateway->reload, &w->reload);
    }
}

/* --- routes ----------------------------------------------------------------------------------- */

static void get_routes(const struct gateway *g, struct admin_reply *r)
{
    r->content_type = SLICE("application/json");
    (void)route_book_list(g->routes, loop_now_us(g->loop), &r->body); /* a failure is sticky */
}

static void post_route(struct admin_face *f, struct http_request *q, struct slice rest)
{
    struct buf body = {0};
    unsigned status = admin_routes_act(f->gateway, rest, &body);

    reply_or_500(&q, status, SLICE("application/json"), &body);
}

/* --- the pages -------------------------------------------------------------------------------- */

enum method { METHOD_GET, METHOD_GET_ALONE, METHOD_POST, METHOD_DELETE };

static const struct {
    const char *path; /* with a slash at its end: what begins so */
    bool open;        /* asks for no key */
    enum method method;
    /* One of these answers. At once: */
    void (*get)(const struct gateway *g, struct admin_reply *r);
    /* Later; `rest`: what follows the path. */
    void (*wait)(struct admin_face *f, struct http_request *q, struct slice rest);
    /* When the body is there. */
    void (*told)(struct admin_wait *w);
} pages[] = {
    {"/healthz", true, METHOD_GET, get_healthz, NULL, NULL},
    {"/readyz", true, METHOD_GET, get_readyz, NULL, NULL},
    {"/metrics", false, METHOD_GET, get_metrics, NULL, NULL},
    {"/admin/nodes", false, METHOD_GET, get_nodes, NULL, NULL},
    {"/admin/nodes", false, METHOD_POST, NULL, NULL, admin_nodes_add},
    {"/admin/nodes/", false, METHOD_POST, NULL, NULL, admin_nodes_act},
    {"/admin/nodes/", false, METHOD_DELETE, NULL, NULL, admin_nodes_remove},
    {"/admin/queue", false, METHOD_GET, get_queue, NULL, NULL},
    {"/admin/routes", false, METHOD_GET, get_routes, NULL, NULL},
    {"/admin/routes/", false, METHOD_POST, NULL, post_route, NULL},
    {"/admin/reload", false, METHOD_POST, NULL, post_reload, NULL},
    {"/admin/requests/", false, METHOD_GET, NULL, admin_asks_request, NULL},
    {"/admin/record", false, METHOD_GET_ALONE, NULL, admin_record, NULL},
    {"/admin/sessions", false, METHOD_GET, NULL, admin_asks_sessions, NULL},
};

enum { PAGE_COUNT = sizeof(pages) / sizeof(pages[0]) };

static bool authorized(const struct gateway *g, const struct http_head *head)
{
    struct slice value = http_head_find(head, SLICE("authorization"));

    return g->config->key_count == 0 ||
           (value.ptr != NULL && keys_match(g->config, keys_bearer(value)) != NULL);
}

static bool has_method(size_t page, struct slice method)
{
    switch (pages[page].method) {
    case METHOD_POST:
        return slice_eq(method, SLICE("POST"));
    case METHOD_GET_ALONE: /* its body is all there is to it */
        return slice_eq(method, SLICE("GET"));
    case METHOD_DELETE:
        return slice_eq(method, SLICE("DELETE"));
    default:
        return slice_eq(method, SLICE("GET")) || slice_eq(method, SLICE("HEAD"));
    }
}

static bool is_path_of(size_t page, struct slice path)
{
    struct slice wanted = slice_str(pages[page].path);

    return wanted.ptr[wanted.len - 1] == '/' ? slice_starts(path, wanted) : slice_eq(path, wanted);
}

/* PAGE_COUNT: `r` says why none. */
static size_t find_page(const struct gateway *g, const struct http_head *head,
                        struct admin_reply *r)
{
    struct slice path = url_target_path(head->target);
    bool is_there = false;

    for (size_t i = 0; i < PAGE_COUNT; i++) {
        if (!is_path_of(i, path)) {
            continue;
        }
        is_there = true;
        if (!has_method(i, head->method)) {
            continue;
        }
        if (pages[i].open || authorized(g, head)) {
            return i;
        }
        counter_add(COUNTER_UNAUTHORIZED, 1);
        reply_text(r, 401, "an API key is required: Authorization: Bearer KEY\n");
        return PAGE_COUNT;
    }
    if (is_there) {
        reply_text(r, 405, "405 method not allowed\n");
    } else {
        reply_text(
            r, 404,
            "404 page not found; there are /healthz /readyz /metrics /admin/nodes /admin/queue "
            "/admin/record /admin/reload /admin/requests/ID /admin/routes /admin/sessions\n");
    }
    return PAGE_COUNT;
}

static void wait_for_body(struct admin_face *f, struct http_request *q, size_t page,
                          struct slice rest)
{
    struct admin_wait *w = admin_wait_new(f, q);

    if (w == NULL) {
        return;
    }
    if (!buf_append(&w->rest, rest)) {
        admin_wait_refuse(w, 500, SLICE("out of memory"));
        return;
    }
    w->told = pages[page].told;
    http_request_continue(q);
}

static void on_request(void *owner, struct http_request *q, const struct http_head *head)
{
    struct admin_face *f = owner;
    struct admin_reply r = {.status = 200};
    size_t page = PAGE_COUNT;

    if (host_is_foreign(f->gateway->config, listener_addr(f->listener), head)) {
        reply_text(&r, 403, HOST_FOREIGN_TEXT "\n");
    } else if (origin_judge(f->gateway->config->origins, head) == ORIGIN_FOREIGN) {
        reply_text(&r, 403, ORIGIN_FOREIGN_TEXT "\n");
    } else {
        page = find_page(f->gateway, head, &r);
    }
    if (page < PAGE_COUNT && pages[page].get == NULL) {
        struct slice rest = slice_skip(url_target_path(head->target), strlen(pages[page].path));

        if (pages[page].wait != NULL) {
            pages[page].wait(f, q, rest);
        } else {
            wait_for_body(f, q, page, rest);
        }
        return;
    }
    if (page < PAGE_COUNT) {
        pages[page].get(f->gateway, &r);
    }
    reply_or_500(&q, r.status, r.content_type, &r.body);
}

static void on_body(void *owner, struct slice bytes)
{
    struct admin_wait *w = owner;

    if (w->told != NULL) {
        (void)buf_append(&w->body, bytes); /* a failure is sticky, and looked at when it is told */
    }
}

static void on_body_end(void *owner)
{
    struct admin_wait *w = owner;

    if (w->told != NULL) {
        w->told(w);
    }
}

static void on_drained(void *owner)
{
    struct admin_wait *w = owner;

    if (w->drained != NULL) {
        w->drained(w);
    }
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
    .body_end = on_body_end,
    .gone = on_gone,
    .drained = on_drained,
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
    struct admin_wait *w;

    if (f == NULL) {
        return;
    }
    *face = NULL;
    while ((w = admin_wait_list_first(&f->waiting)) != NULL) {
        http_reply_abort(&w->request);
        wait_drop(w);
    }
    listener_free(&f->listener);
    http_server_free(&f->server);
    free(f);
}

const struct addr *admin_face_addr(const struct admin_face *f)
{
    return listener_addr(f->listener);
}
