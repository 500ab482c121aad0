/* SPDX-License-Identifier: Apache-2.0 */
#include "client/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"

static const struct {
    const char *payload;
    bool whole, last;
    int error;
    const char *text;
    uint64_t retry_after_ms;
} ROWS[] = {
    {"{\"done\":false}", false, false, 0, "", 0},
    {"{\"done\":true}", false, true, 0, "", 0},
    {"{\"a\":{\"done\":true}}", false, false, 0, "", 0},
    {"{\"models\":[]}", true, true, 0, "", 0},
    {"not JSON", true, true, 0, "", 0},
    {"{\"error\":\"x\",\"code\":\"cancelled\",\"done\":true}", false, true, MCP_ECANCELLED, "x", 0},
    {"{\"error\":\"x\",\"code\":\"cancelled\"}", false, true, MCP_ECANCELLED, "x", 0},
    {"{\"done\":true,\"code\":\"queue_full\",\"retry_after_ms\":7,\"error\":\"\\u00e4\\n\"}", true,
     true, MCP_EQUEUE_FULL, "\xc3\xa4\n", 7},
    {"{\"error\":\"x\",\"retry_after_ms\":\"soon\"}", true, true, MCP_EINTERNAL, "x", 0},
    {"{\"error\":\"x\",\"code\":\"from the future\"}", true, true, MCP_EINTERNAL, "x", 0},
    {"{\"error\":\"x\",\"code\":7}", true, true, MCP_EINTERNAL, "x", 0},
    {"{\"error\":{\"message\":\"x\"},\"code\":\"internal\"}", true, true, MCP_EINTERNAL,
     "an error inside the gateway", 0},
};

static void payloads_are_parts_or_errors(void **state)
{
    struct mcp_part part;

    (void)state;
    client_part_init(&part);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        size_t len;

        print_message("  %s\n", ROWS[i].payload);
        client_part_read(&part, 5, slice_str(ROWS[i].payload), ROWS[i].whole);
        assert_int_equal(mcp_part_session(&part), 5);
        assert_ptr_equal(mcp_part_data(&part, &len), ROWS[i].payload);
        assert_int_equal(mcp_part_last(&part), ROWS[i].last);
        assert_int_equal(mcp_part_error(&part), ROWS[i].error);
        assert_string_equal(mcp_part_error_text(&part), ROWS[i].text);
        assert_int_equal(mcp_part_retry_after_ms(&part), ROWS[i].retry_after_ms);
    }
    client_part_fini(&part);
}

static void make_error(void *arg)
{
    struct mcp_part part;
    size_t len;

    (void)arg;
    client_part_init(&part);
    client_part_make_error(&part, 9, MCP_ECLOSED, "gone \"away\"");
    assert_true(mcp_part_last(&part));
    assert_int_equal(mcp_part_error(&part), MCP_ECLOSED);
    assert_true(mcp_part_data(&part, &len)[0] == '{' && len > 0);
    assert_true(mcp_part_error_text(&part)[0] != '\0');
    client_part_fini(&part);
}

static void errors_are_made_without_memory_too(void **state)
{
    (void)state;
    alloc_fault_each(make_error, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_are_parts_or_errors),
        cmocka_unit_test(errors_are_made_without_memory_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
