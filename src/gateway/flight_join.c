/* SPDX-License-Identifier: Apache-2.0 */
/* The home's side, before: which requests need not be computed twice, and what they say. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "codec/request_sampling.h"
#include "gateway/flight.h"
#include "gateway/flight_internal.h"
#include "gateway/sub.h"

enum { BODY_BYTES_MAX = 4 * 1024 * 1024 };

/* Embeddings that are only under way share calls in batch.c. */
static bool is_determined(const struct exchange *x)
{
    const struct json_member *options = &x->request.members[REQUEST_OPTIONS];
    bool ollama = x->native || x->native_only;

    switch (x->op) {
    case OP_EMBED:
        return x->sub->config->share_cache_bytes > 0;
    case OP_EMBEDDINGS:
        return true;
    case OP_GENERATE:
    case OP_CHAT:
        break;
    default:
        return false;
    }
    if (!ollama) {
        return sampling_is_fixed(&x->request);
    }
    if (request_has(&x->request, REQUEST_OPTIONS) && options->kind != JSON_NULL) {
        return sampling_is_fixed_by(options->value);
    }
    return sampling_is_fixed_by(buf_slice(&x->inherited_options));
}

/* The client's own key for the request: with its quotes over MCP. */
static struct slice idempotency_key(const struct exchange *x)
{
    if (x->native) {
        return x->request.mcp.idempotency_key;
    }
    return x->extra == NULL ? SLICE("") : buf_slice(&x->extra->idempotency_key);
}

static bool may_join(const struct exchange *x)
{
    if (!x->body_is_json || x->inner || x->flight != NULL || x->op == OP_NONE || x->upload ||
        x->is_head || x->sub->draining || exchange_wished_nodes(x).len > 0 ||
        buf_len(&x->body) > BODY_BYTES_MAX) {
        return false;
    }
    return idempotency_key(x).len > 0 ||
           (x->sub->config->share != CONFIG_SHARE_OFF && is_determined(x) &&
            config_route_find(x->sub->config, buf_slice(&x->model)) == NULL);
}

/* The body that the node gets, without `mcp` and with what the session inherits. */
static bool write_body(const struct exchange *x, struct buf *body)
{
    const struct request_edits edits = {
        .model =
            buf_len(&x->inherited_model) > 0 ? buf_slice(&x->inherited_model) : (struct slice){0},
        .options = buf_len(&x->inherited_options) > 0 ? buf_slice(&x->inherited_options)
                                                      : (struct slice){0},
    };
    struct request_pieces pieces;

    request_forward(&x->request, &edits, &pieces);
    for (size_t i = 0; i < pieces.count; i++) {
        (void)buf_append(body, pieces.pieces[i]);
    }
    return !buf_failed(body);
}

static bool write_head(const struct exchange *x, struct flight_ask *ask)
{
    struct slice parent = x->native ? x->request.mcp.traceparent : SLICE("");
    size_t bytes = x->method.len + x->path.len + parent.len + 1;
    char *at;

    for (size_t i = 0; i < x->header_count; i++) {
        bytes += x->headers[i].name.len + x->headers[i].value.len;
    }
    at = buf_reserve(&ask->text, bytes);
    if (at == NULL) {
        return false;
    }
    buf_commit(&ask->text, bytes);
    ask->method = slice_keep(x->method, &at);
    ask->path = slice_keep(x->path, &at);
    ask->traceparent = slice_keep(parent, &at);
    for (size_t i = 0; i < x->header_count; i++) {
        struct http_header h;

        if (slice_eq_case(x->headers[i].name, SLICE("x-request-id"))) {
            continue;
        }
        h.name = slice_keep(x->headers[i].name, &at);
        h.value = slice_keep(x->headers[i].value, &at);
        if (!buf_append(&ask->headers, slice_of(&h, sizeof(h)))) {
            return false;
        }
        ask->header_count++;
    }
    return true;
}

/* What the shape of the answer may depend on, besides the body. */
static void write_accepted(const struct exchange *x, struct buf *key)
{
    for (size_t i = 0; i < x->header_count; i++) {
        const struct http_header *h = &x->headers[i];

        if (slice_eq_case(slice_first(h->name, 6), SLICE("accept")) ||
            slice_eq_case(slice_first(h->name, 8), SLICE("content-"))) {
            (void)buf_append(key, h->name);
            (void)buf_append_byte(key, ':');
            (void)buf_append(key, h->value);
            (void)buf_append_byte(key, '\n');
        }
    }
}

static bool write_key(const struct exchange *x, struct flight_member *m)
{
    struct slice own = idempotency_key(x);

    m->idempotent = own.len > 0;
    (void)buf_append_byte(&m->key, m->idempotent ? 'i' : 's');
    if (m->idempotent || x->sub->config->share != CONFIG_SHARE_ALL) {
        (void)buf_append(&m->key, turn_tenant(x));
    }
    (void)buf_append_byte(&m->key, '\n');
    (void)buf_append_byte(&m->key, x->native ? 'n' : 'r'); /* another shape of answer */
    (void)buf_append(&m->key, x->native ? slice_str(op_info(x->op)->name) : x->path);
    (void)buf_append_byte(&m->key, '\n');
    if (!m->idempotent) {
        write_accepted(x, &m->key);
    }
    return buf_append(&m->key, m->idempotent ? own : buf_slice(&m->ask.body)); /* sticky */
}

static struct flight_member *member_new(struct exchange *x)
{
    struct flight_member *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return NULL;
    }
    m->magic = FLIGHT_MEMBER_MAGIC;
    m->users = 1;
    m->home = x->sub;
    m->exchange = x;
    m->ask.op = x->op;
    m->ask.native = x->native;
    m->ask.native_only = x->native_only;
    m->ask.streams = x->streams;
    m->ask.once = x->once;
    m->ask.session_hash = x->session_hash;
    m->ask.needs_model = x->needs_model;
    m->ask.relay_any_kind = x->relay_any_kind;
    m->ask.stream_end = x->stream_end;
    m->ask.prefer_node_id = x->prefer_node_id;
    m->ask.priority = x->priority;
    slice_copy(slice_str(x->id), m->ask.id, sizeof(m->ask.id));
    slice_copy(slice_str(x->client), m->ask.client, sizeof(m->ask.client));
    slice_copy(slice_str(x->key_name), m->ask.key_name, sizeof(m->ask.key_name));
    if (!write_body(x, &m->ask.body) || !buf_append(&m->ask.model, buf_slice(&x->model)) ||
        !write_head(x, &m->ask) || !write_key(x, m)) {
        flight_member_unref(m);
        return NULL;
    }
    m->cacheable = !m->idempotent;
    m->held_bytes = sizeof(*m) + m->ask.body.cap + m->ask.text.cap + m->key.cap;
    if (!body_memory_take(x->sub->bodies, m->held_bytes)) {
        flight_member_unref(m);
        return NULL;
    }
    m->owner = &x->sub->siblings[hash_bytes(0, buf_slice(&m->key)) % x->sub->sibling_count];
    return m;
}

enum step_result step_flight(struct exchange *x)
{
    struct flight_member *m;

    if (!may_join(x)) {
        return STEP_NEXT;
    }
    m = member_new(x);
    if (m == NULL) {
        return STEP_NEXT; /* alone it needs less memory */
    }
    x->flight = m;
    m->join.run = flight_on_join;
    m->over.run = flight_on_over;
    m->kick.run = flight_on_kick;
    m->go.run = flight_on_go;
    (void)atomic_fetch_add(&x->sub->batch_shared->members, 1);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->join);
    return STEP_WAIT;
}
