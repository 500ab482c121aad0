/* SPDX-License-Identifier: Apache-2.0 */
/* A native request becomes the node's: one function per operation. */
#include "node/openai.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "node/openai_ask.h"
#include "node/openai_call.h"
#include "node/openai_json.h"

struct asking {
    const struct openai_ask *ask;
    struct openai_call *call;
    yyjson_val *root;
    yyjson_val *options;
    struct buf *path;
    struct buf *body;
    struct err *e;
};

static void append(struct asking *a, const char *text)
{
    (void)buf_append_str(a->body, text); /* sticky: openai_request looks at the end */
}

static int want_string(struct asking *a, const char *field, struct slice *text)
{
    yyjson_val *val = openai_member(a->root, field);

    *text = openai_text(val);
    if (openai_is_null(val) || yyjson_is_str(val)) {
        return 0;
    }
    return err_set(a->e, MCP_EBAD_REQUEST, "%s must be a string", field);
}

static int want_bool(struct asking *a, const char *field, bool *is_true)
{
    yyjson_val *val = openai_member(a->root, field);

    *is_true = yyjson_is_true(val);
    if (openai_is_null(val) || yyjson_is_bool(val)) {
        return 0;
    }
    return err_set(a->e, MCP_EBAD_REQUEST, "%s must be a boolean", field);
}

static int refuse_set(struct asking *a, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        if (openai_is_set(openai_member(a->root, *fields))) {
            return openai_refuse(a->e, *fields);
        }
    }
    return 0;
}

/* A duration that is zero: 0, "0", "0s", "0h0m". */
static bool is_zero_duration(yyjson_val *val)
{
    struct slice text = yyjson_is_raw(val) ? openai_number(val) : openai_text(val);
    bool has_zero = false;

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= '1' && text.ptr[i] <= '9') {
            return false;
        }
        has_zero = has_zero || text.ptr[i] == '0';
    }
    return has_zero;
}

static int answer_loaded(struct asking *a)
{
    bool unload = is_zero_duration(openai_member(a->root, "keep_alive"));
    int rv = openai_part_loaded(a->call, unload, a->ask->at, a->body);

    return rv < 0 ? rv : OPENAI_ANSWERED;
}

static void begin_body(struct asking *a, const char *path)
{
    (void)buf_append_str(a->path, path); /* sticky, as all here */
    append(a, "{\"model\":");
    (void)json_append_string(a->body, a->ask->node_model);
}

static void append_stream(struct asking *a)
{
    append(a, a->call->node_streams ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
                                    : ",\"stream\":false");
}

/* format: "json" or a schema. A completion of llama.cpp's server reads json_schema only. */
static int append_format(struct asking *a, bool raw)
{
    yyjson_val *format = openai_member(a->root, "format");
    struct buf schema = {0};
    int rv = 0;

    if (openai_is_null(format) || (yyjson_is_str(format) && yyjson_get_len(format) == 0)) {
        return 0;
    }
    if (yyjson_is_obj(format)) {
        append(a, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                  "{\"name\":\"schema\",\"schema\":");
        rv = openai_json_append(&schema, format);
        (void)buf_append(a->body, buf_slice(&schema));
        append(a, "}}");
    } else if (slice_eq(openai_text(format), SLICE("json"))) {
        append(a, ",\"response_format\":{\"type\":\"json_object\"}");
        (void)buf_append_str(&schema, "{\"type\":\"object\"}");
        rv = openai_written(&schema);
    } else {
        return err_set(a->e, MCP_EBAD_REQUEST,
                       "invalid format; expected \"json\" or a valid JSON Schema object");
    }
    if (raw && rv == 0) {
        append(a, ",\"json_schema\":");
        (void)buf_append(a->body, buf_slice(&schema));
    }
    buf_fini(&schema);
    return rv;
}

static int want_logprobs(struct asking *a, bool *wanted, uint64_t *top)
{
    yyjson_val *val = openai_member(a->root, "top_logprobs");
    int rv = want_bool(a, "logprobs", wanted);

    *top = 0;
    if (rv == 0 && !openai_is_null(val) &&
        (!json_uint(openai_number(val), top) || *top > OPENAI_TOP_LOGPROBS_MAX)) {
        return err_set(a->e, MCP_EBAD_REQUEST, "top_logprobs must be between 0 and %d",
                       OPENAI_TOP_LOGPROBS_MAX);
    }
    return rv;
}

/* llama.cpp gives none at all for a top_logprobs of 0, so one is asked for and dropped again. */
static int append_logprobs(struct asking *a, bool raw)
{
    unsigned count;
    uint64_t top;
    bool wanted;
    int rv = want_logprobs(a, &wanted, &top);

    if (rv < 0 || !wanted) {
        return rv;
    }
    a->call->wants_logprobs = true;
    a->call->top_logprobs = top > 0;
    count = top > 0 ? (unsigned)top : 1;
    (void)buf_printf(a->body, raw ? ",\"logprobs\":%u" : ",\"logprobs\":true,\"top_logprobs\":%u",
                     count);
    return 0;
}

/* Templates of llama.cpp and vLLM read chat_template_kwargs, vLLM's gpt-oss reasoning_effort. */
static int append_think(struct asking *a)
{
    static const char *const levels[][2] = {
        {"low", "low"}, {"medium", "medium"}, {"high", "high"}, {"max", "high"}};
    yyjson_val *think = openai_member(a->root, "think");

    if (openai_is_null(think)) {
        return 0;
    }
    if (yyjson_is_bool(think)) {
        (void)buf_printf(a->body, ",\"chat_template_kwargs\":{\"enable_thinking\":%s}",
                         yyjson_is_true(think) ? "true" : "false");
        return 0;
    }
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (slice_eq(openai_text(think), slice_str(levels[i][0]))) {
            (void)buf_printf(a->body,
                             ",\"chat_template_kwargs\":{\"enable_thinking\":true,"
                             "\"reasoning_effort\":\"%s\"},\"reasoning_effort\":\"%s\"",
                             levels[i][1], levels[i][1]);
            return 0;
        }
    }
    return err_set(
        a->e, MCP_EBAD_REQUEST,
        "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, "
        "or false)");
}

static int append_tools(struct asking *a)
{
    yyjson_val *tools = openai_member(a->root, "tools");

    if (!openai_is_null(tools) && !yyjson_is_arr(tools)) {
        return err_set(a->e, MCP_EBAD_REQUEST, "tools must be an array");
    }
    if (!openai_is_set(tools)) {
        return 0;
    }
    append(a, ",\"tools\":");
    return openai_json_append(a->body, tools);
}

/* What generate and chat have in common behind the prompt, and the end of the body. */
static int end_generation(struct asking *a, bool raw)
{
    int rv;

    append_stream(a);
    rv = openai_options_append(a->body, a->options, raw, a->e);
    if (rv == 0) {
        rv = append_format(a, raw);
    }
    if (rv == 0) {
        rv = append_logprobs(a, raw);
    }
    if (rv == 0 && !raw) {
        rv = append_think(a);
    }
    append(a, "}");
    return rv;
}

static int ask_raw(struct asking *a, struct slice system, struct slice prompt)
{
    if (system.len > 0) {
        return err_set(a->e, MCP_EBAD_REQUEST,
                       "raw mode does not support template, system, or context");
    }
    if (openai_is_set(openai_member(a->root, "images"))) {
        return openai_refuse(a->e, "images with raw");
    }
    begin_body(a, "/v1/completions");
    append(a, ",\"prompt\":");
    (void)json_append_string(a->body, prompt);
    return end_generation(a, true);
}

static int ask_generate(struct asking *a)
{
    static const char *const refused[] = {"suffix", "template", "context", "_debug_render_only",
                                          NULL};
    struct slice prompt;
    struct slice system;
    bool raw = false; /* gcc -O3 does not see that want_bool sets it */
    int rv = want_string(a, "prompt", &prompt);

    if (rv == 0) {
        rv = want_string(a, "system", &system);
    }
    if (rv == 0) {
        rv = want_bool(a, "raw", &raw);
    }
    if (rv < 0) {
        return rv;
    }
    if (prompt.len == 0) {
        return answer_loaded(a);
    }
    rv = refuse_set(a, refused);
    if (rv < 0 || raw) {
        return rv < 0 ? rv : ask_raw(a, system, prompt);
    }
    begin_body(a, "/v1/chat/completions");
    rv = openai_prompt_append(a->body, system, prompt, openai_member(a->root, "images"), a->e);
    return rv < 0 ? rv : end_generation(a, false);
}

static int ask_chat(struct asking *a)
{
    static const char *const refused[] = {"_debug_render_only", NULL};
    yyjson_val *messages = openai_member(a->root, "messages");
    uint64_t top;
    bool logprobs;
    int rv;

    if (!openai_is_null(messages) && !yyjson_is_arr(messages)) {
        return err_set(a->e, MCP_EBAD_REQUEST, "messages must be an array");
    }
    if (!openai_is_set(messages)) {
        return answer_loaded(a);
    }
    rv = refuse_set(a, refused);
    if (rv == 0) {
        rv = want_logprobs(a, &logprobs, &top);
    }
    if (rv < 0) {
        return rv;
    }
    if (logprobs && openai_is_set(openai_member(a->root, "tools"))) {
        a->call->node_streams = a->call->client_streams;
    }
    begin_body(a, "/v1/chat/completions");
    rv = openai_messages_append(a->body, messages, a->e);
    if (rv == 0) {
        rv = append_tools(a);
    }
    return rv < 0 ? rv : end_generation(a, false);
}

/* The gateway cuts vectors itself, so that it also works for models that were not trained for it.
 */
static int want_dimensions(struct asking *a)
{
    yyjson_val *val = openai_member(a->root, "dimensions");
    struct slice text = openai_number(val);

    if (openai_is_null(val) || json_uint(text, &a->call->dimensions)) {
        return 0;
    }
    if (text.len > 1 && text.ptr[0] == '-' &&
        json_uint(slice_skip(text, 1), &a->call->dimensions)) {
        a->call->dimensions = 0; /* as Ollama has it */
        return 0;
    }
    return err_set(a->e, MCP_EBAD_REQUEST, "dimensions must be an integer");
}

static int want_inputs(struct asking *a, yyjson_val *input)
{
    yyjson_val *one;
    size_t i;
    size_t count;

    if (openai_is_null(input) || yyjson_is_str(input)) {
        a->call->inputs = openai_is_set(input) ? 1 : 0;
        return 0;
    }
    if (!yyjson_is_arr(input)) {
        return err_set(a->e, MCP_EBAD_REQUEST, "invalid input type");
    }
    yyjson_arr_foreach(input, i, count, one)
    {
        if (!yyjson_is_str(one)) {
            return err_set(a->e, MCP_EBAD_REQUEST, "invalid input type");
        }
    }
    a->call->inputs = count;
    return 0;
}

static int ask_embed(struct asking *a)
{
    yyjson_val *input = openai_member(a->root, "input");
    int rv = want_inputs(a, input);

    if (rv == 0) {
        rv = want_dimensions(a);
    }
    if (rv < 0) {
        return rv;
    }
    if (a->call->inputs == 0) {
        return answer_loaded(a);
    }
    begin_body(a, "/v1/embeddings");
    append(a, ",\"input\":");
    rv = openai_json_append(a->body, input);
    append(a, ",\"encoding_format\":\"base64\"}"); /* float32 as it is, at a third of the size */
    return rv;
}

static int ask_embeddings(struct asking *a)
{
    struct slice prompt;
    int rv = want_string(a, "prompt", &prompt);

    if (rv < 0) {
        return rv;
    }
    if (prompt.len == 0) {
        return answer_loaded(a);
    }
    a->call->inputs = 1;
    begin_body(a, "/v1/embeddings");
    append(a, ",\"input\":");
    (void)json_append_string(a->body, prompt);
    append(a, ",\"encoding_format\":\"float\"}");
    return 0;
}

static int ask_by_op(struct asking *a)
{
    switch (a->ask->op) {
    case OP_GENERATE:
        return ask_generate(a);
    case OP_CHAT:
        return ask_chat(a);
    case OP_EMBED:
        return ask_embed(a);
    default:
        return ask_embeddings(a);
    }
}

static struct openai_call *call_new(const struct openai_ask *ask)
{
    struct openai_call *call = calloc(1, sizeof(*call));

    if (call == NULL) {
        return NULL;
    }
    call->magic = OPENAI_CALL_MAGIC;
    call->op = ask->op;
    call->start_us = ask->at.now_us;
    call->node_streams = ask->op == OP_GENERATE || ask->op == OP_CHAT;
    if (!json_append_string(&call->model, ask->model)) {
        openai_call_free(&call);
    }
    return call;
}

void openai_call_free(struct openai_call **call)
{
    struct openai_call *c = *call;

    if (c == NULL) {
        return;
    }
    OBJ_CHECK(c, OPENAI_CALL_MAGIC);
    buf_fini(&c->model);
    buf_fini(&c->text);
    buf_fini(&c->thinking);
    buf_fini(&c->logprobs);
    openai_tools_fini(&c->tools);
    c->magic = 0;
    free(c);
    *call = NULL;
}

bool openai_call_streams(const struct openai_call *call)
{
    OBJ_CHECK(call, OPENAI_CALL_MAGIC);
    return call->node_streams;
}

/* The body and, where it has no options, the inherited ones. */
static int read_json(struct asking *a, yyjson_doc **body, yyjson_doc **options)
{
    int rv = openai_json_read(body, a->ask->request->body, OPENAI_NUMBERS_AS_TEXT);

    if (rv == MCP_EBAD_REQUEST) { /* it was read once: only what yyjson is stricter about is left */
        return err_set(a->e, rv, "half of a UTF-16 surrogate pair cannot be translated");
    }
    if (rv < 0) {
        return rv;
    }
    a->root = yyjson_doc_get_root(*body);
    a->options = openai_member(a->root, "options");
    if (a->options != NULL || a->ask->options.len == 0) {
        return 0;
    }
    rv = openai_json_read(options, a->ask->options, OPENAI_NUMBERS_AS_TEXT);
    a->options = rv == 0 ? yyjson_doc_get_root(*options) : NULL;
    return rv == MCP_EBAD_REQUEST ? err_set(a->e, rv, "options must be an object") : rv;
}

int openai_request(struct openai_call **call, const struct openai_ask *ask, struct buf *path,
                   struct buf *body, struct err *e)
{
    struct asking a = {.ask = ask, .path = path, .body = body, .e = e};
    yyjson_doc *doc = NULL;
    yyjson_doc *options = NULL;
    int rv;

    *call = NULL;
    if (!op_is_inference(ask->op)) {
        return err_set(e, MCP_EUNSUPPORTED_OP, "not an operation for a node of kind openai");
    }
    a.call = call_new(ask);
    rv = a.call == NULL ? MCP_ENOMEM : read_json(&a, &doc, &options);
    if (rv == 0) {
        rv = request_stream(ask->request, ask->op, &a.call->client_streams, e);
    }
    if (rv == 0) {
        rv = ask_by_op(&a);
    }
    if (rv >= 0 && (buf_failed(body) || buf_failed(path))) {
        rv = MCP_ENOMEM;
    }
    yyjson_doc_free(doc);
    yyjson_doc_free(options);
    if (rv != OPENAI_SEND) {
        openai_call_free(&a.call);
    }
    *call = a.call;
    return rv == MCP_ENOMEM ? err_set(e, rv, "%s", mcp_error_text(rv)) : rv;
}
