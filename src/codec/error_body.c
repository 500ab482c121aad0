/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/error_body.h"

#include <inttypes.h>

#include "base/json_scan.h"
#include "base/utf8.h"

enum { NODE_TEXT_BYTES_MAX = 8192 };

bool error_body_mcp(struct buf *out, int code, struct slice text, uint64_t retry_after_ms,
                    uint32_t session)
{
    bool ok = buf_append(out, SLICE("{\"error\":")) && json_append_string(out, text) &&
              buf_printf(out, ",\"code\":\"%s\",\"retryable\":%s", mcp_error_name(code),
                         mcp_error_retryable(code) ? "true" : "false");

    if (ok && retry_after_ms > 0) {
        ok = buf_printf(out, ",\"retry_after_ms\":%" PRIu64, retry_after_ms);
    }
    if (ok && session != ERROR_NO_SESSION) {
        ok = buf_printf(out, ",\"session\":%" PRIu32, session);
    }
    return ok && buf_append(out, SLICE(",\"done\":true}"));
}

bool error_body_mcp_from_node(struct buf *out, int code, struct slice node_body)
{
    struct buf text;
    struct slice cut;
    bool ok;

    buf_init(&text, 0);
    ok = error_text_from_node(node_body, &text);
    cut = utf8_first(buf_slice(&text), NODE_TEXT_BYTES_MAX);
    if (cut.len == 0) { /* an empty text would read as no error */
        cut = slice_str(mcp_error_text(code));
    }
    ok = ok && error_body_mcp(out, code, cut, 0, ERROR_NO_SESSION);
    buf_fini(&text);
    return ok;
}

bool error_body_ollama(struct buf *out, struct slice text)
{
    return buf_append(out, SLICE("{\"error\":")) && json_append_string(out, text) &&
           buf_append_byte(out, '}');
}

/* As NewError in Ollama's openai package. */
static const char *openai_type(int http_status)
{
    switch (http_status) {
    case 400:
        return "invalid_request_error";
    case 404:
        return "not_found_error";
    default:
        return "api_error";
    }
}

bool error_body_openai(struct buf *out, int http_status, struct slice text)
{
    return buf_append(out, SLICE("{\"error\":{\"message\":")) && json_append_string(out, text) &&
           buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":null}}",
                      openai_type(http_status));
}

/* As NewError in Ollama's anthropic package. */
static const char *anthropic_type(int http_status)
{
    switch (http_status) {
    case 400:
        return "invalid_request_error";
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 503:
    case 529:
        return "overloaded_error";
    default:
        return "api_error";
    }
}

bool error_body_anthropic(struct buf *out, int http_status, struct slice text,
                          struct slice request_id)
{
    bool ok = buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                         anthropic_type(http_status)) &&
              json_append_string(out, text) && buf_append_byte(out, '}');

    if (ok && request_id.len > 0) {
        ok = buf_append(out, SLICE(",\"request_id\":")) && json_append_string(out, request_id);
    }
    return ok && buf_append_byte(out, '}');
}

int error_code_from_status(int http_status)
{
    switch (http_status) {
    case 400:
        return MCP_EBAD_REQUEST;
    case 404:
        return MCP_EUNKNOWN_MODEL;
    case 503:
        return MCP_EQUEUE_FULL;
    default:
        return MCP_EUPSTREAM_ERROR;
    }
}

bool error_text_from_node(struct slice node_body, struct buf *out)
{
    struct json_member error;
    struct json_member message;

    if (json_validate(node_body, NULL) == JSON_OK &&
        json_find(node_body, SLICE("error"), &error) == JSON_OK) {
        if (error.kind == JSON_STRING) {
            return json_unescape(error.value, out);
        }
        if (error.kind == JSON_OBJECT &&
            json_find(error.value, SLICE("message"), &message) == JSON_OK &&
            message.kind == JSON_STRING) {
            return json_unescape(message.value, out);
        }
    }
    while (node_body.len > 0 &&
           (node_body.ptr[node_body.len - 1] == '\n' || node_body.ptr[node_body.len - 1] == '\r')) {
        node_body.len--;
    }
    return buf_append(out, node_body);
}
