/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "codec/error_body.h"
#include "codec/part.h"
#include "gateway/assemble.h"
#include "gateway/exchange.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"
#include "http/parse/sse.h"

enum {
    NODE_ERROR_BYTES_MAX = 1024 * 1024,
    LINE_END_BYTES_MAX = 2,
    COLLECT_FREE_BYTES = 256 * 1024, /* of an answer in one piece, that count against nothing */
};

void answer_fini(struct exchange *x)
{
    splitter_fini(&x->splitter);
    buf_fini(&x->collect);
    buf_fini(&x->scratch);
}

void answer_give_back(struct exchange *x)
{
    if (x->collect_held_bytes > 0) {
        body_memory_give(x->sub->bodies, x->collect_held_bytes);
        x->collect_held_bytes = 0;
    }
}

static void start_splitting(struct exchange *x, enum split_kind kind)
{
    /* A line's end is no part of the part. */
    splitter_init(&x->splitter, kind, x->max_part_bytes + LINE_END_BYTES_MAX);
    x->splitting = true;
}

static void start_collecting(struct exchange *x, size_t max_bytes)
{
    buf_init(&x->collect, max_bytes);
}

/* The part with the node's numbers, or all of an answer in one piece. */
static void note_last_part(struct exchange *x, struct slice part)
{
    trace_last_part(x, part);
    turn_last_part(x, part);
}

static void begin_relay(struct exchange *x, const struct http_head *head)
{
    /* Held until something follows, so that a node that dies first can still be answered for with a
     * status. */
    x->held_head = head;
    if (route_wants_error(x, head->status) && head->has_length &&
        head->content_length <= NODE_ERROR_BYTES_MAX) {
        x->answer = ANSWER_HELD_ERROR;
        start_collecting(x, NODE_ERROR_BYTES_MAX);
    } else if (http_head_has_type(head, SLICE("application/x-ndjson"))) {
        start_splitting(x, SPLIT_NDJSON);
    } else if (http_head_has_type(head, SLICE("text/event-stream"))) {
        start_splitting(x, SPLIT_SSE);
    }
}

static void begin_parts(struct exchange *x, const struct http_head *head)
{
    if (head->status >= 400) {
        x->answer = ANSWER_NODE_ERROR;
        start_collecting(x, NODE_ERROR_BYTES_MAX);
        return;
    }
    switch ((enum answer_mode)x->answer) {
    case ANSWER_NATIVE_STREAM:
        /* Loading and unloading answer one plain object, whatever `stream` says. */
        if (http_head_has_type(head, SLICE("application/x-ndjson"))) {
            start_splitting(x, SPLIT_NDJSON);
        } else {
            x->answer = ANSWER_NATIVE_WHOLE;
            start_collecting(x, x->max_part_bytes);
        }
        break;
    case ANSWER_OPENAI_STREAM:
        /* Some such nodes know no streams. */
        if (!http_head_has_type(head, SLICE("application/json"))) {
            start_splitting(x, SPLIT_SSE);
        } else {
            x->answer = ANSWER_OPENAI_WHOLE;
            start_collecting(x, x->max_part_bytes);
        }
        break;
    default:
        start_collecting(x, x->max_part_bytes);
        break;
    }
}

static void on_head(void *owner, const struct http_head *head)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->node_status = head->status;
    trace_note(x, TRACE_HEAD);
    if (x->answer == ANSWER_ASSEMBLED && !assemble_takes(head)) {
        x->answer = ANSWER_RELAY;
    }
    if (x->answer == ANSWER_RELAY || x->answer == ANSWER_ASSEMBLED) {
        begin_relay(x, head);
    } else {
        begin_parts(x, head);
    }
}

static void release_head(struct exchange *x)
{
    if (x->held_head != NULL) {
        const struct http_head *head = x->held_head;

        x->held_head = NULL;
        x->sink->head(x->owner, head);
    }
}

static bool event_is_error(struct slice data, struct slice event)
{
    struct json_member m;

    if (slice_eq(event, SLICE("error")) || slice_eq(event, SLICE("response.failed"))) {
        return true;
    }
    return memmem(data.ptr, data.len, "\"error\"", 7) != NULL &&
           json_find(data, SLICE("error"), &m) == JSON_OK && m.kind != JSON_NULL &&
           slice_starts(data, SLICE("{"));
}

static bool event_is_last(const struct exchange *x, const struct sse_event *ev)
{
    switch (x->stream_end) {
    case STREAM_END_SSE_DONE:
        return slice_eq(ev->data, SLICE("[DONE]"));
    case STREAM_END_SSE_MESSAGE:
        return slice_eq(ev->event, SLICE("message_stop"));
    case STREAM_END_SSE_RESPONSE:
        return slice_eq(ev->event, SLICE("response.completed")) ||
               slice_eq(ev->event, SLICE("response.incomplete")) ||
               slice_eq(ev->event, SLICE("response.failed"));
    default:
        return false;
    }
}

/* Notes in x whether a relayed part is the end of the stream, or an error. `says`: whether it is
 * more than an empty line or a comment that keeps the connection alive. */
static bool watch_part(struct exchange *x, struct slice part, bool *says)
{
    struct sse_event ev;

    if (x->splitter.kind == SPLIT_NDJSON) {
        enum part_kind kind = part_classify(part_trim(part));

        *says = part_trim(part).len > 0;
        if (kind == PART_LAST && x->stream_end == STREAM_END_DONE) {
            x->saw_end = true;
            note_last_part(x, part);
        }
        x->saw_error = x->saw_error || kind == PART_ERROR;
        return true;
    }
    buf_clear(&x->scratch);
    if (!sse_event_read(part, &x->scratch, &ev)) {
        return false;
    }
    *says = ev.has_data;
    x->saw_end = x->saw_end || event_is_last(x, &ev);
    x->saw_error = x->saw_error || (ev.has_data && event_is_error(ev.data, ev.event));
    return true;
}

static void relay_part(struct exchange *x, struct slice part)
{
    bool says;

    if (!watch_part(x, part, &says)) {
        exchange_fail(x, MCP_ENOMEM, "out of memory");
        return;
    }
    release_head(x);
    if (!x->over) {
        if (says) {
            exchange_note_part(x, part.len);
        } else {
            exchange_note_bytes(x, part.len);
        }
        x->sink->bytes(x->owner, part);
    }
}

/* One object for the client; with `last` the exchange ends well. */
static void give_part(struct exchange *x, struct slice part, bool last)
{
    if (part.len > x->max_part_bytes) {
        exchange_fail(x, MCP_ETOO_LARGE, "a part of the node's answer is too large");
        return;
    }
    exchange_note_part(x, part.len);
    x->sink->part(x->owner, part, last);
    if (last && !x->over) {
        exchange_succeed(x);
    }
}

static const char ended_early[] = "the node ended its stream without saying so";

/* `said` is the node's error object. */
static void fail_as_node_said(struct exchange *x, struct slice said)
{
    struct buf copy = {0}; /* it may stand in `collect` */

    if (!buf_append(&copy, said)) {
        exchange_fail(x, MCP_ENOMEM, "out of memory");
        return;
    }
    buf_move(&x->collect, &copy);
    x->result_from_node = true;
    exchange_fail(x, MCP_EUPSTREAM_ERROR, "the node reported an error");
}

static void native_line(struct exchange *x, struct slice part)
{
    struct slice line = part_trim(part);
    enum part_kind kind = part_classify(line);
    bool last = kind == PART_LAST && x->stream_end == STREAM_END_DONE;

    if (line.len == 0) {
        return;
    }
    if (kind == PART_ERROR) {
        fail_as_node_said(x, line);
        return;
    }
    if (kind == PART_INVALID) {
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        exchange_fail(x, MCP_EUPSTREAM_ERROR, "the node's stream is not JSON");
        return;
    }
    if (last) {
        note_last_part(x, line);
    }
    give_part(x, line, last);
}

/* What a translation gave: hand it on. */
static void translated(struct exchange *x, int result)
{
    struct slice out = buf_slice(&x->collect);

    switch (result) {
    case OPENAI_NOTHING:
        return;
    case OPENAI_PART:
    case OPENAI_LAST:
        give_part(x, out, result == OPENAI_LAST);
        return;
    case OPENAI_ERROR: {
        char text[512];

        (void)snprintf(text, sizeof(text), "%.*s", SLICE_ARG(slice_first(out, sizeof(text) - 1)));
        x->text_is_nodes = true;
        exchange_fail(x, MCP_EUPSTREAM_ERROR, text);
        return;
    }
    default:
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        exchange_fail(x, result,
                      result == MCP_ENOMEM ? "out of memory" : "the node's answer cannot be read");
        return;
    }
}

static struct openai_clock clock_of(const struct exchange *x)
{
    const struct loop *loop = x->sub->loop;

    return (struct openai_clock){.now_us = loop_now_us(loop), .wall_us = loop_wall_us(loop)};
}

static void openai_block(struct exchange *x, struct slice block)
{
    struct sse_event ev;

    buf_clear(&x->scratch);
    buf_clear(&x->collect);
    if (!sse_event_read(block, &x->scratch, &ev)) {
        exchange_fail(x, MCP_ENOMEM, "out of memory");
    } else if (ev.has_data) {
        translated(x, openai_event(x->openai, ev.data, clock_of(x), &x->collect));
    }
}

static void split_part(struct exchange *x, struct slice part)
{
    switch ((enum answer_mode)x->answer) {
    case ANSWER_RELAY:
        relay_part(x, part);
        break;
    case ANSWER_OPENAI_STREAM:
        openai_block(x, part);
        break;
    case ANSWER_ASSEMBLED:
        assemble_block(x, part);
        break;
    default:
        native_line(x, part);
        break;
    }
}

static void split_body(struct exchange *x, struct slice bytes)
{
    while (bytes.len > 0 && !x->over) {
        struct slice part;
        ptrdiff_t used = splitter_feed(&x->splitter, bytes, &part);

        if (used < 0) {
            exchange_fail(x, (int)used,
                          used == MCP_ETOO_LARGE ? "a part of the node's answer is too large"
                                                 : "out of memory");
            return;
        }
        bytes = slice_skip(bytes, (size_t)used);
        if (part.ptr != NULL) {
            split_part(x, part);
        }
    }
}

/* What goes in one piece is collected first, whatever credit there is for it. So that many of them
 * cannot take all memory, what is large is taken from that for bodies. */
static bool account_collected(struct exchange *x)
{
    size_t cap = x->collect.cap;

    if (cap <= COLLECT_FREE_BYTES || cap <= x->collect_held_bytes) {
        return true;
    }
    if (!body_memory_take(x->sub->bodies, cap - x->collect_held_bytes)) {
        return false;
    }
    x->collect_held_bytes = cap;
    return true;
}

static void collect(struct exchange *x, struct slice bytes)
{
    if (!buf_append(&x->collect, bytes)) {
        if (x->answer != ANSWER_NODE_ERROR) { /* of that the beginning will do */
            exchange_fail(x, MCP_ETOO_LARGE, "the node's answer is too large for one frame");
        }
    } else if (!account_collected(x)) {
        exchange_fail(x, MCP_EQUEUE_FULL, "the memory for requests and large answers is used up");
    }
}

static void on_body(void *owner, struct slice bytes)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    if (x->splitting) {
        split_body(x, bytes);
    } else if (x->answer == ANSWER_RELAY) {
        note_last_part(x, bytes); /* mostly the only one */
        release_head(x);
        if (!x->over) {
            exchange_note_part(x, bytes.len);
            x->sink->bytes(x->owner, bytes);
        }
    } else {
        collect(x, bytes);
    }
}

static bool is_interrupted(const struct exchange *x)
{
    return x->splitting && x->node_status < 400 && x->stream_end != STREAM_END_FRAMING &&
           !x->saw_end && !x->saw_error;
}

static void end_relay(struct exchange *x)
{
    struct slice rest = x->splitting ? splitter_rest(&x->splitter) : SLICE("");

    if (rest.len > 0) {
        relay_part(x, rest);
    }
    if (x->over) {
        return;
    }
    release_head(x);
    if (!is_interrupted(x)) {
        exchange_succeed(x);
        return;
    }
    if (rest.len > 0) {
        /* The error that follows is a part of its own. */
        x->sink->bytes(x->owner, x->splitter.kind == SPLIT_SSE ? SLICE("\n\n") : SLICE("\n"));
    }
    exchange_fail(x, MCP_ESTREAM_INTERRUPTED, ended_early);
}

/* A stream came to its end and no part was the last. */
static void end_native_stream(struct exchange *x)
{
    if (x->stream_end == STREAM_END_FRAMING) {
        x->sink->part(x->owner, SLICE("{\"done\":true}"), true);
        exchange_succeed(x);
    } else {
        exchange_fail(x, MCP_ESTREAM_INTERRUPTED, ended_early);
    }
}

static void end_native_lines(struct exchange *x)
{
    struct slice rest = splitter_rest(&x->splitter);

    /* Without its newline it may be half an object, which can end with a brace too. */
    if (part_classify_whole(rest) != PART_INVALID) {
        native_line(x, rest);
    }
    if (!x->over) {
        end_native_stream(x);
    }
}

static void end_native_whole(struct exchange *x)
{
    struct slice body = part_trim(buf_slice(&x->collect));
    enum part_kind kind;

    if (body.len == 0) {
        body = SLICE("{}");
    }
    kind = part_classify_whole(body);
    if (kind == PART_INVALID) {
        counter_add(COUNTER_NODE_BAD_ANSWER, 1);
        exchange_fail(x, MCP_EUPSTREAM_ERROR, "the node's answer is not a JSON object");
        return;
    }
    if (kind == PART_ERROR) {
        fail_as_node_said(x, body);
        return;
    }
    note_last_part(x, body);
    /* Who asked for a stream waits for its end. */
    give_part(x, body, !x->streams || kind == PART_LAST);
    if (!x->over) {
        end_native_stream(x);
    }
}

static void end_openai_whole(struct exchange *x)
{
    struct buf body = {0};
    int result;

    buf_move(&body, &x->collect);
    result = openai_whole(x->openai, buf_slice(&body), clock_of(x), &x->collect);
    buf_fini(&body);
    translated(x, result);
}

/* A node's error that was held: another model is asked, or it is the answer. */
static void end_held(struct exchange *x)
{
    if (route_falls_back_from(x, x->node_status, buf_slice(&x->collect))) {
        return;
    }
    release_head(x);
    if (!x->over && buf_len(&x->collect) > 0) {
        exchange_note_part(x, buf_len(&x->collect));
        x->sink->bytes(x->owner, buf_slice(&x->collect));
    }
    if (!x->over) {
        exchange_succeed(x);
    }
}

static void on_end(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->call = NULL;
    switch ((enum answer_mode)x->answer) {
    case ANSWER_RELAY:
        end_relay(x);
        break;
    case ANSWER_HELD_ERROR:
        end_held(x);
        break;
    case ANSWER_ASSEMBLED:
        /* Half an event is none. Nothing went out: it can still be an error of its own. */
        exchange_fail(x, MCP_EUPSTREAM_ERROR, ended_early);
        break;
    case ANSWER_NATIVE_STREAM:
        end_native_lines(x);
        break;
    case ANSWER_NATIVE_WHOLE:
        end_native_whole(x);
        break;
    case ANSWER_OPENAI_WHOLE:
        end_openai_whole(x);
        break;
    case ANSWER_NODE_ERROR:
        if (route_falls_back_from(x, x->node_status, buf_slice(&x->collect))) {
            break;
        }
        x->result_from_node = true;
        exchange_fail(x, error_code_from_status((int)x->node_status),
                      "the node answered with an error");
        break;
    case ANSWER_OPENAI_STREAM:
        exchange_fail(x, MCP_ESTREAM_INTERRUPTED, ended_early);
        break;
    }
}

static void on_failed(void *owner, int code, const char *text, bool sent_nothing)
{
    struct exchange *x = owner;
    char named[256];

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    x->call = NULL;
    x->held_head = NULL;
    if (sent_nothing && (exchange_try_again(x) || route_falls_back(x, code))) {
        return;
    }
    if (x->saw_end) {
        exchange_succeed(x); /* nothing was missing but the end of its framing */
        return;
    }
    /* Nothing of the answer went out: it can still be an error of its own. */
    if (code == MCP_ESTREAM_INTERRUPTED && x->parts == 0 &&
        (!x->splitting || x->answer == ANSWER_ASSEMBLED)) {
        code = MCP_EUPSTREAM_ERROR;
    }
    if (code == MCP_ENOMEM) {
        exchange_fail(x, code, text); /* ours, not the node's */
        return;
    }
    (void)snprintf(named, sizeof(named), "node %s: %s", x->node_name, text); /* may be cut */
    exchange_fail(x, code, named);
}

static void on_drained(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    if (x->sink->drained != NULL) {
        x->sink->drained(x->owner);
    }
}

static void on_connected(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    trace_note(x, TRACE_CONNECTED);
}

static void on_again(void *owner)
{
    struct exchange *x = owner;

    OBJ_CHECK(x, EXCHANGE_MAGIC);
    trace_note(x, TRACE_SENT_AGAIN);
}

const struct node_call_ops answer_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drained = on_drained,
    .connected = on_connected,
    .again = on_again,
};
