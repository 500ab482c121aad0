/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/request.h"
#include "request_check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void every_member_of_mcp(void **state)
{
    struct slice body = SLICE(
        "{\"mcp\":{\"op\":\"ch\\u0061t\",\"deadline_ms\":1500,\"priority\":\"batch\","
        "\"tags\":{\"team\":\"a\",\"\":\"\"},\"continue\":true,\"resume\":false,"
        "\"idempotency_key\":\"k\",\"traceparent\":\"00-1\",\"auth\":\"s\\n\",\"tenant\":\"t\","
        "\"hops\":2,\"later\":[null]}}");
    struct request r;
    struct err e;

    (void)state;
    assert_int_equal(request_read(&r, body, REQUEST_FROM_MCP, &e), MCP_OK);
    assert_int_equal(r.mcp.op, OP_CHAT);
    assert_false(r.mcp.op_unknown);
    assert_true(r.mcp.has_deadline);
    assert_int_equal(r.mcp.deadline_ms, 1500);
    assert_int_equal(r.mcp.priority, PRIORITY_BATCH);
    assert_true(slice_eq(r.mcp.tags, SLICE("{\"team\":\"a\",\"\":\"\"}")));
    assert_true(r.mcp.continues);
    assert_false(r.mcp.resume);
    assert_true(slice_eq(r.mcp.idempotency_key, SLICE("\"k\"")));
    assert_true(slice_eq(r.mcp.traceparent, SLICE("\"00-1\"")));
    assert_true(slice_eq(r.mcp.auth, SLICE("\"s\\n\"")));
    assert_true(slice_eq(r.mcp.tenant, SLICE("\"t\"")));
    assert_true(r.mcp.has_hops);
    assert_int_equal(r.mcp.hops, 2);
}

static void wrong_members_of_mcp(void **state)
{
    static const struct slice values[] = {
        SLICE("null"),
        SLICE("1"),
        SLICE("\"{}\""),
        SLICE("[]"),
        SLICE("true"),
        SLICE("{\"op\":1}"),
        SLICE("{\"op\":null}"),
        SLICE("{\"op\":[\"chat\"]}"),
        SLICE("{\"op\":\"chat\",\"op\":\"chat\"}"),
        SLICE("{\"op\":\"chat\",\"\\u006fp\":\"chat\"}"),
        SLICE("{\"\\u006fp\":\"chat\",\"\\u006Fp\":\"chat\"}"),
        SLICE("{\"x\":1,\"op\":\"chat\",\"x\":1}"),
        SLICE("{\"\\ud800\":1,\"\\udfff\":1}"),
        SLICE("{\"deadline_ms\":\"1\"}"),
        SLICE("{\"deadline_ms\":-1}"),
        SLICE("{\"deadline_ms\":1.5}"),
        SLICE("{\"deadline_ms\":1e3}"),
        SLICE("{\"deadline_ms\":9223372036854775808}"),
        SLICE("{\"priority\":\"high\"}"),
        SLICE("{\"priority\":\"Batch\"}"),
        SLICE("{\"priority\":1}"),
        SLICE("{\"priority\":\"\"}"),
        SLICE("{\"tags\":[]}"),
        SLICE("{\"tags\":\"a\"}"),
        SLICE("{\"tags\":{\"a\":1}}"),
        SLICE("{\"tags\":{\"a\":null}}"),
        SLICE("{\"tags\":{\"a\":\"1\",\"a\":\"2\"}}"),
        SLICE("{\"continue\":1}"),
        SLICE("{\"continue\":\"true\"}"),
        SLICE("{\"resume\":null}"),
        SLICE("{\"idempotency_key\":1}"),
        SLICE("{\"traceparent\":{}}"),
        SLICE("{\"auth\":null}"),
        SLICE("{\"tenant\":[\"t\"]}"),
        SLICE("{\"hops\":-1}"),
        SLICE("{\"hops\":\"1\"}"),
    };
    struct buf body;

    (void)state;
    buf_init(&body, 0);
    for (size_t i = 0; i < COUNT(values); i++) {
        buf_clear(&body);
        assert_true(buf_printf(&body, "{\"mcp\":%.*s}", SLICE_ARG(values[i])));
        request_check_code(values[i], request_check_read(buf_slice(&body), REQUEST_FROM_MCP),
                           MCP_EBAD_REQUEST);
        request_check_code(values[i], request_check_read(buf_slice(&body), REQUEST_FROM_HTTP),
                           MCP_OK);
    }
    buf_fini(&body);
}

static void harmless_members_of_mcp(void **state)
{
    static const struct slice values[] = {
        SLICE("{}"),
        SLICE("{\"Op\":1,\"OP\":2}"),
        SLICE("{\"x\":{\"op\":1,\"op\":2}}"),
        SLICE("{\"deadline_ms\":0}"),
        SLICE("{\"tags\":{}}"),
        SLICE("{\"\\u0061\":1,\"\\u0061b\":2,\"\\u0061\\u0062c\":3}"),
    };
    struct buf body;

    (void)state;
    buf_init(&body, 0);
    for (size_t i = 0; i < COUNT(values); i++) {
        buf_clear(&body);
        assert_true(buf_printf(&body, "{\"mcp\":%.*s}", SLICE_ARG(values[i])));
        request_check_code(values[i], request_check_read(buf_slice(&body), REQUEST_FROM_MCP),
                           MCP_OK);
    }
    buf_fini(&body);
}

static void members_of_mcp_are_counted(void **state)
{
    static const char *const heads[] = {"{\"mcp\":{", "{\"mcp\":{\"tags\":{"};
    static const char *const ends[] = {"}}", "}}}"};
    struct buf body;

    (void)state;
    buf_init(&body, 0);
    for (int count = 64; count <= 65; count++) {
        for (size_t form = 0; form < 2; form++) {
            buf_clear(&body);
            assert_true(buf_append_str(&body, heads[form]));
            for (int i = 0; i < count; i++) {
                assert_true(buf_printf(&body, "%s\"k%d\":\"\"", i == 0 ? "" : ",", i));
            }
            assert_true(buf_append_str(&body, ends[form]));
            assert_int_equal(request_check_read(buf_slice(&body), REQUEST_FROM_MCP),
                             count == 64 ? MCP_OK : MCP_EBAD_REQUEST);
        }
    }
    buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_of_mcp),
        cmocka_unit_test(wrong_members_of_mcp),
        cmocka_unit_test(harmless_members_of_mcp),
        cmocka_unit_test(members_of_mcp_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
