/* SPDX-License-Identifier: Apache-2.0 */
/* The home's side: which requests need not be computed twice, and reading the record. */
#include "gateway/flight.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/hash.h"
#include "gateway/flight_internal.h"
#include "gateway/keys.h"
#include "gateway/sub.h"

enum { BODY_BYTES_MAX = 4 * 1024 * 1024, BACKLOG_BYTES_MAX = 1024 * 1024 };

void flight_member_unref(struct flight_member *m)
{
    if (atomic_fetch_sub(&m->users, 1) != 1) {
        return;
    }
    if (m->at != NULL) {
        flight_leave_at(&m->at);
    }
    flight_record_unref(&m->record);
    buf_fini(&m->ask.model);
    buf_fini(&m->ask.body);
    buf_fini(&m->ask.text);
    buf_fini(&m->ask.headers);
    buf_fini(&m->key);
    m->magic = 0;
    free(m);
}

/* --- who joins -------------------------------------------------------------------------------- */

static bool is_zero(struct slice number)
{
    for (size_t i = 0; i < number.len && number.ptr[i] != 'e' && number.ptr[i] != 'E'; i++) {
        if (number.ptr[i] >= '1' && number.ptr[i] <= '9') {
            return false;
        }
    }
    return true;
}

/* Whether the object says how to sample, so that the same comes out each time. */
static bool fixes_sampling(struct slice object)
{
    static const struct slice temperature = SLICE("temperature"), seed = SLICE("seed");
    struct json_member m;

    if (object.len < 2 || object.ptr[0] != '{') {
        return false;
    }
    if (memmem(object.ptr, object.len, temperature.ptr, temperature.len) != NULL &&
        json_find(object, temperature, &m) == JSON_OK && m.kind == JSON_NUMBER &&
        is_zero(m.value)) {
        return true;
    }
    return memmem(object.ptr, object.len, seed.ptr, seed.len) != NULL &&
           json_find(object, seed, &m) == JSON_OK && m.kind == JSON_NUMBER &&
           m.value.ptr[0] != '-'; /* Ollama: below 0 is none */
}

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
        return fixes_sampling(buf_slice(&x->body));
    }
    if (request_has(&x->request, REQUEST_OPTIONS) && options->kind != JSON_NULL) {
        return fixes_sampling(options->value);
    }
    return fixes_sampling(buf_slice(&x->inherited_options));
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
    size_t bytes = x->method.len + x->path.len + 1;
    char *at;

    for (size_t i = 0; i < x->header_count; i++) {
        bytes += x->headers[i].name.len + x->headers[i].value.len;
    }
    at = buf_reserve(&ask->text, bytes);
    if (at == NULL) {
        return false;
    }
    buf_commit(&ask->text, bytes);
#define KEEP(s) (memcpy(at, (s).ptr, (s).len), at += (s).len, slice_of(at - (s).len, (s).len))
    ask->method = KEEP(x->method);
    ask->path = KEEP(x->path);
    for (size_t i = 0; i < x->header_count; i++) {
        struct http_header h;

        if (slice_eq_case(x->headers[i].name, SLICE("x-request-id"))) {
            continue;
        }
        h.name = KEEP(x->headers[i].name);
        h.value = KEEP(x->headers[i].value);
        if (!buf_append(&ask->headers, slice_of(&h, sizeof(h)))) {
            return false;
        }
        ask->header_count++;
    }
#undef KEEP
    return true;
}

struct slice flight_tenant(const struct exchange *x)
{
    const struct config_key *key =
        x->key_name[0] == '\0' ? NULL : keys_named(x->sub->config, x->key_name);

    if (key == NULL) {
        return slice_str(x->client);
    }
    return slice_str(key->tenant == NULL ? key->name : key->tenant);
}

static bool write_key(const struct exchange *x, struct flight_member *m)
{
    struct slice own = idempotency_key(x);

    m->idempotent = own.len > 0;
    (void)buf_append_byte(&m->key, m->idempotent ? 'i' : 's');
    if (m->idempotent || x->sub->config->share != CONFIG_SHARE_ALL) {
        (void)buf_append(&m->key, flight_tenant(x));
    }
    (void)buf_append_byte(&m->key, '\n');
    (void)buf_append_byte(&m->key, x->native ? 'n' : 'r'); /* another shape of answer */
    (void)buf_append(&m->key, x->native ? slice_str(op_info(x->op)->name) : x->path);
    (void)buf_append_byte(&m->key, '\n');
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
    slice_copy(slice_str(x->client), m->ask.client, sizeof(m->ask.client));
    slice_copy(slice_str(x->key_name), m->ask.key_name, sizeof(m->ask.key_name));
    if (!write_body(x, &m->ask.body) || !buf_append(&m->ask.model, buf_slice(&x->model)) ||
        (!x->native && !write_head(x, &m->ask)) || !write_key(x, m)) {
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
    (void)atomic_fetch_add(&x->sub->batch_shared->members, 1);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->join);
    return STEP_WAIT;
}

void flight_leave(struct exchange *x)
{
    struct flight_member *m = x->flight;

    if (m == NULL) {
        return;
    }
    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    x->flight = NULL;
    m->exchange = NULL;
    body_memory_give(x->sub->bodies, m->held_bytes);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->over);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_node(struct exchange *x, const struct flight_piece *p)
{
    x->node_id = p->number;
    slice_copy(flight_piece_bytes(p), x->node_name, sizeof(x->node_name));
    if (x->sink->admitted != NULL) {
        x->sink->admitted(x->owner, x);
    }
    x->attempts++;
}

static void read_head(struct exchange *x, const struct flight_piece *p)
{
    struct http_header headers[FLIGHT_HEADERS_MAX];
    struct http_head head = {
        .status = p->status,
        .minor = 1,
        .headers = headers,
        .header_count = flight_head_read(p, headers),
        .has_length = p->number != UINT64_MAX,
        .content_length = p->number == UINT64_MAX ? 0 : p->number,
        .has_body = true,
    };

    if (head.header_count > 0 &&
        slice_eq(headers[head.header_count - 1].name, SLICE(FLIGHT_IGNORED)) &&
        exchange_extra(x) != NULL) {
        /* A failure leaves it out. */
        (void)buf_append(&x->extra->ignored, headers[--head.header_count].value);
    }
    x->node_status = p->status;
    x->sink->head(x->owner, &head);
}

static void read_part(struct exchange *x, const struct flight_piece *p)
{
    bool last = p->kind == FLIGHT_LAST_PART;

    if (p->len > x->max_part_bytes) {
        exchange_fail(x, MCP_ETOO_LARGE, "a part of the node's answer is too large");
        return;
    }
    x->node_status = x->node_status == 0 ? 200 : x->node_status;
    exchange_note_part(x, p->len);
    x->saw_end = x->saw_end || last;
    x->sink->part(x->owner, flight_piece_bytes(p), last);
    if (last && !x->over) {
        exchange_succeed(x);
    }
}

static void read_end(struct exchange *x, const struct flight_piece *p)
{
    struct slice bytes = flight_piece_bytes(p);
    struct slice node_body = slice_skip(bytes, p->split);
    int code = (int)(int64_t)p->number;
    char text[256];

    x->node_status = p->status;
    if (code == MCP_OK) {
        exchange_succeed(x);
        return;
    }
    if (node_body.len > 0 && buf_append(&x->collect, node_body)) {
        x->result_from_node = true;
    }
    slice_copy(slice_first(bytes, p->split), text, sizeof(text));
    exchange_fail(x, code, p->len > 0 ? text : mcp_error_text(code));
}

static void read_piece(struct exchange *x, const struct flight_piece *p)
{
    switch (p->kind) {
    case FLIGHT_START:
        break;
    case FLIGHT_NODE:
        read_node(x, p);
        break;
    case FLIGHT_HEAD:
        read_head(x, p);
        break;
    case FLIGHT_BYTES:
        exchange_note_part(x, p->len);
        x->sink->bytes(x->owner, flight_piece_bytes(p));
        break;
    case FLIGHT_PART:
    case FLIGHT_LAST_PART:
        read_part(x, p);
        break;
    case FLIGHT_END:
        read_end(x, p);
        break;
    }
}

static void read_on(struct flight_member *m, struct exchange *x)
{
    const struct flight_piece *p;

    while (!x->over && !x->refused && !x->paused && (p = flight_next(&m->at)) != NULL) {
        m->read_bytes += p->len;
        read_piece(x, p);
    }
    /* The call is not stopped for one of several: who is too far behind has no part in it. */
    if (!x->over && !x->refused && x->paused && !atomic_load(&m->record->done) &&
        atomic_load(&m->record->bytes) - m->read_bytes > BACKLOG_BYTES_MAX) {
        counter_add(COUNTER_CLIENT_STALLS, 1);
        exchange_fail(x, MCP_ECANCELLED, "the client reads too slowly");
    }
}

void flight_on_kick(struct post_message *kick)
{
    struct flight_member *m =
        (struct flight_member *)(void *)((char *)kick - offsetof(struct flight_member, kick));
    struct exchange *x = m->exchange;

    OBJ_CHECK(m, FLIGHT_MEMBER_MAGIC);
    atomic_store(&m->kicked, false);
    if (x == NULL || x->over || x->refused) {
        flight_member_unref(m);
        return;
    }
    switch (m->outcome) {
    case FLIGHT_ALONE:
        steps_run(x);
        break;
    case FLIGHT_REFUSED:
        counter_add(COUNTER_SHARE_CONFLICTS, 1);
        exchange_fail(x, MCP_EBAD_REQUEST,
                      "the idempotency key was given to another request before");
        break;
    case FLIGHT_SHARED:
        if (!m->begun) {
            m->begun = true;
            x->cache_hit = m->hit;
            trace_note(x, m->hit ? TRACE_FLIGHT_REPLAYED : TRACE_FLIGHT_SHARED);
        }
        read_on(m, x);
        break;
    }
    flight_member_unref(m);
}

void flight_resume(struct exchange *x)
{
    struct flight_member *m = x->flight;

    if (m->begun && !atomic_exchange(&m->kicked, true)) {
        (void)atomic_fetch_add(&m->users, 1);
        post_box_put(&m->home->batch.box, &m->home->batch.box, &m->kick);
    }
}
