/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"
#include "base/counter.h"
#include "gateway/account.h"
#include "gateway/answer.h"
#include "gateway/batch.h"
#include "gateway/flight.h"
#include "gateway/keys.h"
#include "gateway/record.h"
#include "gateway/request_id.h"
#include "gateway/spread.h"
#include "gateway/steps.h"
#include "gateway/sub.h"

enum { ATTEMPTS_MAX = 3, PART_BYTES_MAX = 256 * 1024 * 1024 };

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
    task_init(&x->run, steps_run, x);
    task_init(&x->end_task, on_refused, x);
    timer_init(&x->deadline, on_deadline, x);
    exchange_list_push(&sub->running, x);
    counter_add(COUNTER_EXCHANGES_RUNNING, 1);
    return x;
}

struct exchange_extra *exchange_extra(struct exchange *x)
{
    if (x->extra == NULL) {
        x->extra = block_get_zeroed(sizeof(*x->extra));
    }
    return x->extra;
}

static void extra_free(struct exchange_extra *extra)
{
    buf_fini(&extra->asked_model);
    buf_fini(&extra->routed_model);
    buf_fini(&extra->pinned_options);
    buf_fini(&extra->ignored);
    buf_fini(&extra->idempotency_key);
    buf_fini(&extra->wished_nodes);
    buf_fini(&extra->node_names);
    block_put(extra, sizeof(*extra));
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
    if (x->extra != NULL) {
        extra_free(x->extra);
    }
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

/* Whoever is told of a new model may ask for it at once. `over`: nothing will change any more. */
static void note_change(struct exchange *x, bool over)
{
    struct node *n;

    switch (x->op) {
    case OP_PULL:
    case OP_CREATE:
    case OP_COPY:
    case OP_DELETE:
        n = nodes_by_id(x->sub->nodes, x->node_id);
        if (n != NULL) {
            (over ? node_read_soon : node_mark_changed)(n);
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
    turn_leave(x);
    batch_leave(x);
    flight_leave(x);
    spread_leave(x);
    note_change(x, true);
    exchange_list_remove(&sub->running, x);
    if (tell) {
        const struct exchange_result result = {
            .code = x->result_code,
            .text = slice_str(x->result_text),
            .node_body = x->result_from_node ? buf_slice(&x->collect) : SLICE(""),
            .retry_after_ms = x->turn.retry_after_us / 1000,
        };

        x->sink->ended(x->owner, &result);
    }
    account_end(x); /* with what the client was told */
    answer_give_back(x);
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

void exchange_start(struct exchange *x)
{
    OBJ_CHECK(x, EXCHANGE_MAGIC);
    ASSERT(!x->started);
    x->started = true;
    trace_note(x, TRACE_COMPLETE);
    record_begin(x);
    if (x->has_deadline) {
        timer_arm(x->sub->loop, &x->deadline, x->deadline_ms);
    }
    task_defer(x->sub->loop, &x->run);
}

void exchange_begin_anew(struct exchange *x)
{
    turn_leave(x);
    x->node_id = 0;
    x->node_status = 0;
    x->held_head = NULL;
    x->splitting = false;
    x->saw_error = false;
    steps_go_back(x);
    answer_give_back(x);
    answer_fini(x);
    openai_call_free(&x->openai);
    openai_assembly_free(&x->assembly);
    buf_release(&x->openai_path);
    buf_release(&x->openai_body);
    task_defer(x->sub->loop, &x->run);
}

bool exchange_try_again(struct exchange *x)
{
    if (x->attempts >= ATTEMPTS_MAX || x->upload) {
        return false;
    }
    trace_note(x, TRACE_UNREACHED);
    counter_add(COUNTER_TRIED_AGAIN, 1);
    turn_again(x);
    exchange_begin_anew(x);
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
        } else if (x->spread != NULL) {
            spread_resume(x);
        } else if (x->flight != NULL) {
            flight_resume(x);
        } else if (x->waits_for_room) {
            x->waits_for_room = false;
            task_defer(x->sub->loop, &x->run);
        }
    }
}

void exchange_read_little(struct exchange *x, bool little)
{
    if (x->reads_little != little) {
        x->reads_little = little;
        if (x->call != NULL) {
            node_call_read_little(x->call, little);
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
        if (x->turn.loads) {
            turn_started(x);
        }
    }
    exchange_note_bytes(x, bytes);
    x->parts++;
    note_change(x, false);
    counter_add(COUNTER_PARTS, 1);
}
