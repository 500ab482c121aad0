/* SPDX-License-Identifier: Apache-2.0 */
/* Log probabilities of an answer, from OpenAI's two shapes to Ollama's one:
 *   chat, and llama.cpp's completions
 * {"content":[{"token","logprob","bytes","top_logprobs":[...]}]} vLLM's completions
 * {"tokens":[],"token_logprobs":[],"top_logprobs":[{token: n}]} */
#include "node/openai_call.h"

#include "base/json_scan.h"
#include "node/openai_json.h"

/* What JSON has no number for; vLLM's own value for minus infinity. */
#define NO_PROBABILITY SLICE("-9999.0")

static void append(struct buf *out, const char *text)
{
    (void)buf_append_str(out, text); /* sticky: openai_logprobs_take looks at the end */
}

static int walk_error(enum json_status status)
{
    return status == JSON_END ? 0 : MCP_EUPSTREAM_ERROR;
}

/* {"token":...,"logprob":... without the closing brace. */
static int append_token(struct buf *out, struct slice token, struct slice logprob)
{
    if (token.len == 0 || token.ptr[0] != '"') {
        return MCP_EUPSTREAM_ERROR;
    }
    append(out, "{\"token\":");
    (void)buf_append(out, token);
    append(out, ",\"logprob\":");
    if (logprob.len == 0 || slice_eq(logprob, SLICE("null"))) {
        logprob = NO_PROBABILITY;
    } else if (logprob.ptr[0] != '-' && (logprob.ptr[0] < '0' || logprob.ptr[0] > '9')) {
        return MCP_EUPSTREAM_ERROR;
    }
    (void)buf_append(out, logprob);
    return 0;
}

/* Only numbers from 0 to 255, as Ollama has them. */
static int append_bytes(struct buf *out, struct slice bytes)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, bytes, JSON_ARRAY);
    uint64_t value;

    append(out, ",\"bytes\":[");
    for (bool first = true; status == JSON_OK; first = false) {
        status = json_walk_next(&w, &m);
        if (status != JSON_OK) {
            break;
        }
        if (!json_uint(m.value, &value) || value > 255) {
            return MCP_EUPSTREAM_ERROR;
        }
        (void)buf_printf(out, first ? "%u" : ",%u", (unsigned)value);
    }
    append(out, "]");
    return walk_error(status);
}

static int append_entries(struct buf *out, struct slice entries, bool tops);

/* One entry of chat's shape; `tops`: with its alternatives. */
static int append_entry(struct buf *out, struct slice entry, bool tops)
{
    struct json_member token;
    struct json_member m;
    int rv;

    if (json_find(entry, SLICE("token"), &token) != JSON_OK) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = append_token(out, token.value,
                      json_find(entry, SLICE("logprob"), &m) == JSON_OK ? m.value : SLICE(""));
    if (rv == 0 && json_find(entry, SLICE("bytes"), &m) == JSON_OK && m.kind == JSON_ARRAY) {
        rv = append_bytes(out, m.value);
    }
    if (rv == 0 && tops && json_find(entry, SLICE("top_logprobs"), &m) == JSON_OK &&
        m.kind == JSON_ARRAY) {
        append(out, ",\"top_logprobs\":[");
        rv = append_entries(out, m.value, false);
        append(out, "]");
    }
    append(out, "}");
    return rv;
}

static int append_entries(struct buf *out, struct slice entries, bool tops)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, entries, JSON_ARRAY);
    int rv = 0;

    for (bool first = true; rv == 0 && status == JSON_OK; first = false) {
        status = json_walk_next(&w, &m);
        if (status == JSON_OK) {
            append(out, first ? "" : ",");
            rv = append_entry(out, m.value, tops);
        }
    }
    return rv < 0 ? rv : walk_error(status);
}

/* {"token": number, ...} */
static int append_alternatives(struct buf *out, struct slice object)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, object, JSON_OBJECT);
    int rv = 0;

    append(out, ",\"top_logprobs\":[");
    for (bool first = true; rv == 0 && status == JSON_OK; first = false) {
        status = json_walk_next(&w, &m);
        if (status == JSON_OK) {
            append(out, first ? "" : ",");
            rv = append_token(out, slice_of(m.key.ptr - 1, m.key.len + 2), m.value);
            append(out, "}");
        }
    }
    append(out, "]");
    return rv < 0 ? rv : walk_error(status);
}

struct parallel {
    struct json_walk tokens;
    struct json_walk logprobs;
    struct json_walk tops;
    bool has_tops;
};

static int parallel_begin(struct parallel *p, struct slice object, bool tops)
{
    struct json_member m;

    p->has_tops = false;
    if (json_find(object, SLICE("tokens"), &m) != JSON_OK ||
        json_walk_begin(&p->tokens, m.value, JSON_ARRAY) != JSON_OK ||
        json_find(object, SLICE("token_logprobs"), &m) != JSON_OK ||
        json_walk_begin(&p->logprobs, m.value, JSON_ARRAY) != JSON_OK) {
        return MCP_EUPSTREAM_ERROR;
    }
    if (tops && json_find(object, SLICE("top_logprobs"), &m) == JSON_OK && m.kind == JSON_ARRAY) {
        p->has_tops = json_walk_begin(&p->tops, m.value, JSON_ARRAY) == JSON_OK;
    }
    return 0;
}

/* vLLM's completions: lists side by side. */
static int append_parallel(struct buf *out, struct slice object, bool tops)
{
    struct json_member token;
    struct json_member logprob;
    struct json_member top;
    enum json_status status = JSON_OK;
    struct parallel p;
    int rv = parallel_begin(&p, object, tops);

    for (bool first = true; rv == 0; first = false) {
        status = json_walk_next(&p.tokens, &token);
        if (status != JSON_OK || json_walk_next(&p.logprobs, &logprob) != JSON_OK) {
            break;
        }
        append(out, first ? "" : ",");
        rv = append_token(out, token.value, logprob.value);
        if (rv == 0 && p.has_tops && json_walk_next(&p.tops, &top) == JSON_OK &&
            top.kind == JSON_OBJECT) {
            rv = append_alternatives(out, top.value);
        }
        append(out, "}");
    }
    return rv < 0 ? rv : walk_error(status);
}

int openai_logprobs_take(struct openai_call *call, struct slice logprobs)
{
    struct buf entries = {0};
    struct json_member m;
    enum json_status status = json_find(logprobs, SLICE("content"), &m);
    int rv = 0;

    if (!call->wants_logprobs) {
        return 0;
    }
    if (buf_len(&call->logprobs) > 0) {
        append(&entries, ",");
    }
    if (status == JSON_OK && m.kind == JSON_ARRAY) {
        rv = append_entries(&entries, m.value, call->top_logprobs);
    } else if (json_find(logprobs, SLICE("tokens"), &m) == JSON_OK) {
        rv = append_parallel(&entries, logprobs, call->top_logprobs);
    }
    rv = rv == 0 ? openai_written(&entries) : rv;
    if (rv == 0 && buf_len(&entries) > 1) { /* more than the comma */
        rv = openai_hold(call, buf_len(&entries));
        if (rv == 0 && !buf_append(&call->logprobs, buf_slice(&entries))) {
            rv = MCP_ENOMEM;
        }
    }
    buf_fini(&entries);
    return rv;
}
