/* SPDX-License-Identifier: Apache-2.0 */
#include "client/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"

enum { MOST = 16 * 1024 * 1024 };

struct row {
    const char *json;
    const char *sent; /* with the key "k"; NULL: refused */
    bool streams, repeatable;
    int rv;
};

static const struct row ROWS[] = {
    {"{\"model\":\"m\",\"prompt\":\"a\"}",
     "{\"mcp\":{\"auth\":\"k\"},\"model\":\"m\",\"prompt\":\"a\"}", true, true, 0},
    {" {  \"model\":\"m\", \"prompt\":\"a\", \"stream\":false } ",
     " {\"mcp\":{\"auth\":\"k\"},  \"model\":\"m\", \"prompt\":\"a\", \"stream\":false } ", false,
     true, 0},
    {"{\"mcp\":{\"op\":\"list\"}}", "{\"mcp\":{\"auth\":\"k\",\"op\":\"list\"}}", false, true, 0},
    {"{\"mcp\" : { \"op\":\"health\"}}", "{\"mcp\" : {\"auth\":\"k\", \"op\":\"health\"}}", false,
     true, 0},
    {"{\"prompt\":\"a\",\"mcp\":{ },\"model\":\"m\"}",
     "{\"prompt\":\"a\",\"mcp\":{\"auth\":\"k\" },\"model\":\"m\"}", true, true, 0},
    /* A key of its own stays. */
    {"{\"mcp\":{\"op\":\"ps\",\"auth\":\"own\"}}", "{\"mcp\":{\"op\":\"ps\",\"auth\":\"own\"}}",
     false, true, 0},
    /* What a session would have added is not there on a new connection. */
    {"{\"prompt\":\"a\"}", "{\"mcp\":{\"auth\":\"k\"},\"prompt\":\"a\"}", true, false, 0},
    {"{\"model\":\"m\",\"prompt\":\"a\",\"mcp\":{\"continue\":true}}",
     "{\"model\":\"m\",\"prompt\":\"a\",\"mcp\":{\"auth\":\"k\",\"continue\":true}}", true, false,
     0},
    {"{\"model\":\"m\",\"messages\":[]}",
     "{\"mcp\":{\"auth\":\"k\"},\"model\":\"m\",\"messages\":[]}", true, true, 0},
    {"{\"model\":\"m\",\"input\":\"x\"}",
     "{\"mcp\":{\"auth\":\"k\"},\"model\":\"m\",\"input\":\"x\"}", false, true, 0},
    {"{\"model\":\"m\",\"mcp\":{\"op\":\"pull\"}}",
     "{\"model\":\"m\",\"mcp\":{\"auth\":\"k\",\"op\":\"pull\"}}", true, true, 0},
    /* Never sent twice (protocol, section 3). */
    {"{\"model\":\"m\",\"mcp\":{\"op\":\"push\"}}",
     "{\"model\":\"m\",\"mcp\":{\"auth\":\"k\",\"op\":\"push\"}}", true, false, 0},
    {"{\"model\":\"m\",\"mcp\":{\"op\":\"create\"}}",
     "{\"model\":\"m\",\"mcp\":{\"auth\":\"k\",\"op\":\"create\"}}", true, false, 0},
    {"{\"source\":\"a\",\"destination\":\"b\",\"mcp\":{\"op\":\"copy\"}}",
     "{\"source\":\"a\",\"destination\":\"b\",\"mcp\":{\"auth\":\"k\",\"op\":\"copy\"}}", false,
     false, 0},
    {"{\"model\":\"m\",\"mcp\":{\"op\":\"delete\"}}",
     "{\"model\":\"m\",\"mcp\":{\"auth\":\"k\",\"op\":\"delete\"}}", false, false, 0},
    {"", NULL, false, false, MCP_EBAD_REQUEST},
    {"[1]", NULL, false, false, MCP_EBAD_REQUEST},
    {"{\"model\":\"m\"}", NULL, false, false, MCP_EBAD_REQUEST},
    {"{\"model\":\"m\",\"prompt\":\"a\",\"mcp\":1}", NULL, false, false, MCP_EBAD_REQUEST},
    {"{\"model\":\"m\",\"prompt\":\"a\",\"stream\":1}", NULL, false, false, MCP_EBAD_REQUEST},
    {"{\"mcp\":{\"op\":\"fly\"}}", NULL, false, false, MCP_EUNSUPPORTED_OP},
};

static void bodies_get_the_key_and_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct row *row = &ROWS[i];
        struct client_body body;
        struct buf out = {0};
        struct err e = {0};

        print_message("  %s\n", row->json);
        assert_int_equal(
            client_body_make(&body, &out, slice_str(row->json), SLICE("\"k\""), MOST, &e), row->rv);
        if (row->rv == 0) {
            assert_true(slice_eq(buf_slice(&out), slice_str(row->sent)));
            assert_int_equal(body.streams, row->streams);
            assert_int_equal(body.repeatable, row->repeatable);
            buf_clear(&out);
            assert_int_equal(
                client_body_make(&body, &out, slice_str(row->json), SLICE(""), MOST, &e), 0);
            assert_true(slice_eq(buf_slice(&out), slice_str(row->json))); /* no key, no edit */
        } else {
            assert_int_equal(e.code, row->rv);
            assert_true(e.text[0] != '\0');
        }
        buf_fini(&out);
    }
}

static void bodies_are_bounded(void **state)
{
    const size_t most = 16 * 1024 * 1024;
    const char *head = "{\"model\":\"m\",\"prompt\":\"";
    char *json = malloc(most + 1);
    struct client_body body;
    struct buf out = {0};
    struct err e;

    (void)state;
    assert_non_null(json);
    memset(json, 'a', most + 1);
    memcpy(json, head, strlen(head));
    memcpy(json + most - 2, "\"} ", 3);
    assert_int_equal(client_body_make(&body, &out, slice_of(json, most), SLICE(""), MOST, &e), 0);
    buf_clear(&out);
    assert_int_equal(client_body_make(&body, &out, slice_of(json, most + 1), SLICE(""), MOST, &e),
                     MCP_ETOO_LARGE);
    buf_clear(&out);
    assert_int_equal(client_body_make(&body, &out, slice_of(json, most), SLICE("\"k\""), MOST, &e),
                     MCP_ETOO_LARGE);
    buf_fini(&out);
    free(json);
}

static void make_without_memory(void *arg)
{
    struct client_body body;
    struct buf out = {0};
    struct err e;
    int rv = client_body_make(&body, &out, slice_str(ROWS[0].json), SLICE("\"k\""), MOST, &e);

    (void)arg;
    assert_int_equal(rv, buf_failed(&out) ? MCP_ENOMEM : 0);
    buf_fini(&out);
}

static void memory_may_be_out(void **state)
{
    (void)state;
    alloc_fault_each(make_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_get_the_key_and_are_understood),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(memory_may_be_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
