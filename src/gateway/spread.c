/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/spread.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "codec/error_body.h"
#include "gateway/inner.h"
#include "gateway/spread_answer.h"
#include "gateway/spread_plan.h"
#include "gateway/sub.h"

enum {
    SPREAD_MAGIC = 0x73707264,
    SPREAD_PATIENCE_MS = 1000, /* for what the nodes have now; a success is told then at last */
    PART_BYTES_MAX = 1024 * 1024,
    NAMES_BYTES_MAX = 1024
};

/* --- the calls -------------------------------------------------------------------------------- */

static void end(struct spread *s)
{
    struct exchange *x = s->exchange;

    task_cancel(x->sub->loop, &s->tell);
    if (spread_tell(s)) {
        spread_finish(s); /* and `s` is gone */
    }
}

static void on_refreshed(void *owner)
{
    struct spread *s = owner;

    OBJ_CHECK(s, SPREAD_MAGIC);
    s->refreshing = false;
    timer_cancel(s->exchange->sub->loop, &s->patience);
    end(s);
}

static void on_impatient(void *owner)
{
    struct spread *s = owner;

    OBJ_CHECK(s, SPREAD_MAGIC);
    s->refreshing = false;
    nodes_refresh_cancel(s->exchange->sub->nodes, &s->refresh);
    end(s);
}

static bool any_done(const struct spread *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->calls[i].code == MCP_OK) {
            return true;
        }
    }
    return false;
}

/* Whoever is told of a success may ask for the model at once. */
static void all_ended(struct spread *s)
{
    struct sub *sub = s->exchange->sub;

    if (!any_done(s)) {
        end(s);
        return;
    }
    s->refreshing = true;
    timer_arm(sub->loop, &s->patience, SPREAD_PATIENCE_MS);
    nodes_refresh(sub->nodes, &s->refresh, on_refreshed, s);
}

static void on_tell(void *owner)
{
    struct spread *s = owner;

    OBJ_CHECK(s, SPREAD_MAGIC);
    (void)spread_tell(s);
}

static void tell_soon(struct spread *s)
{
    task_defer(s->exchange->sub->loop, &s->tell);
}

static void on_part(void *owner, struct slice part, bool last)
{
    struct spread_call *c = owner;
    struct spread *s = c->spread;

    (void)last;
    /* Without memory: what follows tells more. */
    if (spread_merge_take(&s->merge, (size_t)(c - s->calls), part)) {
        tell_soon(s);
    }
}

/* The node's own words where it spoke. */
static void keep_error(struct spread_call *c, const struct exchange_result *r)
{
    buf_clear(&c->text);
    if (r->node_body.len == 0 || !error_text_from_node(r->node_body, &c->text)) {
        buf_clear(&c->text);
        (void)buf_append(&c->text, r->text); /* without memory: only who it was is said */
    }
}

static void on_ended(void *owner, const struct exchange_result *r)
{
    struct spread_call *c = owner;
    struct spread *s = c->spread;

    OBJ_CHECK(s, SPREAD_MAGIC);
    c->status = c->run->node_status;
    c->run = NULL;
    c->code = r->code;
    if (r->code != MCP_OK) {
        keep_error(c, r);
    }
    counter_add(r->code == MCP_OK ? COUNTER_SPREAD_CALLS : COUNTER_SPREAD_CALLS_FAILED, 1);
    trace_number(s->exchange, r->code == MCP_OK ? TRACE_SPREAD_DONE : TRACE_SPREAD_FAILED,
                 c->node_id);
    spread_merge_ended(&s->merge, (size_t)(c - s->calls), r->code == MCP_OK);
    tell_soon(s);
    if (--s->left == 0) {
        all_ended(s);
    }
}

static const struct exchange_sink call_sink = {.part = on_part, .ended = on_ended};

/* The client's body, as its own node would get it. */
static bool write_body(const struct exchange *from, struct buf *body)
{
    const struct request_edits none = {.model = {NULL, 0}};
    struct request_pieces pieces;

    request_forward(&from->request, &none, &pieces);
    for (size_t i = 0; i < pieces.count; i++) {
        (void)buf_append(body, pieces.pieces[i]); /* a failure is sticky */
    }
    return !buf_failed(body);
}

static bool fill(struct exchange *x, const struct exchange *from, uint64_t node_id)
{
    x->native = true;
    x->op = from->op;
    x->streams = from->streams;
    x->once = op_info(from->op)->once;
    x->max_part_bytes = PART_BYTES_MAX;
    if (exchange_extra(x) == NULL || !write_body(from, &x->body) ||
        !buf_append(&x->model, buf_slice(&from->model)) || !exchange_account_body(x)) {
        return false;
    }
    x->extra->pinned_node_id = node_id;
    x->bytes_in = buf_len(&x->body);
    x->body_is_json =
        request_read(&x->request, buf_slice(&x->body), REQUEST_FROM_HTTP, NULL) == MCP_OK;
    return x->body_is_json;
}

/* The node's; `s` has room for it. False: out of memory. */
static bool add_call(struct spread *s, const struct node *n)
{
    struct spread_call *c = &s->calls[s->count];

    *c = (struct spread_call){.spread = s, .node_id = n->id};
    slice_copy(slice_str(n->spec->name), c->node_name, sizeof(c->node_name));
    c->run = inner_new(s->exchange->sub, &call_sink, c);
    if (c->run == NULL) {
        return false;
    }
    s->count++;
    s->left++;
    return fill(c->run, s->exchange, n->id);
}

/* --- begin and end ---------------------------------------------------------------------------- */

static void spread_destroy(void *ptr)
{
    struct spread *s = ptr;

    for (size_t i = 0; i < s->count; i++) {
        buf_fini(&s->calls[i].text);
    }
    spread_merge_fini(&s->merge);
    free(s);
}

void spread_leave(struct exchange *x)
{
    struct spread *s = x->spread;

    if (s == NULL) {
        return;
    }
    OBJ_CHECK(s, SPREAD_MAGIC);
    x->spread = NULL;
    task_cancel(x->sub->loop, &s->tell);
    timer_cancel(x->sub->loop, &s->patience);
    if (s->refreshing) {
        nodes_refresh_cancel(x->sub->nodes, &s->refresh);
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->calls[i].run != NULL) {
            exchange_cancel(&s->calls[i].run);
            counter_add(COUNTER_SPREAD_CALLS_CANCELLED, 1);
        }
    }
    s->magic = 0;
    loop_bury(x->sub->loop, s, spread_destroy); /* it may be its own callback that ends it */
}

void spread_resume(struct exchange *x)
{
    tell_soon(x->spread);
}

/* "a,b" for people; what is too long is cut. */
static bool note_names(struct exchange *x, const struct spread *s)
{
    struct buf *names = &x->extra->node_names;

    buf_clear(names);
    for (size_t i = 0; i < s->count && buf_len(names) < NAMES_BYTES_MAX; i++) {
        (void)buf_append_str(names, i == 0 ? "" : ",");
        (void)buf_append_str(names, s->calls[i].node_name);
    }
    slice_copy(buf_slice(names), x->node_name, sizeof(x->node_name));
    return !buf_failed(names);
}

bool spread_begin(struct exchange *x, const struct spread_node *planned, size_t chosen)
{
    struct nodes *set = x->sub->nodes;
    struct spread *s = calloc(1, sizeof(*s) + chosen * sizeof(s->calls[0]));

    if (s == NULL) {
        return false;
    }
    s->magic = SPREAD_MAGIC;
    s->exchange = x;
    x->spread = s;
    task_init(&s->tell, on_tell, s);
    timer_init(&s->patience, on_impatient, s);
    if (!spread_merge_init(&s->merge, chosen)) {
        return false;
    }
    for (size_t i = 0; i < nodes_count(set); i++) {
        if (planned[i].chosen && !add_call(s, nodes_at(set, i))) {
            return false;
        }
    }
    if (!note_names(x, s)) {
        return false;
    }
    counter_add(COUNTER_SPREADS, 1);
    if (x->sink->admitted != NULL) {
        x->sink->admitted(x->owner, x);
    }
    x->attempts++;
    for (size_t i = 0; !x->over && i < s->count;
         i++) { /* over: the client has left on hearing it */
        trace_number(x, TRACE_SPREAD_SENT, s->calls[i].node_id);
        exchange_start(s->calls[i].run);
    }
    return true;
}
