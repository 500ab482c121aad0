/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of streams that openai_assemble.c hands out as whole answers: the last event of
 * /v1/responses, and errors. */
#include "node/openai_assemble.h"

#include "base/json_scan.h"
#include "mcp/error.h"

static struct slice find(struct slice object, struct slice name)
{
    struct json_member m;

    return json_find(object, name, &m) == JSON_OK ? m.value : SLICE("");
}

/* llama.cpp's server leaves the status of an item that is thinking out of its streams. */
static void append_item(const struct json_member *item, bool completed, struct buf *out)
{
    if (!completed || item->kind != JSON_OBJECT || find(item->value, SLICE("type")).len == 0 ||
        find(item->value, SLICE("status")).len > 0) {
        (void)buf_append(out, item->value); /* sticky, as all here */
        return;
    }
    (void)buf_append(out, slice_first(item->value, item->value.len - 1));
    (void)buf_append_str(out, ",\"status\":\"completed\"}");
}

static void append_output(struct slice output, bool completed, struct buf *out)
{
    struct json_member item;
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, output, JSON_ARRAY);
    const char *before = "[";

    while (status == JSON_OK && json_walk_next(&w, &item) == JSON_OK) {
        (void)buf_append_str(out, before);
        append_item(&item, completed, out);
        before = ",";
    }
    (void)buf_append_str(out, before[0] == '[' ? "[]" : "]");
}

/* It makes created_at and completed_at of the same second, and tells one of them in a stream. */
int openai_response_append(struct slice response, struct buf *out)
{
    bool completed = slice_eq(find(response, SLICE("status")), SLICE("\"completed\""));
    struct slice created_at = find(response, SLICE("created_at"));
    struct slice output = find(response, SLICE("output"));
    struct slice rest = response;

    if (output.len > 0 && output.ptr[0] == '[') {
        (void)buf_append(out, slice_of(response.ptr, (size_t)(output.ptr - response.ptr)));
        append_output(output, completed, out);
        rest = slice_skip(response, (size_t)(output.ptr - response.ptr) + output.len);
    }
    (void)buf_append(out, slice_first(rest, rest.len - 1));
    if (completed && created_at.len > 0 && find(response, SLICE("completed_at")).len == 0) {
        (void)buf_append_str(out, ",\"completed_at\":");
        (void)buf_append(out, created_at);
    }
    (void)buf_append_byte(out, '}');
    return buf_failed(out) ? MCP_ENOMEM : 0;
}

unsigned openai_error_status(struct slice data)
{
    static const struct {
        struct slice type;
        unsigned status;
    } types[] = {
        {SLICE("\"invalid_request_error\""), 400}, {SLICE("\"exceed_context_size_error\""), 400},
        {SLICE("\"authentication_error\""), 401},  {SLICE("\"permission_error\""), 403},
        {SLICE("\"not_found_error\""), 404},       {SLICE("\"rate_limit_error\""), 429},
        {SLICE("\"not_supported_error\""), 501},   {SLICE("\"unavailable_error\""), 503},
        {SLICE("\"overloaded_error\""), 503},
    };
    struct slice error = find(data, SLICE("error"));
    struct slice said = error.len > 0 && error.ptr[0] == '{' ? error : data;
    struct slice type = find(said, SLICE("type"));
    uint64_t code;

    if (json_uint(find(said, SLICE("code")), &code) && code >= 400 && code <= 599) {
        return (unsigned)code;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (slice_eq(type, types[i].type)) {
            return types[i].status;
        }
    }
    return 500;
}
