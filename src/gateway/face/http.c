/* SPDX-License-Identifier: Apache-2.0 */
/* A request becomes an exchange as soon as its head is read, so that whatever happens to it ends
 * and is logged in one place; the reply side is http_reply.c. */
#include "gateway/face/http.h"

#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "gateway/exchange.h"
#include "gateway/face/host.h"
#include "gateway/face/http_body.h"
#include "gateway/face/http_local.h"
#include "gateway/face/http_reply.h"
#include "gateway/face/routes.h"
#include "gateway/face/wishes.h"
#include "gateway/keys.h"
#include "gateway/origin.h"
#include "gateway/sub.h"
#include "gateway/trust.h"
#include "http/io/server.h"
#include "http/parse/url.h"
#include "node/poll.h"
#include "obs/access_log.h"

enum {
    HEAD_TIMEOUT_MS = 30000,
    BODY_TIMEOUT_MS = 120000,
    IDLE_TIMEOUT_MS = 120000,
    STATUS_FOREIGN = 403,
};

struct http_face {
    struct sub *sub;
    struct http_server *server;
    struct host_known host_known;
};

/* No exchange, but somebody who tries to get in is to be seen. */
static void log_foreign(const struct http_face *f, const struct http_local *r,
                        const struct http_head *head, size_t bytes)
{
    char client[ADDR_TEXT_MAX];
    const struct access_record record = {
        .wall_us = loop_wall_us(f->sub->loop),
        .id = r->id,
        .face = "http",
        .client = client,
        .key = "",
        .op = "",
        .path = url_target_path(head->target),
        .node = "",
        .code = mcp_error_name(MCP_EUNAUTHORIZED),
        .status = STATUS_FOREIGN,
        .bytes_out = slice_eq(head->method, SLICE("HEAD")) ? 0 : bytes,
    };

    trust_client(&f->sub->config->trusted, http_request_peer(r->request), head, client);
    access_log_write(&record);
}

static void take_id(const struct http_face *f, const struct http_head *head,
                    char id[REQUEST_ID_MAX + 1])
{
    request_id_take(f->sub, http_head_find(head, SLICE("x-request-id")), id);
}

static void refuse_foreign(const struct http_face *f, struct http_local *r,
                           const struct http_head *head, struct slice text)
{
    take_id(f, head, r->id);
    counter_add(COUNTER_HTTP_BAD, 1);
    log_foreign(f, r, head, text.len);
    http_local_plain(r, STATUS_FOREIGN, text);
}

/* True: answered without an exchange. Else `origin` is that of a page which may ask, or empty. */
static bool reply_at_once(struct http_face *f, struct http_request *q, const struct http_head *head,
                          const struct route **route, struct slice *origin)
{
    enum origin_kind kind = origin_judge(f->sub->config->origins, head);
    struct slice path = url_target_path(head->target);
    struct slice probe = http_head_find(head, SLICE(NODE_PROBE_HEADER));
    struct http_local r = {.request = q};

    if (probe.ptr != NULL && slice_eq(probe, slice_str(f->sub->instance))) {
        http_local_to_itself(q, probe);
        return true;
    }
    if (host_is_foreign_now(f->sub->config, f->sub->http_addr, head, &f->host_known)) {
        refuse_foreign(f, &r, head, SLICE(HOST_FOREIGN_TEXT));
        return true;
    }
    if (kind == ORIGIN_FOREIGN) {
        refuse_foreign(f, &r, head, SLICE(ORIGIN_FOREIGN_TEXT));
        return true;
    }
    if (kind == ORIGIN_ALLOWED) {
        r.origin = http_head_find(head, SLICE("Origin"));
    }
    *origin = r.origin;
    if (kind == ORIGIN_ALLOWED && slice_eq(head->method, SLICE("OPTIONS"))) {
        take_id(f, head, r.id);
        http_local_preflight(&r, path);
        return true;
    }
    switch (route_find(head->method, path, route)) {
    case ROUTE_FOUND:
        if (slice_eq(path, SLICE(ROUTE_LIVENESS)) && !slice_eq(head->method, SLICE("OPTIONS"))) {
            take_id(f, head, r.id);
            http_local_plain(&r, 200, SLICE("Ollama is running"));
            return true;
        }
        return false;
    case ROUTE_NO_METHOD:
        take_id(f, head, r.id);
        http_local_no_method(&r, path);
        return true;
    case ROUTE_NO_PATH:
        break;
    }
    take_id(f, head, r.id);
    http_local_no_path(&r, head);
    return true;
}

static bool header_stays_here(const struct http_head *head, struct slice name)
{
    static const struct slice ours = SLICE("X-Mcpgate-");

    return http_header_is_hop_by_hop(head, name) ||
           slice_eq_case(slice_first(name, ours.len), ours) ||
           slice_eq_case(name, SLICE("accept-encoding")) ||
           slice_eq_case(name, SLICE("x-request-id")) || slice_eq_case(name, SLICE("origin"));
}

/* Copies a slice to `at`, where there is room, and goes on behind it. */
static struct slice keep(char **at, struct slice s)
{
    char *kept = *at;

    if (s.len > 0) {
        memcpy(kept, s.ptr, s.len);
        *at += s.len;
    }
    return slice_of(kept, s.len);
}

/* The head belongs to the connection's parser; what the exchange needs of it is copied into one
 * piece of memory. */
static bool keep_head(struct http_exchange *h, const struct http_head *head, struct slice origin)
{
    struct exchange *x = h->exchange;
    size_t bytes = head->method.len + head->target.len + origin.len + 1;
    char *at;

    for (size_t i = 0; i < head->header_count; i++) {
        bytes += head->headers[i].name.len + head->headers[i].value.len;
    }
    x->headers_bytes = (head->header_count + 1) * sizeof(*x->headers);
    x->headers = block_get(x->headers_bytes);
    at = buf_reserve(&x->http, bytes);
    if (x->headers == NULL || at == NULL) {
        return false;
    }
    x->method = keep(&at, head->method);
    x->path = keep(&at, head->target);
    h->origin = keep(&at, origin);
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *from = &head->headers[i];

        if (!header_stays_here(head, from->name)) {
            x->headers[x->header_count].name = keep(&at, from->name);
            x->headers[x->header_count++].value = keep(&at, from->value);
        } else if (slice_eq_case(from->name, SLICE("x-mcpgate-trace"))) {
            x->wants_timing = x->sub->config->server_timing != CONFIG_TIMING_OFF;
        } else if (slice_eq_case(from->name, SLICE("x-mcpgate-idempotency-key"))) {
            if (exchange_extra(x) == NULL || !buf_append(&x->extra->idempotency_key, from->value)) {
                return false;
            }
        } else if (slice_eq_case(slice_first(from->name, 10), SLICE("X-Mcpgate-"))) {
            h->has_wishes = true;
        }
    }
    /* There is room for one that the client did not send. */
    x->headers[x->header_count++] = (struct http_header){SLICE("X-Request-Id"), slice_str(x->id)};
    return true;
}

static bool keep_credential(struct exchange *x, const struct http_head *head)
{
    struct slice value = http_head_find(head, SLICE("authorization"));
    struct slice key = value.ptr == NULL ? SLICE("") : keys_bearer(value);

    if (key.len == 0) {
        value = http_head_find(head, SLICE("x-api-key"));
        key = value.ptr == NULL ? SLICE("") : value;
    }
    x->has_key = key.len > 0;
    return buf_append(&x->key, key);
}

static bool fill_exchange(struct http_exchange *h, const struct http_head *head,
                          const struct http_request *q, struct slice origin)
{
    const struct route *route = h->route;
    struct exchange *x = h->exchange;
    struct slice id = http_head_find(head, SLICE("x-request-id"));

    if (request_id_is_fine(id)) {
        slice_copy(id, x->id, sizeof(x->id));
    }
    trust_client(&x->sub->config->trusted, http_request_peer(q), head, x->client);
    if (slice_eq(head->method, SLICE("OPTIONS"))) {
        x->relay_any_kind = true; /* what a node says of itself, whatever it serves there */
    } else {
        x->op = route->op;
        x->native_only = route->translated;
        x->relay_any_kind = route->any_kind;
        x->needs_model = route->needs_model;
        x->once = route->once;
        x->stream_end = route->end;
        x->upload = route->body == ROUTE_BODY_UPLOAD;
        x->retrieves = route->retrieves;
    }
    x->wants_timing = x->sub->config->server_timing == CONFIG_TIMING_ALWAYS;
    x->is_head = slice_eq(head->method, SLICE("HEAD"));
    x->upload_length = head->has_length ? (int64_t)head->content_length : -1;
    if (x->retrieves &&
        !url_unescape(slice_skip(url_target_path(head->target), sizeof(ROUTE_RETRIEVE) - 1),
                      &x->model)) {
        return false;
    }
    return keep_head(h, head, origin) && keep_credential(x, head);
}

static void note_encoding(struct http_exchange *h, const struct http_head *head)
{
    struct slice encoding = http_head_find(head, SLICE("content-encoding"));

    h->body_is_encoded = encoding.len > 0 && !slice_eq_case(encoding, SLICE("identity"));
    h->body_is_zstd = slice_eq_case(encoding, SLICE("zstd"));
}

static void on_request(void *owner, struct http_request *q, const struct http_head *head)
{
    struct http_face *f = owner;
    const struct route *route = NULL;
    struct slice origin;
    struct http_exchange *h;
    struct err e = {0};

    if (reply_at_once(f, q, head, &route, &origin)) {
        return;
    }
    h = http_exchange_new(f->sub, q, route);
    if (h == NULL) {
        struct http_local r = {.request = q, .origin = origin};

        take_id(f, head, r.id);
        http_local_reply(&r, 500, SLICE("application/json; charset=utf-8"),
                         SLICE("{\"error\":\"out of memory\"}"), (struct http_header){0});
        return;
    }
    note_encoding(h, head);
    if (!fill_exchange(h, head, q, origin)) {
        exchange_refuse(h->exchange, MCP_EINTERNAL, "out of memory");
    } else if (!exchange_authorized(h->exchange)) {
        exchange_refuse_unauthorized(h->exchange);
    } else if (h->has_wishes && wishes_read(h->exchange, head, &e) != MCP_OK) {
        exchange_refuse(h->exchange, e.code, e.text);
    } else if (head->has_length && !h->exchange->upload &&
               head->content_length > f->sub->config->max_body_bytes) {
        exchange_refuse(h->exchange, MCP_ETOO_LARGE, "the request body is too large");
    } else if (h->exchange->upload) {
        http_request_pause(q); /* until there is a node to pass it to */
        exchange_start(h->exchange);
    } else {
        http_request_continue(q);
    }
}

/* Nobody waits for what will be refused. */
static void on_announced(void *owner, uint64_t bytes)
{
    struct http_exchange *h = owner;
    struct exchange *x = h->exchange;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (x != NULL && !x->refused && !x->upload &&
        bytes > x->sub->config->max_body_bytes - buf_len(&x->body)) {
        exchange_refuse(x, MCP_ETOO_LARGE, "the request body is too large");
    }
}

static void collect_body(struct http_exchange *h, struct slice bytes)
{
    struct exchange *x = h->exchange;
    const struct sub *sub = x->sub;
    size_t whole = x->upload_length >= 0 ? (size_t)x->upload_length : sub->config->max_body_bytes;

    if (buf_len(&x->body) + bytes.len > sub->config->max_body_bytes) {
        exchange_refuse(x, MCP_ETOO_LARGE, "the request body is too large");
    } else if (!buf_append_of(&x->body, bytes, whole)) {
        exchange_refuse(x, MCP_EINTERNAL, "out of memory");
    } else if (!exchange_account_body(x)) {
        exchange_refuse(x, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    }
}

static void on_body(void *owner, struct slice bytes)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (h->exchange == NULL || h->exchange->refused) {
        return;
    }
    if (!h->exchange->upload) {
        h->exchange->bytes_in += bytes.len;
        collect_body(h, bytes);
        return;
    }
    exchange_body(h->exchange, bytes);
    if (exchange_body_over_high(h->exchange)) {
        http_request_pause(h->request);
    }
}

static void on_body_end(void *owner)
{
    struct http_exchange *h = owner;
    struct exchange *x = h->exchange;
    struct err e = {0};
    int rv;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (x == NULL || x->refused) {
        return;
    }
    if (x->upload) {
        exchange_body_end(x);
        return;
    }
    x->received_us = loop_now_us(x->sub->loop);
    rv = http_body_read(h, &e);
    if (rv != MCP_OK) {
        exchange_refuse(x, rv, e.text);
        return;
    }
    exchange_start(x);
}

static void on_broken(void *owner, unsigned status, const char *reason)
{
    struct http_exchange *h = owner;

    OBJ_CHECK(h, HTTP_EXCHANGE_MAGIC);
    if (!h->exchange->refused) {
        h->broken_status = h->exchange->sent_status = status;
        exchange_refuse(h->exchange, status == 500 ? MCP_EINTERNAL : MCP_EBAD_REQUEST, reason);
    }
}

static void on_conn_closed(void *owner)
{
    struct http_face *f = owner;

    counter_add(COUNTER_OPEN_HTTP, -1);
    sub_closed(f->sub);
}

static const struct http_server_ops server_ops = {
    .closed = on_conn_closed,
    .request = on_request,
    .body = on_body,
    .body_end = on_body_end,
    .announced = on_announced,
    .gone = http_exchange_gone,
    .broken = on_broken,
    .drained = http_exchange_drained,
    .sent = http_exchange_sent,
};

struct http_face *http_face_new(struct sub *sub)
{
    static const struct http_server_limits limits = {.head_timeout_ms = HEAD_TIMEOUT_MS,
                                                     .body_timeout_ms = BODY_TIMEOUT_MS,
                                                     .idle_timeout_ms = IDLE_TIMEOUT_MS};
    struct http_face *f = xcalloc(1, sizeof(*f));

    f->sub = sub;
    f->server = http_server_new(sub->loop, &server_ops, f, &limits);
    return f;
}

void http_face_free(struct http_face **face)
{
    struct http_face *f = *face;

    if (f == NULL) {
        return;
    }
    *face = NULL;
    http_server_free(&f->server);
    free(f);
}

void http_face_accept(struct http_face *f, int fd, const struct addr *peer)
{
    counter_add(COUNTER_CONN_HTTP, 1);
    counter_add(COUNTER_OPEN_HTTP, 1);
    http_server_accept(f->server, fd, peer);
}

bool http_face_take(struct http_face *f, struct sock *sock, const struct addr *client)
{
    counter_add(COUNTER_CONN_HTTP, 1);
    counter_add(COUNTER_OPEN_HTTP, 1);
    return http_server_take(f->server, sock, client);
}

void http_face_drain(struct http_face *f)
{
    http_server_drain(f->server);
}

size_t http_face_open(const struct http_face *f)
{
    return http_server_open(f->server);
}

void http_face_walk(const struct http_face *f, http_conn_view_cb cb, void *owner)
{
    http_server_walk(f->server, cb, owner);
}
