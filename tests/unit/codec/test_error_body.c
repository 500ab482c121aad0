/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/json_scan.h"
#include "codec/error_body.h"

static void assert_holds(struct buf *out, const char *wanted)
{
    if (!slice_eq(buf_slice(out), slice_str(wanted))) {
        fail_msg("%.*s, not %s", SLICE_ARG(buf_slice(out)), wanted);
    }
    buf_clear(out);
}

static void shapes(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    assert_true(error_body_mcp(&out, MCP_EBAD_REQUEST, SLICE("no \"op\""), 0, ERROR_NO_SESSION));
    assert_holds(&out, "{\"error\":\"no \\\"op\\\"\",\"code\":\"bad_request\",\"retryable\":false,"
                       "\"done\":true}");
    assert_true(error_body_mcp(&out, MCP_EQUEUE_FULL, SLICE("full"), 1500, UINT32_MAX));
    assert_holds(&out, "{\"error\":\"full\",\"code\":\"queue_full\",\"retryable\":true,"
                       "\"retry_after_ms\":1500,\"session\":4294967295,\"done\":true}");
    assert_true(error_body_ollama(&out, SLICE("a\n\xFF")));
    assert_holds(&out, "{\"error\":\"a\\n\xEF\xBF\xBD\"}");
    assert_true(error_body_openai(&out, 400, SLICE("x")));
    assert_holds(&out, "{\"error\":{\"message\":\"x\",\"type\":\"invalid_request_error\","
                       "\"param\":null,\"code\":null}}");
    assert_true(error_body_anthropic(&out, 503, SLICE("x"), SLICE("req_1")));
    assert_holds(&out, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                       "\"message\":\"x\"},\"request_id\":\"req_1\"}");
    assert_true(error_body_anthropic(&out, 500, SLICE("x"), SLICE("")));
    assert_holds(&out, "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}");
    buf_fini(&out);
}

static void types_by_status(void **state)
{
    static const struct {
        int http_status;
        const char *openai;
        const char *anthropic;
    } types[] = {
        {400, "invalid_request_error", "invalid_request_error"},
        {401, "api_error", "authentication_error"},
        {403, "api_error", "permission_error"},
        {404, "not_found_error", "not_found_error"},
        {429, "api_error", "rate_limit_error"},
        {500, "api_error", "api_error"},
        {502, "api_error", "api_error"},
        {503, "api_error", "overloaded_error"},
        {529, "api_error", "overloaded_error"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct json_member error;
        struct json_member type;

        buf_clear(&out);
        assert_true(error_body_openai(&out, types[i].http_status, SLICE("x")));
        assert_int_equal(json_find(buf_slice(&out), SLICE("error"), &error), JSON_OK);
        assert_int_equal(json_find(error.value, SLICE("type"), &type), JSON_OK);
        assert_memory_equal(type.value.ptr + 1, types[i].openai, strlen(types[i].openai));
        buf_clear(&out);
        assert_true(error_body_anthropic(&out, types[i].http_status, SLICE("x"), SLICE("r")));
        assert_int_equal(json_find(buf_slice(&out), SLICE("error"), &error), JSON_OK);
        assert_int_equal(json_find(error.value, SLICE("type"), &type), JSON_OK);
        assert_memory_equal(type.value.ptr + 1, types[i].anthropic, strlen(types[i].anthropic));
    }
    buf_fini(&out);
}

static void codes_by_status(void **state)
{
    (void)state;
    assert_int_equal(error_code_from_status(400), MCP_EBAD_REQUEST);
    assert_int_equal(error_code_from_status(404), MCP_EUNKNOWN_MODEL);
    assert_int_equal(error_code_from_status(503), MCP_EQUEUE_FULL);
    assert_int_equal(error_code_from_status(401), MCP_EUPSTREAM_ERROR);
    assert_int_equal(error_code_from_status(499), MCP_EUPSTREAM_ERROR);
    assert_int_equal(error_code_from_status(500), MCP_EUPSTREAM_ERROR);
    assert_int_equal(error_code_from_status(502), MCP_EUPSTREAM_ERROR);
}

static void texts_of_nodes(void **state)
{
    static const struct {
        struct slice body;
        const char *text;
    } bodies[] = {
        {SLICE("{\"error\":\"model 'x' not found\"}"), "model 'x' not found"},
        {SLICE("{\"error\":\"a\\u00e9\\n\"}"), "a\xC3\xA9\n"},
        {SLICE("{\"error\":{\"code\":400,\"message\":\"too long\",\"type\":\"t\"}}"), "too long"},
        {SLICE("{\"type\":\"error\",\"error\":{\"type\":\"t\",\"message\":\"busy\"}}"), "busy"},
        {SLICE("{\"error\":5}"), "{\"error\":5}"},
        {SLICE("{\"error\":{\"message\":5}}"), "{\"error\":{\"message\":5}}"},
        {SLICE("{\"detail\":\"Not Found\"}"), "{\"detail\":\"Not Found\"}"},
        {SLICE("404 page not found\r\n"), "404 page not found"},
        {SLICE("{\"error\":\"cut"), "{\"error\":\"cut"},
        {SLICE(""), ""},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_true(error_text_from_node(bodies[i].body, &out));
        assert_holds(&out, bodies[i].text);
    }
    assert_true(error_body_mcp_from_node(&out, MCP_EUNKNOWN_MODEL, bodies[0].body));
    assert_holds(&out, "{\"error\":\"model 'x' not found\",\"code\":\"unknown_model\","
                       "\"retryable\":false,\"done\":true}");
    assert_true(error_body_mcp_from_node(&out, MCP_EUPSTREAM_ERROR, SLICE("")));
    assert_holds(&out, "{\"error\":\"the node answered with an error\",\"code\":\"upstream_error\","
                       "\"retryable\":true,\"done\":true}");
    buf_fini(&out);
}

/* "a", then two-byte characters: 8192 bytes would cut one of them in two. */
static void long_texts_are_cut(void **state)
{
    static char body[20001];
    struct json_member error;
    struct buf out;

    (void)state;
    body[0] = 'a';
    for (size_t i = 1; i < sizeof(body); i += 2) {
        memcpy(body + i, "\xC3\xA9", 2);
    }
    buf_init(&out, 0);
    assert_true(error_body_mcp_from_node(&out, MCP_EUPSTREAM_ERROR, slice_of(body, sizeof(body))));
    assert_int_equal(json_find(buf_slice(&out), SLICE("error"), &error), JSON_OK);
    assert_int_equal(error.value.len, 8191 + 2);
    assert_memory_equal(error.value.ptr + 1, body, 8191);
    buf_fini(&out);
}

static void write_all(void *arg)
{
    struct buf out;
    bool ok;

    (void)arg;
    buf_init(&out, 0);
    ok = error_body_mcp_from_node(&out, MCP_EUPSTREAM_ERROR, SLICE("{\"error\":\"x\"}"));
    assert_true(!ok || json_validate(buf_slice(&out), NULL) == JSON_OK);
    buf_release(&out);
    ok = error_body_openai(&out, 400, SLICE("x"));
    assert_int_equal(ok, !buf_failed(&out));
    assert_true(!ok || json_validate(buf_slice(&out), NULL) == JSON_OK);
    buf_fini(&out);
}

static void no_room_and_no_memory(void **state)
{
    struct slice text = SLICE("x\n\"");
    size_t enough = SIZE_MAX;
    struct buf out;

    (void)state;
    for (size_t room = 1; room <= 200; room++) {
        bool ok;

        buf_init(&out, room);
        ok = error_body_mcp(&out, MCP_EQUEUE_FULL, text, 10, 5);
        assert_int_equal(ok, !buf_failed(&out));
        assert_true(ok ? json_validate(buf_slice(&out), NULL) == JSON_OK : enough == SIZE_MAX);
        enough = ok && enough == SIZE_MAX ? room : enough;
        buf_clear(&out);
        ok = error_body_anthropic(&out, 400, text, text);
        assert_int_equal(ok, !buf_failed(&out));
        buf_fini(&out);
    }
    assert_in_range(enough, 50, 199);
    alloc_fault_each(write_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(types_by_status),
        cmocka_unit_test(codes_by_status),
        cmocka_unit_test(texts_of_nodes),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(no_room_and_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
