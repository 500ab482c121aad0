/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/route_step.h"

#include <string.h>

#include "base/counter.h"
#include "base/json_scan.h"
#include "codec/error_body.h"
#include "gateway/local.h"
#include "gateway/route_book.h"
#include "gateway/route_shadow.h"
#include "gateway/sub.h"

static const struct config_route *route_of(const struct exchange *x)
{
    return config_route_find(x->sub->config, exchange_asked_model(x));
}

/* --- the model -------------------------------------------------------------------------------- */

static uint64_t sticky_key(const struct exchange *x, enum config_sticky sticky)
{
    if (sticky == CONFIG_STICKY_REQUEST) {
        return model_route_key(slice_str(x->id));
    }
    if (sticky == CONFIG_STICKY_SESSION && x->session_hash != 0) {
        return model_route_key(slice_of(&x->session_hash, sizeof(x->session_hash)));
    }
    return model_route_key(slice_str(x->key_name[0] != '\0' ? x->key_name : x->client));
}

/* `model` is asked from now on. */
static bool ask_model(struct exchange *x, struct slice model)
{
    buf_clear(&x->model);
    buf_clear(&x->extra->routed_model);
    return buf_append(&x->model, model) && json_append_string(&x->extra->routed_model, model);
}

static void copy_to(const struct exchange *x, uint64_t route_id, size_t arm)
{
    struct buf model = {0};

    if (route_book_model(x->sub->routes, route_id, arm, &model)) {
        route_shadow_start(x, route_id, arm, buf_slice(&model));
    }
    buf_fini(&model);
}

static bool pick(struct exchange *x, const struct config_route *route)
{
    struct route_pick picked = {0};
    struct buf model = {0};
    bool ok = exchange_extra(x) != NULL &&
              route_book_pick(x->sub->routes, route->name, sticky_key(x, route->sticky),
                              model_route_key(slice_str(x->id)), &picked, &model);

    if (ok) {
        buf_move(&x->extra->asked_model, &x->model);
        ok = ask_model(x, buf_slice(&model));
    }
    buf_fini(&model);
    if (ok && op_is_inference(x->op)) {
        x->extra->route_id = picked.id;
        x->extra->route_arm = (uint8_t)picked.arm;
    }
    if (ok) {
        trace_number(x, TRACE_ROUTED, picked.arm);
    }
    if (ok && picked.shadow != MODEL_ROUTE_NO_ARM && op_is_inference(x->op)) {
        copy_to(x, picked.id, picked.shadow);
    }
    return ok;
}

static void describe_model(const struct config_route *route, struct buf *out)
{
    buf_append_str(out, "{\"id\":");
    json_append_string(out, slice_str(route->name));
    buf_append_str(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"mcpgate\"}");
}

/* The members that clients rely on; a route has no file. */
static void describe_tag(const struct config_route *route, struct buf *out)
{
    buf_append_str(out, "{\"name\":");
    json_append_string(out, slice_str(route->name));
    buf_append_str(out, ",\"model\":");
    json_append_string(out, slice_str(route->name));
    buf_append_str(out, ",\"modified_at\":\"1970-01-01T00:00:00Z\",\"size\":0,\"digest\":\"\","
                        "\"details\":{\"parent_model\":");
    json_append_string(out, slice_str(route->arms[0].model));
    buf_append_str(out, ",\"format\":\"\",\"family\":\"\",\"families\":null,"
                        "\"parameter_size\":\"\",\"quantization_level\":\"\"}}");
}

static bool is_listed(const struct exchange *x, const char *name)
{
    struct nodes *set = x->sub->nodes;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct node *n = nodes_at(set, i);

        if (n->state == NODE_UP && catalogue_find(&n->catalogue, slice_str(name)) != NULL) {
            return true;
        }
    }
    return false;
}

bool routes_append(const struct exchange *x, struct buf *list)
{
    const struct config *c = x->sub->config;
    struct slice whole = buf_slice(list);
    const char *end = whole.len == 0 ? NULL : memrchr(whole.ptr, ']', whole.len);
    struct buf out = {0};
    bool ok;

    if (end == NULL) {
        return true;
    }
    buf_append(&out, slice_of(whole.ptr, (size_t)(end - whole.ptr)));
    for (size_t i = 0; i < c->route_count; i++) {
        if (is_listed(x, c->routes[i].name)) {
            continue; /* it hides that model */
        }
        buf_append_str(
            &out, slice_eq(slice_skip(buf_slice(&out), buf_len(&out) - 1), SLICE("[")) ? "" : ",");
        (x->op == OP_LIST ? describe_tag : describe_model)(&c->routes[i], &out);
    }
    buf_append(&out, slice_of(end, whole.len - (size_t)(end - whole.ptr)));
    ok = !buf_failed(&out);
    buf_move(list, &out);
    buf_fini(&out);
    return ok;
}

/* GET /v1/models/ROUTE. */
static enum step_result describe(struct exchange *x, const struct config_route *route)
{
    struct buf answer = {0};

    describe_model(route, &answer); /* a failure is sticky and local_give sees it */
    local_give(x, &answer);
    buf_fini(&answer);
    return STEP_DONE;
}

enum step_result step_route(struct exchange *x)
{
    const struct config_route *route;

    if (x->sub->config->route_count == 0 || buf_len(&x->model) == 0 ||
        (x->inner && !x->may_share) ||
        !(op_is_inference(x->op) || x->op == OP_SHOW || x->retrieves)) {
        return STEP_NEXT;
    }
    route = config_route_find(x->sub->config, buf_slice(&x->model));
    if (route == NULL) {
        return STEP_NEXT;
    }
    if (x->retrieves) {
        return describe(x, route);
    }
    if (!x->body_is_json) {
        return step_fail(x, MCP_EBAD_REQUEST,
                         "a body that is not read as JSON cannot be sent to a route");
    }
    counter_add(COUNTER_ROUTED, 1);
    return pick(x, route) ? STEP_NEXT : step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
}

/* --- another one instead ---------------------------------------------------------------------- */

static enum counter_id counter_of(int code)
{
    switch (code) {
    case MCP_EUNKNOWN_MODEL:
        return COUNTER_FALLBACK_UNKNOWN_MODEL;
    case MCP_EQUEUE_FULL:
        return COUNTER_FALLBACK_QUEUE_FULL;
    case MCP_ETOO_LARGE:
        return COUNTER_FALLBACK_CONTEXT;
    default:
        return COUNTER_FALLBACK_NODE_UNAVAILABLE;
    }
}

/* Whether there is another model, and the request can still be sent to it. */
static bool has_next(const struct exchange *x)
{
    const struct config_route *route;

    if (exchange_asked_model(x).len == 0 || x->bytes_out > 0 || x->over || x->refused ||
        !x->body_is_json) {
        return false;
    }
    route = route_of(x);
    return route != NULL && x->extra->fallbacks < route->fallback_count;
}

/* What its arm did with this request, once. */
static void tell_arm(struct exchange *x, bool failed)
{
    uint64_t now_us = loop_clock_us(x->sub->loop);
    struct model_route_outcome o = {.failed = failed};

    if (x->streams && x->splitting && x->first_part_us > x->sent_us) {
        o.first_part_us = x->first_part_us - x->sent_us;
        o.last_part_us = now_us - x->sent_us;
        o.parts = x->parts;
    }
    route_book_ended(x->sub->routes, now_us, x->extra->route_id, x->extra->route_arm, &o);
    x->extra->route_id = 0;
}

/* `code`: MCP_ETOO_LARGE for more than the model's context. */
static bool fall_back(struct exchange *x, int code)
{
    const struct config_route *route;

    if (!has_next(x)) {
        return false;
    }
    route = route_of(x);
    if (x->extra->route_id != 0) {
        tell_arm(x, code != MCP_EQUEUE_FULL && code != MCP_ETOO_LARGE);
    }
    trace_number(x, TRACE_FALLS_BACK, x->extra->fallbacks);
    counter_add(counter_of(code), 1);
    if (!ask_model(x, slice_str(route->fallback[x->extra->fallbacks++]))) {
        return false; /* it stays the error that it was */
    }
    x->refreshed = false;
    exchange_begin_anew(x);
    return true;
}

bool route_falls_back(struct exchange *x, int code)
{
    if (code != MCP_EUNKNOWN_MODEL && code != MCP_ENODE_UNAVAILABLE && code != MCP_EQUEUE_FULL) {
        return false;
    }
    return fall_back(x, code);
}

bool route_wants_error(const struct exchange *x, unsigned status)
{
    return (status == 400 || status == 404 || status == 413 || status == 503) && has_next(x);
}

/* Ollama: "the input length exceeds the context length"; llama.cpp: "exceeds the available context
 * size", exceed_context_size_error; vLLM: "maximum context length is". */
static bool is_of_context(struct slice body)
{
    static const struct slice words[] = {SLICE("context length"), SLICE("context size"),
                                         SLICE("context window"), SLICE("context_length_exceeded")};

    for (size_t i = 0; body.len > 0 && i < sizeof(words) / sizeof(words[0]); i++) {
        if (memmem(body.ptr, body.len, words[i].ptr, words[i].len) != NULL) {
            return true;
        }
    }
    return false;
}

bool route_falls_back_from(struct exchange *x, unsigned status, struct slice body)
{
    if (!route_wants_error(x, status)) {
        return false;
    }
    if (status == 400 || status == 413) {
        return is_of_context(body) && fall_back(x, MCP_ETOO_LARGE);
    }
    return fall_back(x, error_code_from_status((int)status));
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Not what the client or the gateway did. */
static bool says_nothing(const struct exchange *x)
{
    switch (x->result_code) {
    case MCP_OK:
        return x->node_status >= 400 && x->node_status < 500 && x->node_status != 404;
    case MCP_EUPSTREAM_ERROR:
    case MCP_ESTREAM_INTERRUPTED:
    case MCP_ENODE_UNAVAILABLE:
    case MCP_EUNKNOWN_MODEL:
    case MCP_EDEADLINE_EXCEEDED:
        return false;
    default:
        return true;
    }
}

void route_note_end(struct exchange *x)
{
    if (x->extra != NULL && x->extra->route_id != 0 && !says_nothing(x)) {
        tell_arm(x, x->result_code != MCP_OK || x->node_status >= 400 || x->saw_error);
    }
}

struct slice route_event_model(const struct config *c, struct slice route, enum trace_kind kind,
                               uint64_t number)
{
    const struct config_route *r = config_route_find(c, route);

    if (r != NULL && kind == TRACE_ROUTED && number < r->arm_count) {
        return slice_str(r->arms[number].model);
    }
    if (r != NULL && kind == TRACE_FALLS_BACK && number < r->fallback_count) {
        return slice_str(r->fallback[number]);
    }
    return SLICE("a model that is gone");
}
