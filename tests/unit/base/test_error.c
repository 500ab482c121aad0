/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "mcp/error.h"

/* protocol.md section 4; the last two have no HTTP status there. */
static const struct {
    int code;
    const char *name;
    int http_status;
    bool retryable;
} on_the_wire[] = {
    {MCP_EBAD_REQUEST, "bad_request", 400, false},
    {MCP_EUNAUTHORIZED, "unauthorized", 401, false},
    {MCP_EFORBIDDEN, "forbidden", 403, false},
    {MCP_EUNKNOWN_MODEL, "unknown_model", 404, false},
    {MCP_ETOO_LARGE, "too_large", 413, false},
    {MCP_ERATE_LIMITED, "rate_limited", 429, true},
    {MCP_ECANCELLED, "cancelled", 499, false},
    {MCP_EINTERNAL, "internal", 500, false},
    {MCP_EUNSUPPORTED_OP, "unsupported_op", 501, false},
    {MCP_EUPSTREAM_ERROR, "upstream_error", 502, true},
    {MCP_ENODE_UNAVAILABLE, "node_unavailable", 503, true},
    {MCP_EQUEUE_FULL, "queue_full", 503, true},
    {MCP_ESHUTTING_DOWN, "shutting_down", 503, true},
    {MCP_EDEADLINE_EXCEEDED, "deadline_exceeded", 504, false},
    {MCP_ESTREAM_INTERRUPTED, "stream_interrupted", 502, true},
    {MCP_EUNSUPPORTED_VERSION, "unsupported_version", 400, false},
    {MCP_ESESSION_BUSY, "session_busy", 409, true},
};

static void table_is_the_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(on_the_wire) / sizeof(on_the_wire[0]); i++) {
        int code = on_the_wire[i].code;

        assert_int_equal(code, -1 - (int)i);
        assert_string_equal(mcp_error_name(code), on_the_wire[i].name);
        assert_int_equal(mcp_error_http_status(code), on_the_wire[i].http_status);
        assert_int_equal(mcp_error_retryable(code), on_the_wire[i].retryable);
    }
}

static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int code = -1; code >= -(int)MCP_ORDINAL_COUNT; code--) {
        const char *name = mcp_error_name(code);

        assert_int_equal(mcp_error_from_name(name, strlen(name)), code);
        assert_true(strlen(mcp_error_text(code)) > 0);
        assert_in_range(mcp_error_http_status(code), 400, 599);
    }
}

static void zero_and_unknown_codes(void **state)
{
    static const int unknown[] = {1, 400, -1000, INT32_MAX, INT32_MIN};

    (void)state;
    assert_string_equal(mcp_error_name(MCP_OK), "ok");
    assert_int_equal(mcp_error_http_status(MCP_OK), 200);
    assert_false(mcp_error_retryable(MCP_OK));
    assert_string_equal(mcp_error_text(MCP_OK), "no error");
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_string_equal(mcp_error_name(unknown[i]), "internal");
        assert_int_equal(mcp_error_http_status(unknown[i]), 500);
        assert_false(mcp_error_retryable(unknown[i]));
    }
    assert_int_equal(mcp_error_from_name("bad_reques", 10), MCP_EINTERNAL);
    assert_int_equal(mcp_error_from_name("bad_requests", 12), MCP_EINTERNAL);
    assert_int_equal(mcp_error_from_name("bad_requests", 11), MCP_EBAD_REQUEST);
    assert_int_equal(mcp_error_from_name("", 0), MCP_EINTERNAL);
}

static void err_holds_code_and_text(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(err_set(&e, MCP_ECONNECT, "port %d", 8080), MCP_ECONNECT);
    assert_int_equal(e.code, MCP_ECONNECT);
    assert_string_equal(e.text, "port 8080");
    err_prefix(&e, "node %s", "a");
    assert_string_equal(e.text, "node a: port 8080");
    assert_int_equal(e.code, MCP_ECONNECT);
    assert_int_equal(err_set(NULL, MCP_ENOMEM, "nobody asks"), MCP_ENOMEM);
}

static void long_texts_are_cut(void **state)
{
    char text[400];
    struct err e;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)err_set(&e, MCP_ENOMEM, "%s", text); /* the code it returns is the one given */
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_prefix(&e, "p");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "p: x", 4);
    err_prefix(&e, "%s", text);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "xxxx", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_the_protocol),
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(zero_and_unknown_codes),
        cmocka_unit_test(err_holds_code_and_text),
        cmocka_unit_test(long_texts_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
