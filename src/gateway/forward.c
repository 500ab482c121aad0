/* SPDX-License-Identifier: Apache-2.0 */
/* The step that sends a request to its node: as the client wrote it, as ours to Ollama's API, or
 * translated for a node of another kind. */
#include <string.h>

#include "base/counter.h"
#include "gateway/answer.h"
#include "gateway/assemble.h"
#include "gateway/ignored.h"
#include "gateway/local.h"
#include "gateway/made_headers.h"
#include "gateway/pins.h"
#include "gateway/steps.h"
#include "gateway/sub.h"
#include "http/parse/url.h"

/* What is spliced in as the model; NULL: what is there stays. */
static struct slice model_edit(const struct exchange *x)
{
    if (exchange_routed_model(x).len > 0) {
        return exchange_routed_model(x);
    }
    return buf_len(&x->inherited_model) > 0 ? buf_slice(&x->inherited_model) : (struct slice){0};
}

/* MCP_OK where it may go on. */
static int note_ignored(struct exchange *x, const struct node *n, struct err *e)
{
    struct exchange_extra *extra;
    struct buf names = {0};
    bool ok;

    if (n->kind != NODE_KIND_OLLAMA || !x->relay_any_kind || !x->body_is_json ||
        (x->inner && !x->may_share)) {
        return MCP_OK;
    }
    ok = ignored_names(url_target_path(x->path), buf_slice(&x->body), &names);
    if (ok && buf_len(&names) == 0) {
        return MCP_OK; /* nearly always */
    }
    extra = ok ? exchange_extra(x) : NULL;
    if (extra == NULL) {
        buf_fini(&names);
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    buf_move(&extra->ignored, &names);
    if (x->sub->config->strict) {
        counter_add(COUNTER_IGNORED_REFUSED, 1);
        return err_set(e, MCP_EBAD_REQUEST, "an Ollama would ignore: %.*s",
                       SLICE_ARG(slice_first(buf_slice(&extra->ignored), 200)));
    }
    counter_add(COUNTER_IGNORED, 1);
    return MCP_OK;
}

static int send_relay(struct exchange *x, struct node *n, struct err *e)
{
    struct request_pieces pieces = {0};
    struct slice whole = buf_slice(&x->body);
    struct request_edits edits = {.model = model_edit(x)};
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

    if (note_ignored(x, n, e) != MCP_OK) {
        return e->code;
    }
    if (assemble_begin(x, n, &edits) < 0 || pins_apply(x, n, &edits) < 0) {
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
    struct request_edits edits = {
        .model = model_edit(x),
        .options = buf_len(&x->inherited_options) > 0 ? buf_slice(&x->inherited_options)
                                                      : (struct slice){0},
    };
    struct node_call_request r = {
        .method = slice_str(op->method),
        .path = slice_str(op->path),
        .headers = headers,
        .header_count = made_headers(x, headers),
        .once = op->once,
        .reads_little = x->reads_little,
    };

    if (pins_apply(x, n, &edits) < 0) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
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
        .reads_little = x->reads_little,
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

enum step_result step_forward(struct exchange *x)
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
        return step_fail(x, rv, e.text);
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
