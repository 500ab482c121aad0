/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "codec/model_name.h"
#include "gateway/answer.h"
#include "gateway/assemble.h"
#include "gateway/keys.h"
#include "gateway/local.h"
#include "gateway/made_headers.h"
#include "gateway/request_id.h"
#include "gateway/sub.h"
#include "http/parse/url.h"
#include "obs/access_log.h"
#include "sched/choose.h"

enum { CANDIDATES_AT_HAND = 8, ATTEMPTS_MAX = 3, PART_BYTES_MAX = 256 * 1024 * 1024 };

enum step_result { STEP_NEXT, STEP_WAIT, STEP_DONE };

struct step {
    const char *name;
    enum step_result (*run)(struct exchange *x);
};

static void run_steps(void *owner);
static void on_deadline(void *owner);
static void on_refused(void *owner);

struct exchange *exchange_new(struct sub *sub, enum exchange_face face,
                              const struct exchange_sink *sink, void *owner)
{
    struct exchange *x = block_get(sizeof(*x));

    if (x == NULL) {
        return NULL;
    }
    memset(x, 0, offsetof(struct exchange, request));
    x->result_text[0] = '\0';
    x->client[0] = '\0';
    x->node_name[0] = '\0';
    x->key_name[0] = '\0';
    x->magic = EXCHANGE_MAGIC;
    x->sub = sub;
    x->face = face;
    x->sink = sink;
    x->owner = owner;
    x->op = OP_NONE;
    x->max_part_bytes = PART_BYTES_MAX;
    x->received_us = loop_now_us(sub->loop);
    request_id_make(sub, x->id);
    trace_begin(x);
    task_init(&x->run, run_steps, x);
    task_init(&x->end_task, on_refused, x);
    timer_init(&x->deadline, on_deadline, x);
    exchange_list_push(&sub->running, x);
    counter_add(COUNTER_EXCHANGES_RUNNING, 1);
    return x;
}

static void exchange_destroy(void *ptr)
{
    struct exchange *x = ptr;

    answer_fini(x);
    buf_fini(&x->key);
    buf_fini(&x->body);
    buf_fini(&x->model);
    buf_fini(&x->inherited_model);
    buf_fini(&x->inherited_options);
    buf_fini(&x->http);
    block_put(x->headers, x->headers_bytes);
    openai_call_free(&x->openai);
    openai_assembly_free(&x->assembly);
    buf_fini(&x->openai_path);
    buf_fini(&x->openai_body);
    free(x->deep);
    block_put(x, sizeof(*x));
}

bool exchange_account_body(struct exchange *x)
{
    size_t held = x->body.cap + x->openai_body.cap;

    if (held <= x->body_held_bytes) {
        body_memory_give(x->sub->bodies, x->body_held_bytes - held);
    } else if (!body_memory_take(x->sub->bodies, held - x->body_held_bytes)) {
        return false;
    }
    x->body_held_bytes = held;
    return true;
}

static void release_body(struct exchange *x)
{
    x->body_is_json = false;
    buf_release(&x->body);
    buf_release(&x->openai_body);
    (void)exchange_account_body(x); /* never fails for less */
}

static enum counter_id outcome(const struct exchange *x)
{
    switch (x->result_code) {
    case MCP_OK:
        if (x->node_status >= 500 || x->saw_error) {
            return COUNTER_EXCHANGE_NODE_ERROR;
        }
        return x->node_status >= 400 ? COUNTER_EXCHANGE_CLIENT_ERROR : COUNTER_EXCHANGE_OK;
    case MCP_ECANCELLED:
        return COUNTER_EXCHANGE_CANCELLED;
    case MCP_ESTREAM_INTERRUPTED:
        return COUNTER_EXCHANGE_INTERRUPTED;
    case MCP_EDEADLINE_EXCEEDED:
        return COUNTER_EXCHANGE_DEADLINE;
    case MCP_EUPSTREAM_ERROR:
    case MCP_ENODE_UNAVAILABLE:
        return COUNTER_EXCHANGE_NODE_ERROR;
    case MCP_EINTERNAL:
    case MCP_ENOMEM:
    case MCP_ESHUTTING_DOWN:
    case MCP_EQUEUE_FULL:
        return COUNTER_EXCHANGE_GATEWAY_ERROR;
    default:
        return COUNTER_EXCHANGE_CLIENT_ERROR;
    }
}

/* What the client asked for. */
static enum op asked_op(const struct exchange *x)
{
    return x->deep != NULL ? OP_HEALTH : x->op;
}

unsigned exchange_error_status(const struct exchange *x)
{
    if (x->result_from_node && x->node_status >= 400) {
        return x->node_status;
    }
    return (unsigned)mcp_error_http_status(x->result_code);
}

/* What the client got, or gets with the error it ends with; 0: nothing. */
static unsigned final_status(const struct exchange *x)
{
    if (x->sent_status != 0 || x->result_code == MCP_OK || x->result_code == MCP_ECANCELLED) {
        return x->sent_status;
    }
    return exchange_error_status(x);
}

static void account(struct exchange *x)
{
    enum op op = asked_op(x);
    uint64_t now_us = loop_clock_us(x->sub->loop);
    struct access_record record = {
        .wall_us = loop_wall_us(x->sub->loop),
        .id = x->id,
        .face = x->face == FACE_MCP ? "mcp" : "http",
        .client = x->client,
        .key = x->key_name,
        .op = op == OP_NONE ? "" : op_info(op)->name,
        .path = url_target_path(x->path),
        .model = buf_slice(&x->model),
        .node = x->node_name,
        .code = mcp_error_name(x->result_code),
        .status = x->face == FACE_HTTP ? final_status(x) : x->node_status,
        .parts = x->parts,
        .bytes_in = x->bytes_in,
        .bytes_out = x->bytes_out,
        .first_part_us = x->first_part_us == 0 ? 0 : x->first_part_us - x->received_us,
        .total_us = now_us - x->received_us,
    };

    counter_add(COUNTER_EXCHANGES_RUNNING, -1);
    counter_add(outcome(x), 1);
    histogram_record(HISTOGRAM_EXCHANGE_US, record.total_us);
    access_log_write(&record);
    trace_end(x, now_us, record.status);
}

/* Whoever is told of a new model may ask for it at once. */
static void note_change(struct exchange *x)
{
    struct node *n;

    switch (x->op) {
    case OP_PULL:
    case OP_CREATE:
    case OP_COPY:
    case OP_DELETE:
        n = nodes_by_id(x->sub->nodes, x->node_id);
        if (n != NULL) {
            node_mark_changed(n);
        }
        break;
    default:
        break;
    }
}

/* The one way out. Whatever is left of the way to the node is let go; `ended` is called unless the
 * face itself wanted the end. */
static void exchange_end(struct exchange *x, bool tell)
{
    struct sub *sub = x->sub;

    ASSERT(!x->over);
    x->over = true;
    timer_cancel(sub->loop, &x->deadline);
    task_cancel(sub->loop, &x->run);
    task_cancel(sub->loop, &x->end_task);
    if (x->refreshing) {
        nodes_refresh_cancel(sub->nodes, &x->refresh);
        x->refreshing = false;
    }
    if (x->call != NULL) {
        if (x->result_code == MCP_OK) {
            node_call_detach(&x->call);
        } else {
            node_call_cancel(&x->call);
        }
    }
    account(x);
    note_change(x);
    exchange_list_remove(&sub->running, x);
    if (tell) {
        const struct exchange_result result = {
            .code = x->result_code,
            .text = slice_str(x->result_text),
            .node_body = x->result_from_node ? buf_slice(&x->collect) : SLICE(""),
        };

        x->sink->ended(x->owner, &result);
    }
    release_body(x);
    x->magic = 0;
    loop_bury(sub->loop, x, exchange_destroy);
}

static void set_result(struct exchange *x, int code, const char *text)
{
    x->result_code = code;
    slice_copy(slice_str(text), x->result_text, sizeof(x->result_text));
}

void exchange_fail(struct exchange *x, int code, const char *text)
{
    set_result(x, code == MCP_ENOMEM ? MCP_EINTERNAL : code, text);
    exchange_end(x, true);
}

void exchange_succeed(struct exchange *x)
{
    set_result(x, MCP_OK, "");
    exchange_end(x, true);
}

static void on_refused(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    exchange_end(x, true);
}

void exchange_refuse(struct exchange *x, int code, const char *text)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->refused = true;
    task_cancel(x->sub->loop, &x->run);
    set_result(x, code, text);
    task_defer(x->sub->loop, &x->end_task);
}

void exchange_abort(struct exchange *x, int code, const char *text)
{
    if (!x->refused) {
        exchange_refuse(x, code, text);
    }
}

void exchange_cancel(struct exchange **px)
{
    struct exchange *x = *px;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    *px = NULL;
    /* Who leaves right behind the stream's own end has got what there was. */
    set_result(x, x->saw_end ? MCP_OK : MCP_ECANCELLED, "");
    exchange_end(x, false);
}

static void on_deadline(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    exchange_fail(x, MCP_EDEADLINE_EXCEEDED, "the request's deadline passed");
}

/* Steps */

static enum step_result fail(struct exchange *x, int code, const char *text)
{
    exchange_fail(x, code, text);
    return STEP_DONE;
}

bool exchange_authorized(struct exchange *x)
{
    const struct config *c = x->sub->config;
    const struct config_key *key;

    if (c->key_count == 0 || x->key_name[0] != '\0') {
        return true;
    }
    key = x->has_key ? keys_match(c, buf_slice(&x->key)) : NULL;
    if (key == NULL) {
        return false;
    }
    slice_copy(slice_str(key->name), x->key_name, sizeof(x->key_name));
    buf_release(&x->key);
    return true;
}

void exchange_refuse_unauthorized(struct exchange *x)
{
    counter_add(COUNTER_UNAUTHORIZED, 1);
    exchange_refuse(x, MCP_EUNAUTHORIZED,
                    x->has_key ? "the API key is not valid" : "an API key is required");
}

static enum step_result step_admit(struct exchange *x)
{
    if (x->sub->draining) {
        return fail(x, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
    }
    if (!exchange_authorized(x)) {
        exchange_refuse_unauthorized(x);
        return STEP_WAIT;
    }
    trace_note(x, TRACE_ADMITTED);
    return STEP_NEXT;
}

/* A client that does not take its answers has no further ones made. */
static enum step_result step_room(struct exchange *x)
{
    x->waits_for_room = x->paused;
    if (x->paused) {
        trace_note(x, TRACE_WAITS_ROOM);
        return STEP_WAIT;
    }
    return STEP_NEXT;
}

static enum step_result step_local(struct exchange *x)
{
    return local_answers(x) ? STEP_DONE : STEP_NEXT;
}

static bool suits(const struct exchange *x, const struct node *n)
{
    if (n->kind == NODE_KIND_OLLAMA) {
        return true;
    }
    if (x->native || x->native_only) {
        return local_translates(x->op);
    }
    return x->relay_any_kind;
}

static bool has_model(const struct node *n, struct slice model)
{
    return model.len == 0 || catalogue_find(&n->catalogue, model) != NULL ||
           (n->kind == NODE_KIND_OLLAMA && model_name_is_cloud(model));
}

/* False: out of memory. */
static bool choose(struct exchange *x, enum choose_verdict *verdict, struct node **chosen)
{
    struct nodes *set = x->sub->nodes;
    size_t count = nodes_count(set);
    struct choose_node few[CANDIDATES_AT_HAND];
    struct choose_node *candidates = few;
    struct slice model = buf_slice(&x->model);
    bool needs_model = x->needs_model && model.len > 0;
    size_t i;

    if (count > CANDIDATES_AT_HAND) {
        candidates = block_get(count * sizeof(*candidates));
        if (candidates == NULL) {
            return false;
        }
    }
    for (i = 0; i < count; i++) {
        struct node *n = nodes_at(set, i);

        candidates[i] = (struct choose_node){
            .id = n->id,
            .up = n->state == NODE_UP,
            .suits = suits(x, n),
            .has_model = has_model(n, model),
        };
    }
    *verdict = choose_node(candidates, count, needs_model, x->prefer_node_id, &i);
    trace_candidates(x, candidates, count, needs_model, *verdict, i);
    *chosen = *verdict == CHOOSE_OK ? nodes_at(set, i) : NULL;
    if (candidates != few) {
        block_put(candidates, count * sizeof(*candidates));
    }
    return true;
}

static enum step_result fail_none_up(struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    char text[256];
    struct node *first = nodes_count(set) > 0 ? nodes_at(set, 0) : NULL;

    if (first != NULL && first->why_down[0] != '\0') {
        (void)snprintf(text, sizeof(text), "no node is up (%s: %.150s)", first->spec->name,
                       first->why_down);
        return fail(x, MCP_ENODE_UNAVAILABLE, text);
    }
    return fail(x, MCP_ENODE_UNAVAILABLE, "no node is up");
}

static enum step_result fail_unknown_model(struct exchange *x)
{
    struct slice model = slice_first(buf_slice(&x->model), 128);
    char text[256];

    /* Ollama's own words, which clients look for. */
    if (x->op == OP_EMBED || x->op == OP_EMBEDDINGS) {
        (void)snprintf(text, sizeof(text), "model \"%.*s\" not found, try pulling it first",
                       SLICE_ARG(model));
    } else {
        (void)snprintf(text, sizeof(text), "model '%.*s' not found", SLICE_ARG(model));
    }
    return fail(x, MCP_EUNKNOWN_MODEL, text);
}

static void on_refreshed(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->refreshing = false;
    x->refreshed = true;
    trace_note(x, TRACE_NODES_ASKED);
    run_steps(x);
}

static enum step_result wait_for_nodes(struct exchange *x)
{
    x->refreshing = true;
    trace_note(x, TRACE_WAITS_NODES);
    nodes_refresh(x->sub->nodes, &x->refresh, on_refreshed, x);
    return STEP_WAIT;
}

static enum step_result step_choose(struct exchange *x)
{
    enum choose_verdict verdict;
    struct node *n;

    if (!choose(x, &verdict, &n)) {
        return fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    }
    switch (verdict) {
    case CHOOSE_NONE_UP:
        if (x->refreshed || nodes_all_polled(x->sub->nodes)) {
            return fail_none_up(x);
        }
        return wait_for_nodes(x); /* the gateway has just started */
    case CHOOSE_NONE_SUITS:
        return fail(x, MCP_EUNSUPPORTED_OP,
                    "no node supports this operation: it needs an Ollama node");
    case CHOOSE_UNKNOWN_MODEL:
        if (x->refreshed) {
            return fail_unknown_model(x);
        }
        /* The model may be new: the catalogues are read again before saying no. */
        return wait_for_nodes(x);
    case CHOOSE_OK:
        break;
    }
    x->node_id = n->id;
    slice_copy(slice_str(n->spec->name), x->node_name, sizeof(x->node_name));
    return STEP_NEXT;
}

static int send_relay(struct exchange *x, struct node *n, struct err *e)
{
    struct request_pieces pieces = {0};
    struct slice whole = buf_slice(&x->body);
    struct request_edits edits = {0};
    struct node_call_request r = {
        .method = x->method,
        .path = x->path,
        .headers = x->headers,
        .header_count = x->header_count,
        .has_body = whole.len > 0,
        .once = x->once,
        .upload = x->upload,
        .upload_length = x->upload_length,
        .is_head = x->is_head,
    };

    if (assemble_begin(x, n, &edits) < 0) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    if (x->body_is_json) {
        request_forward(&x->request, &edits, &pieces);
        r.pieces = pieces.pieces;
        r.piece_count = pieces.count;
    } else if (whole.len > 0) {
        r.pieces = &whole;
        r.piece_count = 1;
    }
    r.patient = x->answer == ANSWER_ASSEMBLED; /* its client waits for one answer */
    x->call = node_call_start(n, &r, &answer_ops, x, e);
    return x->call == NULL ? e->code : MCP_OK;
}

static int send_native(struct exchange *x, struct node *n, struct err *e)
{
    struct http_header headers[MADE_HEADERS_MAX];
    const struct op_info *op = op_info(x->op);
    struct request_pieces pieces = {0};
    const struct request_edits edits = {
        .model =
            buf_len(&x->inherited_model) > 0 ? buf_slice(&x->inherited_model) : (struct slice){0},
        .options = buf_len(&x->inherited_options) > 0 ? buf_slice(&x->inherited_options)
                                                      : (struct slice){0},
    };
    struct node_call_request r = {
        .method = slice_str(op->method),
        .path = slice_str(op->path),
        .headers = headers,
        .header_count = made_headers(x, headers),
        .once = op->once,
    };

    if (strcmp(op->method, "GET") != 0) {
        request_forward(&x->request, &edits, &pieces);
        r.has_body = true;
        r.pieces = pieces.pieces;
        r.piece_count = pieces.count;
    }
    x->answer = x->streams ? ANSWER_NATIVE_STREAM : ANSWER_NATIVE_WHOLE;
    x->call = node_call_start(n, &r, &answer_ops, x, e);
    return x->call == NULL ? e->code : MCP_OK;
}

/* The node's own spelling of the model's name, which is what it expects to read. */
static struct slice node_spelling(const struct exchange *x, const struct node *n)
{
    struct slice model = buf_slice(&x->model);
    const struct catalogue_model *m = catalogue_find(&n->catalogue, model);

    return m == NULL ? model : slice_of(m->name, m->name_len);
}

static int send_translated(struct exchange *x, struct node *n, struct err *e)
{
    struct http_header headers[MADE_HEADERS_MAX];
    const struct openai_ask ask = {
        .op = x->op,
        .request = &x->request,
        .model = buf_slice(&x->model),
        .node_model = node_spelling(x, n),
        .options = buf_slice(&x->inherited_options),
        .at = {.now_us = x->received_us, .wall_us = loop_wall_us(x->sub->loop)},
    };
    struct slice body;
    struct node_call_request r = {
        .method = SLICE("POST"),
        .headers = headers,
        .header_count = made_headers(x, headers),
        .has_body = true,
        .pieces = &body,
        .piece_count = 1,
    };
    int rv;

    if (!x->body_is_json) {
        return err_set(e, MCP_EBAD_REQUEST,
                       "a body with Content-Encoding cannot be translated for this node");
    }
    rv = openai_request(&x->openai, &ask, &x->openai_path, &x->openai_body, e);
    body = buf_slice(&x->openai_body);
    r.path = buf_slice(&x->openai_path);
    if (rv == OPENAI_ANSWERED) {
        local_give(x, &x->openai_body);
        return MCP_OK;
    }
    if (rv < 0) {
        return rv;
    }
    if (!exchange_account_body(x)) {
        return err_set(e, MCP_EQUEUE_FULL, BODY_MEMORY_FULL_TEXT);
    }
    x->answer = openai_call_streams(x->openai) ? ANSWER_OPENAI_STREAM : ANSWER_OPENAI_WHOLE;
    x->call = node_call_start(n, &r, &answer_ops, x, e);
    return x->call == NULL ? e->code : MCP_OK;
}

static enum step_result step_forward(struct exchange *x)
{
    struct node *n = nodes_by_id(x->sub->nodes, x->node_id);
    struct err e = {0};
    int rv = MCP_OK;

    if (x->sink->admitted != NULL) {
        x->sink->admitted(x->owner, x);
    }
    x->attempts++;
    if (n->kind == NODE_KIND_OPENAI && local_answers_for(x, n)) {
        return STEP_DONE;
    }
    if (n->kind == NODE_KIND_OPENAI && (x->native || x->native_only)) {
        rv = send_translated(x, n, &e);
    } else if (x->native) {
        rv = send_native(x, n, &e);
    } else {
        rv = send_relay(x, n, &e);
    }
    if (rv != MCP_OK) {
        return fail(x, rv, e.text);
    }
    if (x->over) {
        return STEP_DONE;
    }
    trace_sent(x);
    if (x->paused && x->call != NULL) {
        node_call_pause(x->call);
    }
    if (x->upload && x->sink->drained != NULL) {
        x->sink->drained(x->owner);
    }
    return STEP_NEXT;
}

/* The way of a request; what follows is up to the node (answer.c). */
static const struct step steps[] = {
    {"admit", step_admit},   {"room", step_room},       {"local", step_local},
    {"choose", step_choose}, {"forward", step_forward},
};

enum { STEP_CHOOSE = 3, STEP_COUNT = sizeof(steps) / sizeof(steps[0]) };

static void run_steps(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    while (x->step < STEP_COUNT) {
        enum step_result result = steps[x->step].run(x);

        if (result != STEP_NEXT) {
            return;
        }
        x->step++;
    }
}

void exchange_start(struct exchange *x)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    ASSERT(!x->started);
    x->started = true;
    trace_note(x, TRACE_COMPLETE);
    if (x->has_deadline) {
        timer_arm(x->sub->loop, &x->deadline, x->deadline_ms);
    }
    task_defer(x->sub->loop, &x->run);
}

bool exchange_try_again(struct exchange *x)
{
    if (x->attempts >= ATTEMPTS_MAX || x->upload) {
        return false;
    }
    trace_note(x, TRACE_UNREACHED);
    x->node_id = 0;
    x->step = STEP_CHOOSE;
    openai_call_free(&x->openai);
    openai_assembly_free(&x->assembly);
    buf_release(&x->openai_path);
    buf_release(&x->openai_body);
    task_defer(x->sub->loop, &x->run);
    return true;
}

bool exchange_body_ready(const struct exchange *x)
{
    return x->call != NULL;
}

void exchange_body(struct exchange *x, struct slice bytes)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->bytes_in += bytes.len;
    if (x->call != NULL) {
        (void)node_call_body(x->call, bytes); /* a failure comes as `failed` */
    }
}

void exchange_body_end(struct exchange *x)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    if (x->call != NULL) {
        node_call_body_end(x->call);
    }
}

bool exchange_body_over_high(const struct exchange *x)
{
    return x->call != NULL && node_call_over_high(x->call);
}

void exchange_pause(struct exchange *x)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    if (!x->paused) {
        x->paused = true;
        counter_add(COUNTER_BACKPRESSURE_PAUSES, 1);
        trace_pause(x);
        if (x->call != NULL) {
            node_call_pause(x->call);
        }
    }
}

void exchange_resume(struct exchange *x)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    if (x->paused) {
        x->paused = false;
        if (x->call != NULL) {
            node_call_resume(x->call);
        } else if (x->waits_for_room) {
            x->waits_for_room = false;
            task_defer(x->sub->loop, &x->run);
        }
    }
}

uint64_t exchange_read_us(const struct exchange *x)
{
    return x->call == NULL ? loop_now_us(x->sub->loop) : node_call_read_us(x->call);
}

void exchange_note_bytes(struct exchange *x, size_t bytes)
{
    if (x->bytes_out == 0) {
        release_body(x); /* it was kept for a retry, which is over */
    }
    x->bytes_out += bytes;
}

void exchange_note_part(struct exchange *x, size_t bytes)
{
    if (x->first_part_us == 0) {
        x->first_part_us = exchange_read_us(x);
        histogram_record(HISTOGRAM_FIRST_PART_US, x->first_part_us - x->received_us);
        trace_note(x, TRACE_FIRST_PART);
    }
    exchange_note_bytes(x, bytes);
    x->parts++;
    note_change(x);
    counter_add(COUNTER_PARTS, 1);
}
