/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls of an answer: collected from the pieces of a stream, written as Ollama has them. */
#include "node/openai_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "node/openai_json.h"

static void append(struct buf *out, const char *text)
{
    (void)buf_append_str(out, text); /* sticky */
}

void openai_tools_fini(struct openai_tool_calls *tools)
{
    for (size_t i = 0; i < tools->count; i++) {
        buf_fini(&tools->calls[i].id);
        buf_fini(&tools->calls[i].name);
        buf_fini(&tools->calls[i].arguments);
    }
    free(tools->calls);
    *tools = (struct openai_tool_calls){0};
}

/* The call with that index; those before it that the node has not begun stay empty. */
static int tool_at(struct openai_tool_calls *tools, uint64_t index, struct openai_tool_call **call)
{
    if (index >= OPENAI_TOOL_CALLS_MAX) {
        return MCP_EUPSTREAM_ERROR;
    }
    if (index >= tools->count) {
        size_t count = (size_t)index + 1;
        struct openai_tool_call *calls = realloc(tools->calls, count * sizeof(*calls));

        if (calls == NULL) {
            return MCP_ENOMEM;
        }
        memset(calls + tools->count, 0, (count - tools->count) * sizeof(*calls));
        tools->calls = calls;
        tools->count = count;
    }
    *call = &tools->calls[index];
    return 0;
}

/* The first one that is not empty stays: some nodes repeat id and name in every piece. */
static int take_once(struct openai_call *call, struct buf *to, const struct json_member *m)
{
    int rv;

    if (m->kind != JSON_STRING || m->value.len <= 2 || buf_len(to) > 0) {
        return 0;
    }
    rv = openai_hold(call, m->value.len);
    if (rv < 0) {
        return rv;
    }
    return buf_append(to, m->value) ? 0 : MCP_ENOMEM;
}

/* A piece of JSON in a string, or an object as Ollama itself would send it. */
static int take_arguments(struct openai_call *call, struct buf *to, const struct json_member *m)
{
    int rv = openai_hold(call, m->value.len);

    if (rv < 0 || m->kind == JSON_NULL) {
        return rv;
    }
    if (m->kind == JSON_STRING) {
        return json_unescape(m->value, to) ? 0 : MCP_ENOMEM;
    }
    return buf_append(to, m->value) ? 0 : MCP_ENOMEM;
}

static int take_function(struct openai_call *call, struct openai_tool_call *tool,
                         struct slice function)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, function, JSON_OBJECT);
    int rv = 0;

    while (rv == 0 && status == JSON_OK && (status = json_walk_next(&w, &m)) == JSON_OK) {
        if (json_key_is(&m, SLICE("name"))) {
            rv = take_once(call, &tool->name, &m);
        } else if (json_key_is(&m, SLICE("arguments"))) {
            rv = take_arguments(call, &tool->arguments, &m);
        }
    }
    return rv < 0 || status == JSON_END ? rv : MCP_EUPSTREAM_ERROR;
}

static int take_tool(struct openai_call *call, struct slice object, size_t position)
{
    struct json_member m;
    struct openai_tool_call *tool;
    uint64_t index = position;
    enum json_status status = json_find(object, SLICE("index"), &m);
    int rv;

    if (status < 0) {
        return MCP_EUPSTREAM_ERROR;
    }
    if (status == JSON_OK && m.kind != JSON_NULL && !json_uint(m.value, &index)) {
        return MCP_EUPSTREAM_ERROR;
    }
    rv = tool_at(&call->tools, index, &tool);
    if (rv == 0 && json_find(object, SLICE("id"), &m) == JSON_OK) {
        rv = take_once(call, &tool->id, &m);
    }
    if (rv == 0 && json_find(object, SLICE("function"), &m) == JSON_OK && m.kind != JSON_NULL) {
        rv = take_function(call, tool, m.value);
    }
    return rv;
}

int openai_tools_take(struct openai_call *call, struct slice tool_calls)
{
    struct json_member m;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, tool_calls, JSON_ARRAY);
    int rv = 0;

    for (size_t i = 0; rv == 0 && status == JSON_OK; i++) {
        status = json_walk_next(&w, &m);
        if (status == JSON_OK) {
            rv = take_tool(call, m.value, i);
        }
    }
    return rv < 0 || status == JSON_END ? rv : MCP_EUPSTREAM_ERROR;
}

static bool is_begun(const struct openai_tool_call *tool)
{
    return buf_len(&tool->name) > 0 || buf_len(&tool->id) > 0 || buf_len(&tool->arguments) > 0;
}

int openai_tools_check(const struct openai_tool_calls *tools, struct buf *out)
{
    for (size_t i = 0; i < tools->count; i++) {
        const struct openai_tool_call *tool = &tools->calls[i];
        enum json_kind kind;

        if (buf_len(&tool->arguments) == 0 ||
            (json_validate(buf_slice(&tool->arguments), &kind) == JSON_OK && kind == JSON_OBJECT)) {
            continue;
        }
        append(out, "the node sent a tool call whose arguments are not a JSON object: ");
        if (buf_len(&tool->name) > 0) {
            (void)json_unescape(buf_slice(&tool->name), out); /* sticky */
        }
        return buf_failed(out) ? MCP_ENOMEM : OPENAI_ERROR;
    }
    return 0;
}

void openai_tools_append(const struct openai_tool_calls *tools, struct buf *out)
{
    bool first = true;

    append(out, "[");
    for (size_t i = 0; i < tools->count; i++) {
        const struct openai_tool_call *tool = &tools->calls[i];

        if (!is_begun(tool)) {
            continue;
        }
        append(out, first ? "{" : ",{");
        first = false;
        if (buf_len(&tool->id) > 0) {
            append(out, "\"id\":");
            (void)buf_append(out, buf_slice(&tool->id));
            append(out, ",");
        }
        (void)buf_printf(out, "\"function\":{\"index\":%zu,\"name\":", i);
        (void)buf_append(out, buf_len(&tool->name) > 0 ? buf_slice(&tool->name) : SLICE("\"\""));
        append(out, ",\"arguments\":");
        openai_append_minified(out, buf_len(&tool->arguments) > 0 ? buf_slice(&tool->arguments)
                                                                  : SLICE("{}"));
        append(out, "}}");
    }
    append(out, "]");
}
