/* SPDX-License-Identifier: Apache-2.0 */
/* The node's answer to generate and chat: events of a stream, or the whole. Strings and numbers are
 * copied as the node wrote them, so that nothing is lost by reading and writing them again. */
#include "node/openai.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "codec/error_body.h"
#include "node/openai_call.h"
#include "node/openai_json.h"

/* The pieces of one object of the node, as they stand in it; NULL pointers: not there. */
struct seen {
    struct slice error;   /* any JSON */
    struct slice object;  /* JSON strings */
    struct slice message; /* of vLLM's older {"object":"error","message":"..."} */
    struct slice choices;
    struct slice usage;
    struct slice timings;
    bool has_choice;
    struct slice text; /* JSON strings */
    struct slice thinking;
    struct slice finish_reason;
    struct slice tool_calls; /* JSON array */
    struct slice logprobs;   /* JSON object */
};

enum { ANY_KIND = -1 };

/* One member that is read: where it goes, and what it must be unless it is null. */
struct field {
    const char *name;
    int kind; /* enum json_kind, or ANY_KIND */
    struct slice *to;
};

/* Reads the members of `object` that `fields` names (a NULL name ends it); the last one wins. */
static int read_fields(struct slice object, const struct field *fields)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, object, JSON_OBJECT);

    while (status == JSON_OK && (status = json_walk_next(&w, &m)) == JSON_OK) {
        for (const struct field *f = fields; f->name != NULL; f++) {
            if (!json_key_is(&m, slice_str(f->name))) {
                continue;
            }
            if ((int)m.kind != f->kind && m.kind != JSON_NULL && f->kind != ANY_KIND) {
                return MCP_EUPSTREAM_ERROR;
            }
            *f->to = m.kind == JSON_NULL ? (struct slice){0} : m.value;
        }
    }
    return status == JSON_END ? 0 : MCP_EUPSTREAM_ERROR;
}

/* `delta` of a stream, `message` of a whole answer. */
static int read_message(struct slice message, struct seen *s)
{
    struct slice reasoning = {0}; /* vLLM's newer name for reasoning_content */
    const struct field fields[] = {{"content", JSON_STRING, &s->text},
                                   {"reasoning_content", JSON_STRING, &s->thinking},
                                   {"reasoning", JSON_STRING, &reasoning},
                                   {"tool_calls", JSON_ARRAY, &s->tool_calls},
                                   {0}};
    int rv = read_fields(message, fields);

    if (s->thinking.ptr == NULL) {
        s->thinking = reasoning;
    }
    return rv;
}

/* The first choice; one is all that is asked for. */
static int read_choices(struct slice choices, struct seen *s)
{
    struct slice delta = {0};
    struct slice message = {0};
    const struct field fields[] = {
        {"delta", JSON_OBJECT, &delta},          {"message", JSON_OBJECT, &message},
        {"text", JSON_STRING, &s->text},         {"finish_reason", JSON_STRING, &s->finish_reason},
        {"logprobs", JSON_OBJECT, &s->logprobs}, {0}};
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, choices, JSON_ARRAY);
    int rv;

    status = status == JSON_OK ? json_walk_next(&w, &m) : status;
    if (status != JSON_OK) {
        return status == JSON_END ? 0 : MCP_EUPSTREAM_ERROR;
    }
    s->has_choice = true;
    rv = read_fields(m.value, fields);
    if (rv == 0 && delta.ptr != NULL) {
        rv = read_message(delta, s);
    }
    if (rv == 0 && message.ptr != NULL) {
        rv = read_message(message, s);
    }
    return rv;
}

static int read_object(struct slice object, struct seen *s)
{
    const struct field fields[] = {{"error", ANY_KIND, &s->error},
                                   {"object", JSON_STRING, &s->object},
                                   {"message", JSON_STRING, &s->message},
                                   {"choices", JSON_ARRAY, &s->choices},
                                   {"usage", JSON_OBJECT, &s->usage},
                                   {"timings", JSON_OBJECT, &s->timings},
                                   {0}};
    int rv = read_fields(object, fields);

    return rv == 0 && s->choices.ptr != NULL ? read_choices(s->choices, s) : rv;
}

/* OPENAI_ERROR with its text where the object is one, else 0. */
static int report_error(const struct seen *s, struct slice object, struct buf *out)
{
    bool ok;

    if (s->error.ptr != NULL) {
        ok = error_text_from_node(object, out);
    } else if (s->message.ptr != NULL && slice_eq(s->object, SLICE("\"error\""))) {
        ok = json_unescape(s->message, out);
    } else {
        return 0;
    }
    return ok ? OPENAI_ERROR : MCP_ENOMEM;
}

static uint64_t ns_of_ms(struct slice number)
{
    char copy[64];
    double ns;

    if (number.len >= sizeof(copy)) {
        return 0;
    }
    memcpy(copy, number.ptr, number.len);
    copy[number.len] = '\0';
    ns = strtod(copy, NULL) * 1e6;
    if (!(ns > 0)) {
        return 0;
    }
    return ns < 9e18 ? (uint64_t)(ns + 0.5) : (uint64_t)9e18;
}

static int read_usage(struct openai_usage *u, struct slice usage)
{
    struct slice prompt = {0};
    struct slice completion = {0};
    const struct field fields[] = {{"prompt_tokens", JSON_NUMBER, &prompt},
                                   {"completion_tokens", JSON_NUMBER, &completion},
                                   {0}};
    int rv = usage.ptr == NULL ? 0 : read_fields(usage, fields);

    if (rv == 0 && prompt.ptr != NULL && json_uint(prompt, &u->prompt_tokens)) {
        u->has_usage = true;
        u->has_counts = true;
        if (completion.ptr == NULL || !json_uint(completion, &u->tokens)) {
            u->tokens = 0;
        }
    }
    return rv;
}

/* llama.cpp's own; its counts serve where there is no usage. */
static int read_timings(struct openai_usage *u, struct slice timings)
{
    struct slice cached = {0};
    struct slice prompt = {0};
    struct slice predicted = {0};
    struct slice prompt_ms = {0};
    struct slice predicted_ms = {0};
    const struct field fields[] = {{"cache_n", JSON_NUMBER, &cached},
                                   {"prompt_n", JSON_NUMBER, &prompt},
                                   {"predicted_n", JSON_NUMBER, &predicted},
                                   {"prompt_ms", JSON_NUMBER, &prompt_ms},
                                   {"predicted_ms", JSON_NUMBER, &predicted_ms},
                                   {0}};
    uint64_t counts[3] = {0, 0, 0};
    int rv = timings.ptr == NULL ? 0 : read_fields(timings, fields);

    if (rv < 0 || prompt_ms.ptr == NULL || predicted_ms.ptr == NULL) {
        return rv;
    }
    u->has_durations = true;
    u->prompt_ns = ns_of_ms(prompt_ms);
    u->tokens_ns = ns_of_ms(predicted_ms);
    if (!u->has_usage && prompt.ptr != NULL && json_uint(prompt, &counts[1]) &&
        predicted.ptr != NULL && json_uint(predicted, &counts[2])) {
        if (cached.ptr != NULL) {
            (void)json_uint(cached, &counts[0]); /* else 0 */
        }
        u->has_counts = true;
        u->prompt_tokens = counts[0] + counts[1];
        u->tokens = counts[2];
    }
    return 0;
}

int openai_hold(struct openai_call *call, size_t more_bytes)
{
    if (more_bytes > OPENAI_HELD_MAX_BYTES - call->held_bytes) {
        return MCP_ETOO_LARGE;
    }
    call->held_bytes += more_bytes;
    return 0;
}

/* The inside of a JSON string. */
static int take_string(struct openai_call *call, struct buf *to, struct slice quoted)
{
    int rv;

    if (quoted.ptr == NULL || quoted.len <= 2) {
        return 0;
    }
    rv = openai_hold(call, quoted.len - 2);
    if (rv < 0) {
        return rv;
    }
    return buf_append(to, slice_of(quoted.ptr + 1, quoted.len - 2)) ? 0 : MCP_ENOMEM;
}

static int take(struct openai_call *call, const struct seen *s, struct openai_clock at)
{
    bool has_piece = s->text.len > 2 || s->thinking.len > 2 || s->tool_calls.ptr != NULL;
    int rv = read_usage(&call->usage, s->usage);

    if (rv == 0) {
        rv = read_timings(&call->usage, s->timings);
    }
    if (rv == 0) {
        rv = take_string(call, &call->text, s->text);
    }
    if (rv == 0) {
        rv = take_string(call, &call->thinking, s->thinking);
    }
    if (rv == 0 && s->tool_calls.ptr != NULL) {
        rv = openai_tools_take(call, s->tool_calls);
    }
    if (rv == 0 && s->logprobs.ptr != NULL) {
        rv = openai_logprobs_take(call, s->logprobs);
    }
    if (s->finish_reason.ptr != NULL) {
        call->finish =
            slice_eq(s->finish_reason, SLICE("\"length\"")) ? OPENAI_LENGTH : OPENAI_STOP;
    }
    if (has_piece) {
        call->first_us = call->pieces == 0 ? at.now_us : call->first_us;
        call->latest_us = at.now_us;
        call->pieces++;
    }
    return rv;
}

int openai_event(struct openai_call *call, struct slice data, struct openai_clock at,
                 struct buf *out)
{
    struct seen s = {0};
    int rv;

    OBJ_CHECK(call, OPENAI_CALL_MAGIC);
    if (call->finished) {
        return OPENAI_NOTHING;
    }
    if (call->op != OP_GENERATE && call->op != OP_CHAT) {
        return MCP_EUPSTREAM_ERROR;
    }
    if (slice_eq(data, SLICE("[DONE]"))) {
        return openai_part(call, true, at, out);
    }
    if (data.len == 0 || slice_eq(data, SLICE("null"))) { /* llama.cpp sends some */
        return OPENAI_NOTHING;
    }
    rv = read_object(data, &s);
    if (rv == 0) {
        rv = report_error(&s, data, out);
    }
    if (rv == 0) {
        rv = take(call, &s, at);
    }
    if (rv != 0) {
        return rv;
    }
    if (call->finish != OPENAI_RUNNING && call->usage.has_usage) {
        return openai_part(call, true, at, out);
    }
    return call->client_streams ? openai_part(call, false, at, out) : OPENAI_NOTHING;
}

int openai_whole(struct openai_call *call, struct slice body, struct openai_clock at,
                 struct buf *out)
{
    struct seen s = {0};
    int rv;

    OBJ_CHECK(call, OPENAI_CALL_MAGIC);
    rv = read_object(body, &s);
    if (rv == 0) {
        rv = report_error(&s, body, out);
    }
    if (rv != 0) {
        return rv;
    }
    if (call->op != OP_GENERATE && call->op != OP_CHAT) {
        return openai_embed_whole(call, body, at, out);
    }
    if (!s.has_choice) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = take(call, &s, at);
    return rv < 0 ? rv : openai_part(call, true, at, out);
}
