/* SPDX-License-Identifier: Apache-2.0 */
/* Native parts, their members in Ollama's order. */
#include "node/openai_call.h"

#include "node/openai_json.h"

static void append(struct buf *out, const char *text)
{
    (void)buf_append_str(out, text); /* sticky: checked once a part is written */
}

static void append_quoted(struct buf *out, const struct buf *inside)
{
    (void)buf_append_byte(out, '"');
    (void)buf_append(out, buf_slice(inside));
    (void)buf_append_byte(out, '"');
}

static void append_begin(const struct openai_call *call, struct openai_clock at, struct buf *out)
{
    append(out, "{\"model\":");
    (void)buf_append(out, buf_slice(&call->model));
    append(out, ",\"created_at\":");
    openai_append_time(out, at.wall_us);
}

static void append_count(struct buf *out, const char *key, uint64_t count)
{
    (void)buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)count);
}

static uint64_t ns_between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (to_us - from_us) * 1000 : 0;
}

/* load_duration is 0: such a node has its model loaded. Where it does not say how long it worked,
 * the prompt's time is that to the first piece, the answer's that from there to the latest one. */
static void append_metrics(const struct openai_call *call, struct openai_clock at, struct buf *out)
{
    const struct openai_usage *u = &call->usage;
    uint64_t first_us = call->pieces > 0 ? call->first_us : at.now_us;
    uint64_t latest_us = call->pieces > 0 ? call->latest_us : at.now_us;

    append_count(out, "total_duration", ns_between(call->start_us, at.now_us));
    append_count(out, "load_duration", 0);
    append_count(out, "prompt_eval_count", u->prompt_tokens);
    append_count(out, "prompt_eval_duration",
                 u->has_durations ? u->prompt_ns : ns_between(call->start_us, first_us));
    append_count(out, "eval_count", u->has_counts ? u->tokens : call->pieces);
    append_count(out, "eval_duration",
                 u->has_durations ? u->tokens_ns : ns_between(first_us, latest_us));
}

static void append_thinking(const struct openai_call *call, struct buf *out)
{
    if (buf_len(&call->thinking) > 0) {
        append(out, ",\"thinking\":");
        append_quoted(out, &call->thinking);
    }
}

static void append_tool_calls(const struct openai_call *call, struct buf *out)
{
    append(out, ",\"tool_calls\":");
    openai_tools_append(&call->tools, out);
}

static void append_logprobs(const struct openai_call *call, struct buf *out)
{
    if (buf_len(&call->logprobs) > 0) {
        append(out, ",\"logprobs\":[");
        (void)buf_append(out, buf_slice(&call->logprobs));
        append(out, "]");
    }
}

static void append_done(const struct openai_call *call, bool last, struct buf *out)
{
    append(out, last ? ",\"done\":true,\"done_reason\":" : ",\"done\":false");
    if (last) {
        append(out, call->finish == OPENAI_LENGTH ? "\"length\"" : "\"stop\"");
    }
}

static void append_chat(const struct openai_call *call, bool last, bool tools,
                        struct openai_clock at, struct buf *out)
{
    append(out, ",\"message\":{\"role\":\"assistant\",\"content\":");
    append_quoted(out, &call->text);
    append_thinking(call, out);
    if (tools) {
        append_tool_calls(call, out);
    }
    append(out, "}");
    append_done(call, last, out);
    append_logprobs(call, out);
    if (last) {
        append_metrics(call, at, out);
    }
}

static void append_generate(const struct openai_call *call, bool last, bool tools,
                            struct openai_clock at, struct buf *out)
{
    append(out, ",\"response\":");
    append_quoted(out, &call->text);
    append_thinking(call, out);
    append_done(call, last, out);
    if (last) {
        append_metrics(call, at, out);
    }
    if (tools) {
        append_tool_calls(call, out);
    }
    append_logprobs(call, out);
}

static void let_go(struct openai_call *call, bool tools)
{
    call->held_bytes -= buf_len(&call->text) + buf_len(&call->thinking) + buf_len(&call->logprobs);
    buf_clear(&call->text);
    buf_clear(&call->thinking);
    buf_clear(&call->logprobs);
    if (tools) {
        openai_tools_fini(&call->tools);
        call->held_bytes = 0;
    }
}

/* Tool calls are whole once the node said why it ended. */
int openai_part(struct openai_call *call, bool last, struct openai_clock at, struct buf *out)
{
    bool tools = call->tools.count > 0 && (last || call->finish != OPENAI_RUNNING);
    int rv = tools ? openai_tools_check(&call->tools, out) : 0;

    if (rv != 0) {
        return rv;
    }
    if (!last && !tools && buf_len(&call->text) == 0 && buf_len(&call->thinking) == 0 &&
        buf_len(&call->logprobs) == 0) {
        return OPENAI_NOTHING;
    }
    append_begin(call, at, out);
    if (call->op == OP_CHAT) {
        append_chat(call, last, tools, at, out);
    } else {
        append_generate(call, last, tools, at, out);
    }
    append(out, "}");
    rv = openai_written(out);
    if (rv < 0) {
        return rv;
    }
    let_go(call, tools);
    call->finished = last;
    return last ? OPENAI_LAST : OPENAI_PART;
}

int openai_part_loaded(const struct openai_call *call, bool unload, struct openai_clock at,
                       struct buf *out)
{
    switch (call->op) {
    case OP_EMBED:
        append(out, "{\"model\":");
        (void)buf_append(out, buf_slice(&call->model));
        append(out, ",\"embeddings\":[]}");
        break;
    case OP_EMBEDDINGS:
        append(out, "{\"embedding\":[]}");
        break;
    default:
        append_begin(call, at, out);
        append(out, call->op == OP_CHAT ? ",\"message\":{\"role\":\"assistant\",\"content\":\"\"}"
                                        : ",\"response\":\"\"");
        append(out, ",\"done\":true,\"done_reason\":");
        append(out, unload ? "\"unload\"}" : "\"load\"}");
        break;
    }
    return openai_written(out);
}
