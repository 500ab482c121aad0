/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/assemble.h"

#include "base/counter.h"
#include "gateway/answer.h"
#include "gateway/exchange.h"
#include "http/parse/sse.h"
#include "node/openai_assemble.h"

/* As of an answer put together for Ollama's API. */
#define ASSEMBLED_MAX_BYTES ((size_t)64 << 20)

static enum openai_assembled kind_of(const struct exchange *x)
{
    switch (x->stream_end) {
    case STREAM_END_SSE_MESSAGE:
        return OPENAI_ASSEMBLED_MESSAGES;
    case STREAM_END_SSE_RESPONSE:
        return OPENAI_ASSEMBLED_RESPONSES;
    default:
        return x->op == OP_CHAT ? OPENAI_ASSEMBLED_CHAT : OPENAI_ASSEMBLED_COMPLETIONS;
    }
}

/* With it a stream of llama.cpp's server goes on without its client, to be taken up again. */
static bool wants_lasting_stream(const struct exchange *x)
{
    for (size_t i = 0; i < x->header_count; i++) {
        if (slice_eq_case(x->headers[i].name, SLICE("x-conversation-id"))) {
            return true;
        }
    }
    return false;
}

/* In /v1 nothing streams by itself; `stream` is a bool or null, else the request was refused. */
static bool suits(const struct exchange *x, const struct node *n)
{
    return n->kind == NODE_KIND_OPENAI && n->catalogue.is_llamacpp && x->relay_any_kind &&
           x->body_is_json && x->stream_end != STREAM_END_FRAMING &&
           !slice_eq(request_value(&x->request, REQUEST_STREAM), SLICE("true")) &&
           !wants_lasting_stream(x) && openai_assembles(kind_of(x), buf_slice(&x->body));
}

int assemble_begin(struct exchange *x, const struct node *n, struct request_edits *edits)
{
    size_t max_bytes =
        x->max_part_bytes < ASSEMBLED_MAX_BYTES ? x->max_part_bytes : ASSEMBLED_MAX_BYTES;

    x->answer = ANSWER_RELAY;
    if (!suits(x, n)) {
        return MCP_OK;
    }
    x->assembly = openai_assembly_new(kind_of(x), max_bytes);
    if (x->assembly == NULL) {
        return MCP_ENOMEM;
    }
    x->answer = ANSWER_ASSEMBLED;
    edits->stream = SLICE("true");
    if (x->stream_end == STREAM_END_SSE_DONE) {
        edits->stream_options = SLICE("{\"include_usage\":true}");
    }
    return MCP_OK;
}

bool assemble_takes(const struct http_head *head)
{
    return head->status < 400 && http_head_has_type(head, SLICE("text/event-stream"));
}

static bool is_of_streams(struct slice name)
{
    return slice_eq_case(name, SLICE("content-type")) ||
           slice_eq_case(name, SLICE("content-length")) ||
           slice_eq_case(name, SLICE("x-accel-buffering"));
}

/* What was put together, as if the node had sent it: its head, but for what makes it a stream. */
static void give(struct exchange *x, unsigned status)
{
    struct http_header headers[HTTP_HEADERS_MAX];
    struct http_head head = *x->held_head;
    struct slice body = buf_slice(&x->collect);

    head.headers = headers;
    head.header_count = 0;
    for (size_t i = 0; i < x->held_head->header_count; i++) {
        if (!is_of_streams(x->held_head->headers[i].name)) {
            headers[head.header_count++] = x->held_head->headers[i];
        }
    }
    headers[head.header_count++] = (struct http_header){
        SLICE("Content-Type"), SLICE("application/json; charset=utf-8")}; /* one went out above */
    head.status = status;
    head.chunked = false;
    head.has_length = true;
    head.content_length = body.len;
    x->held_head = NULL;
    x->node_status = status;
    x->sink->head(x->owner, &head);
    if (!x->over) {
        exchange_note_part(x, body.len);
        x->sink->bytes(x->owner, body);
    }
    if (!x->over) {
        exchange_succeed(x);
    }
}

void assemble_block(struct exchange *x, struct slice block)
{
    struct sse_event ev;
    unsigned status = 200;
    int result;

    buf_clear(&x->scratch);
    buf_clear(&x->collect);
    if (!sse_event_read(block, &x->scratch, &ev)) {
        exchange_fail(x, MCP_ENOMEM, "out of memory");
        return;
    }
    result = ev.has_data ? openai_assembly_event(x->assembly, ev.data, &x->collect, &status)
                         : OPENAI_NOTHING;
    switch (result) {
    case OPENAI_NOTHING:
        return;
    case OPENAI_LAST:
        give(x, x->node_status);
        return;
    case OPENAI_ERROR:
        x->saw_error = true;
        give(x, status);
        return;
    case MCP_ETOO_LARGE:
        exchange_fail(x, result, "the node's answer is too large");
        return;
    case MCP_ENOMEM:
        exchange_fail(x, result, "out of memory");
        return;
    default:
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        exchange_fail(x, result, "the node's answer cannot be read");
        return;
    }
}
