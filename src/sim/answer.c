/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void sim_time_format(uint64_t wall_us, char out[SIM_TIME_BYTES])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    size_t len = 0;

    if (gmtime_r(&seconds, &tm) != NULL) {
        len = strftime(out, SIM_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    (void)snprintf(out + len, SIM_TIME_BYTES - len, ".%06uZ", (unsigned)(wall_us % 1000000));
}

struct slice sim_answer_stream_type(enum sim_op op)
{
    return sim_op_is_v1(op) ? SLICE("text/event-stream") : SLICE("application/x-ndjson");
}

/* --- native
 * -------------------------------------------------------------------------------------------- */

static void begin_native(struct buf *out, const struct sim_answer *a)
{
    (void)buf_append_str(out, "{\"model\":\"");
    (void)buf_append(out, a->model);
    (void)buf_append_str(out, "\",\"created_at\":\"");
    (void)buf_append_str(out, a->created_at);
}

static void add_native_text(struct buf *out, const struct sim_answer *a, struct slice words)
{
    bool chat = a->op == SIM_OP_CHAT;

    (void)buf_append_str(out, chat ? "\",\"message\":{\"role\":\"assistant\",\"content\":\""
                                   : "\",\"response\":\"");
    (void)buf_append(out, words);
    (void)buf_append_str(out, chat ? "\"}" : "\"");
}

static void add_durations(struct buf *out, const struct sim_answer *a)
{
    (void)buf_printf(out,
                     "\"total_duration\":%" PRIu64 ",\"load_duration\":%" PRIu64
                     ",\"prompt_eval_count\":%" PRIu32,
                     a->total_us * 1000, a->load_us * 1000, a->prompt_tokens);
}

static void end_native(struct buf *out, const struct sim_answer *a)
{
    (void)buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\",",
                     a->cut_short ? "length" : "stop");
    if (a->op == SIM_OP_GENERATE) {
        (void)buf_append_str(out, "\"context\":[1,2,3],");
    }
    add_durations(out, a);
    (void)buf_printf(out,
                     ",\"prompt_eval_duration\":%" PRIu64 ",\"eval_count\":%" PRIu32
                     ",\"eval_duration\":%" PRIu64 "}",
                     a->prompt_us * 1000, a->tokens, a->decode_us * 1000);
}

/* --- /v1
 * -----------------------------------------------------------------------------------------------
 */

static void begin_v1(struct buf *out, const struct sim_answer *a, bool chunk)
{
    bool chat = a->op == SIM_OP_V1_CHAT;

    (void)buf_printf(
        out, "{\"id\":\"%s-%" PRIu64 "\",\"object\":\"%s\",\"created\":%" PRIu64 ",\"model\":\"",
        chat ? "chatcmpl" : "cmpl", a->id,
        !chat   ? "text_completion"
        : chunk ? "chat.completion.chunk"
                : "chat.completion",
        a->wall_us / 1000000);
    (void)buf_append(out, a->model);
    (void)buf_append_str(out, "\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[");
}

static void add_v1_text(struct buf *out, const struct sim_answer *a, const char *member, bool role,
                        struct slice words)
{
    (void)buf_append_str(out, "{\"index\":0,\"");
    (void)buf_append_str(out, member);
    (void)buf_append_str(out, "\":");
    if (a->op == SIM_OP_V1_CHAT) {
        (void)buf_append_str(out, role ? "{\"role\":\"assistant\",\"content\":" : "{\"content\":");
    }
    (void)buf_append_byte(out, '"');
    (void)buf_append(out, words);
    (void)buf_append_str(out, a->op == SIM_OP_V1_CHAT ? "\"}" : "\"");
}

static const char *finish_reason(const struct sim_answer *a)
{
    return a->cut_short ? "length" : "stop";
}

static void add_usage(struct buf *out, const struct sim_answer *a)
{
    (void)buf_printf(out,
                     "],\"usage\":{\"prompt_tokens\":%" PRIu32 ",\"completion_tokens\":%" PRIu32
                     ",\"total_tokens\":%" PRIu64 "}}",
                     a->prompt_tokens, a->tokens, (uint64_t)a->prompt_tokens + a->tokens);
}

static const char *stream_member(const struct sim_answer *a)
{
    return a->op == SIM_OP_V1_CHAT ? "delta" : "text";
}

static void last_v1(struct buf *out, const struct sim_answer *a)
{
    (void)buf_append_str(out, "data: ");
    begin_v1(out, a, true);
    add_v1_text(out, a, stream_member(a), false, SLICE(""));
    (void)buf_printf(out, ",\"finish_reason\":\"%s\"}]}\n\n", finish_reason(a));
    if (a->usage) {
        (void)buf_append_str(out, "data: ");
        begin_v1(out, a, true);
        add_usage(out, a);
        (void)buf_append_str(out, "\n\n");
    }
    (void)buf_append_str(out, "data: [DONE]\n\n");
}

/* --- answers
 * ------------------------------------------------------------------------------------------- */

void sim_answer_part(struct buf *out, const struct sim_answer *a, struct slice words, bool first)
{
    if (sim_op_is_v1(a->op)) {
        (void)buf_append_str(out, "data: ");
        begin_v1(out, a, true);
        add_v1_text(out, a, stream_member(a), first, words);
        (void)buf_append_str(out, ",\"finish_reason\":null}]}\n\n");
        return;
    }
    begin_native(out, a);
    add_native_text(out, a, words);
    (void)buf_append_str(out, ",\"done\":false}\n");
}

void sim_answer_last(struct buf *out, const struct sim_answer *a)
{
    if (sim_op_is_v1(a->op)) {
        last_v1(out, a);
        return;
    }
    begin_native(out, a);
    add_native_text(out, a, SLICE(""));
    end_native(out, a);
    (void)buf_append_byte(out, '\n');
}

void sim_answer_whole(struct buf *out, const struct sim_answer *a, struct slice words)
{
    if (sim_op_is_v1(a->op)) {
        begin_v1(out, a, false);
        add_v1_text(out, a, a->op == SIM_OP_V1_CHAT ? "message" : "text", true, words);
        (void)buf_printf(out, ",\"finish_reason\":\"%s\"}", finish_reason(a));
        add_usage(out, a);
        return;
    }
    begin_native(out, a);
    add_native_text(out, a, words);
    end_native(out, a);
}

void sim_answer_loaded(struct buf *out, const struct sim_answer *a, bool unloaded)
{
    begin_native(out, a);
    add_native_text(out, a, SLICE(""));
    (void)buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\"}", unloaded ? "unload" : "load");
}

void sim_answer_vectors(struct buf *out, const struct sim_answer *a, struct slice vectors)
{
    if (a->op == SIM_OP_EMBEDDINGS) {
        (void)buf_append_str(out, "{\"embedding\":");
        (void)buf_append(out, vectors);
        (void)buf_append_byte(out, '}');
        return;
    }
    (void)buf_append_str(out, "{\"model\":\"");
    (void)buf_append(out, a->model);
    (void)buf_append_str(out, "\",\"embeddings\":[");
    (void)buf_append(out, vectors);
    (void)buf_append_str(out, "],");
    add_durations(out, a);
    (void)buf_append_byte(out, '}');
}

static const char *v1_type(unsigned status)
{
    return status == 400   ? "invalid_request_error"
           : status == 404 ? "not_found_error"
                           : "api_error";
}

void sim_answer_error(struct buf *out, bool v1, unsigned status, struct slice text)
{
    (void)buf_append_str(out, v1 ? "{\"error\":{\"message\":" : "{\"error\":");
    (void)json_append_string(out, text);
    if (v1) {
        (void)buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":null}", v1_type(status));
    }
    (void)buf_append_byte(out, '}');
}
