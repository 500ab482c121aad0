/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's messages, images and tool calls as OpenAI has them. */
#include "node/openai_ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "node/openai_media.h"

/* OpenAI's tool messages name the call they answer by an id, Ollama's need not. A call without one
 * gets "call_N"; a result without one answers the first open call of its tool_name, else the first
 * open one. */
struct open_call {
    struct slice id; /* empty: made from `number` */
    size_t number;
    struct slice name;
    bool answered;
};

struct open_calls {
    struct open_call *calls;
    size_t count;
    size_t cap;
};

static struct open_call *open_call_add(struct open_calls *o)
{
    if (o->count == o->cap) {
        size_t cap = o->cap == 0 ? 8 : o->cap * 2;
        struct open_call *calls = realloc(o->calls, cap * sizeof(*calls));

        if (calls == NULL) {
            return NULL;
        }
        o->calls = calls;
        o->cap = cap;
    }
    o->calls[o->count] = (struct open_call){.number = o->count};
    return &o->calls[o->count++];
}

static struct open_call *open_call_find(const struct open_calls *o, struct slice id,
                                        struct slice name)
{
    struct open_call *first = NULL;

    for (size_t i = 0; i < o->count; i++) {
        struct open_call *c = &o->calls[i];

        if (c->answered) {
            continue;
        }
        if (id.len > 0 ? slice_eq(c->id, id) : name.len > 0 && slice_eq(c->name, name)) {
            return c;
        }
        first = first == NULL ? c : first;
    }
    return id.len > 0 ? NULL : first;
}

static void append_call_id(struct buf *out, const struct open_call *c)
{
    if (c->id.len > 0) {
        (void)json_append_string(out, c->id); /* sticky */
    } else {
        (void)buf_printf(out, "\"call_%zu\"", c->number); /* sticky */
    }
}

static int want_string(yyjson_val *val, const char *field, struct err *e)
{
    if (openai_is_null(val) || yyjson_is_str(val)) {
        return 0;
    }
    return err_set(e, MCP_EBAD_REQUEST, "%s must be a string", field);
}

static void append_text_part(struct buf *out, struct slice text)
{
    (void)buf_append_str(out, "{\"type\":\"text\",\"text\":"); /* sticky, as all below */
    (void)json_append_string(out, text);
    (void)buf_append_byte(out, '}');
}

/* "content": a string, or parts where there are images. */
static int append_content(struct buf *out, struct slice text, yyjson_val *images, struct err *e)
{
    yyjson_val *image;
    size_t i;
    size_t count;

    openai_append_key(out, "content");
    if (!openai_is_null(images) && !yyjson_is_arr(images)) {
        return err_set(e, MCP_EBAD_REQUEST, "images must be an array of strings");
    }
    if (!openai_is_set(images)) {
        (void)json_append_string(out, text);
        return 0;
    }
    (void)buf_append_byte(out, '[');
    if (text.len > 0) {
        append_text_part(out, text);
        (void)buf_append_byte(out, ',');
    }
    yyjson_arr_foreach(images, i, count, image)
    {
        int rv =
            yyjson_is_str(image) ? openai_media_append(out, openai_text(image)) : MCP_EBAD_REQUEST;

        if (rv < 0) {
            return err_set(e, rv, "images[%zu] is not base64", i);
        }
        if (i + 1 < count) {
            (void)buf_append_byte(out, ',');
        }
    }
    (void)buf_append_byte(out, ']');
    return 0;
}

static int append_arguments(struct buf *out, yyjson_val *arguments, struct err *e)
{
    struct buf text = {0};
    int rv = 0;

    openai_append_key(out, "arguments");
    if (openai_is_null(arguments)) {
        (void)buf_append_str(out, "\"{}\""); /* sticky */
        return 0;
    }
    if (!yyjson_is_obj(arguments)) {
        return err_set(e, MCP_EBAD_REQUEST, "tool_calls[].function.arguments must be an object");
    }
    rv = openai_json_append(&text, arguments);
    if (rv == 0) {
        (void)json_append_string(out, buf_slice(&text)); /* sticky */
    }
    buf_fini(&text);
    return rv;
}

static int append_tool_call(struct buf *out, yyjson_val *call, struct open_calls *open,
                            struct err *e)
{
    yyjson_val *function = openai_member(call, "function");
    yyjson_val *name = openai_member(function, "name");
    struct open_call *c;
    int rv;

    if (!yyjson_is_obj(function)) {
        return err_set(e, MCP_EBAD_REQUEST, "tool_calls[].function must be an object");
    }
    rv = want_string(name, "tool_calls[].function.name", e);
    if (rv == 0) {
        rv = want_string(openai_member(call, "id"), "tool_calls[].id", e);
    }
    if (rv < 0) {
        return rv;
    }
    c = open_call_add(open);
    if (c == NULL) {
        return MCP_ENOMEM;
    }
    c->id = openai_text(openai_member(call, "id"));
    c->name = openai_text(name);
    (void)buf_append_str(out, "{\"id\":"); /* sticky, as all below */
    append_call_id(out, c);
    (void)buf_append_str(out, ",\"type\":\"function\",\"function\":{\"name\":");
    (void)json_append_string(out, c->name);
    rv = append_arguments(out, openai_member(function, "arguments"), e);
    (void)buf_append_str(out, "}}");
    return rv;
}

static int append_tool_calls(struct buf *out, yyjson_val *calls, struct open_calls *open,
                             struct err *e)
{
    yyjson_val *call;
    size_t i;
    size_t count;

    if (!openai_is_null(calls) && !yyjson_is_arr(calls)) {
        return err_set(e, MCP_EBAD_REQUEST, "messages[].tool_calls must be an array");
    }
    if (!openai_is_set(calls)) {
        return 0;
    }
    openai_append_key(out, "tool_calls");
    (void)buf_append_byte(out, '['); /* sticky, as all below */
    yyjson_arr_foreach(calls, i, count, call)
    {
        int rv = append_tool_call(out, call, open, e);

        if (rv < 0) {
            return rv;
        }
        (void)buf_append_byte(out, i + 1 < count ? ',' : ']');
    }
    return 0;
}

/* "name" and "tool_call_id" of a tool's result. */
static void append_result_of(struct buf *out, yyjson_val *message, struct slice role,
                             const struct open_calls *open)
{
    struct slice id = openai_text(openai_member(message, "tool_call_id"));
    struct slice name = openai_text(openai_member(message, "tool_name"));
    struct open_call *c = NULL;

    if (name.len > 0) {
        openai_append_key(out, "name");
        (void)json_append_string(out, name); /* sticky */
    }
    if (slice_eq_case(role, SLICE("tool"))) {
        c = open_call_find(open, id, name);
    }
    if (c != NULL) {
        c->answered = true;
    }
    if (id.len > 0) {
        openai_append_key(out, "tool_call_id");
        (void)json_append_string(out, id); /* sticky */
    } else if (c != NULL) {
        openai_append_key(out, "tool_call_id");
        append_call_id(out, c);
    }
}

/* In lower case, as Ollama reads it. */
static void append_role(struct buf *out, struct slice role)
{
    size_t at;

    openai_append_key(out, "role");
    at = buf_len(out);
    (void)json_append_string(out, role); /* sticky */
    for (size_t i = at; !buf_failed(out) && i < buf_len(out); i++) {
        char *c = &out->data[out->head + i];

        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
    }
}

static int append_message(struct buf *out, yyjson_val *message, struct open_calls *open,
                          struct err *e)
{
    static const char *const strings[] = {"role", "content", "thinking", "tool_name",
                                          "tool_call_id"};
    yyjson_val *thinking = openai_member(message, "thinking");
    struct slice role = openai_text(openai_member(message, "role"));
    int rv = 0;

    if (!yyjson_is_obj(message)) {
        return err_set(e, MCP_EBAD_REQUEST, "messages must be an array of objects");
    }
    for (size_t i = 0; rv == 0 && i < sizeof(strings) / sizeof(strings[0]); i++) {
        char field[32];

        (void)snprintf(field, sizeof(field), "messages[].%s", strings[i]);
        rv = want_string(openai_member(message, strings[i]), field, e);
    }
    if (rv < 0) {
        return rv;
    }
    (void)buf_append_byte(out, '{'); /* sticky, as all below */
    append_role(out, role);
    rv = append_content(out, openai_text(openai_member(message, "content")),
                        openai_member(message, "images"), e);
    if (rv == 0 && openai_is_set(thinking)) {
        openai_append_key(out, "reasoning_content");
        (void)json_append_string(out, openai_text(thinking));
    }
    if (rv == 0) {
        rv = append_tool_calls(out, openai_member(message, "tool_calls"), open, e);
    }
    if (rv == 0) {
        append_result_of(out, message, role, open);
    }
    (void)buf_append_byte(out, '}');
    return rv;
}

int openai_messages_append(struct buf *out, yyjson_val *messages, struct err *e)
{
    struct open_calls open = {0};
    yyjson_val *message;
    size_t i;
    size_t count;
    int rv = 0;

    openai_append_key(out, "messages");
    (void)buf_append_byte(out, '['); /* sticky, as all below */
    yyjson_arr_foreach(messages, i, count, message)
    {
        rv = append_message(out, message, &open, e);
        if (rv < 0) {
            break;
        }
        if (i + 1 < count) {
            (void)buf_append_byte(out, ',');
        }
    }
    (void)buf_append_byte(out, ']');
    free(open.calls);
    return rv;
}

int openai_prompt_append(struct buf *out, struct slice system, struct slice prompt,
                         yyjson_val *images, struct err *e)
{
    int rv;

    openai_append_key(out, "messages");
    (void)buf_append_byte(out, '['); /* sticky, as all below */
    if (system.len > 0) {
        (void)buf_append_str(out, "{\"role\":\"system\",\"content\":");
        (void)json_append_string(out, system);
        (void)buf_append_str(out, "},");
    }
    (void)buf_append_str(out, "{\"role\":\"user\"");
    rv = append_content(out, prompt, images, e);
    (void)buf_append_str(out, "}]");
    return rv;
}
