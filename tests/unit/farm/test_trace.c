/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "farm/trace.h"

#define HEAD "{\"mcpgate_record\":1,\"version\":\"0.1.0\"}"

static int add_all(struct farm_trace *t, const char *lines, struct err *e)
{
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        int rc = farm_trace_add(t, slice_of(lines, len), e);

        if (rc != MCP_OK) {
            return rc;
        }
        lines += len + (lines[len] == '\n');
    }
    return farm_trace_ready(t, e);
}

static void what_was_recorded(void **state)
{
    static const char lines[] = HEAD
        "\n{\"at_us\":5000000,\"op\":\"chat\",\"model\":\"b\",\"class\":\"batch\",\"tenant\":"
        "\"t2\","
        "\"in_bytes\":812,\"out_tokens\":7,\"code\":\"ok\",\"unknown\":[{}]}"
        "\n{\"dropped\":17}\n{\"another\":\"kind\"}"
        "\n{\"at_us\":1000000,\"op\":\"chat\",\"model\":\"a\",\"class\":\"interactive\","
        "\"tenant\":\"t1\",\"in_bytes\":800,\"in_tokens\":203,\"out_tokens\":100,\"code\":\"ok\","
        "\"prefix\":[\"00000000000000ff\",\"8A1f000000000001\"],\"prefix_bytes\":[400,800]}"
        "\n{\"at_us\":2000000,\"op\":\"chat\",\"model\":\"a\",\"tenant\":\"t2\",\"in_tokens\":3,"
        "\"code\":\"queue_full\"}\n"
        "{\"at_us\":3000000,\"op\":\"embed\",\"model\":\"a\",\"tenant\":\"t2\",\"in_tokens\":9,"
        "\"code\":\"ok\"}\n";
    struct farm_trace *t = farm_trace_new();
    struct farm_trace_source s = {.trace = t, .speed = 2};
    struct farm_request q;
    struct err e = {0};

    (void)state;
    assert_int_equal(add_all(t, lines, &e), MCP_OK);
    assert_int_equal(farm_trace_requests(t), 4);
    assert_int_equal(farm_trace_dropped(t), 17);
    assert_int_equal(farm_trace_models(t), 2);
    assert_int_equal(farm_trace_tenants(t), 2);
    assert_true(farm_trace_seconds(t) == 4);
    assert_true(farm_trace_next(&s, &q));
    assert_int_equal(q.due_us, 1);
    assert_true(slice_eq(farm_trace_model(t, q.model), SLICE("a")));
    assert_true(slice_eq(q.tenant, SLICE("t1")));
    assert_int_equal(q.class, SCHED_CLASS_INTERACTIVE);
    assert_int_equal(q.prompt_tokens, 203);
    assert_int_equal(q.answer_tokens, 100);
    assert_int_equal(q.prefix_count, 2);
    assert_true(q.prefix[0] == 0xff && q.prefix[1] == 0x8a1f000000000001);
    assert_true(q.prefix_tokens[0] == 100 && q.prefix_tokens[1] == 200);
    assert_true(farm_trace_next(&s, &q)); /* refused: as long as others of the model */
    assert_int_equal(q.due_us, 500001);
    assert_int_equal(q.answer_tokens, 100);
    assert_true(farm_trace_next(&s, &q));
    assert_int_equal(q.answer_tokens, 0);
    assert_true(farm_trace_next(&s, &q));
    assert_int_equal(q.due_us, 2000001);
    assert_int_equal(q.prompt_tokens, 203); /* 812 bytes */
    assert_int_equal(q.class, SCHED_CLASS_BATCH);
    assert_int_equal(q.prefix_count, 0);
    assert_false(farm_trace_next(&s, &q));
    farm_trace_free(&t);
}

static void what_is_no_recording(void **state)
{
    static const struct {
        const char *lines, *text;
    } bad[] = {
        {"", "there are no requests in it"},
        {HEAD "\n{\"dropped\":1}", "there are no requests in it"},
        {"{\"at_us\":1}", "expected {\"mcpgate_record\":1,...}"},
        {"{\"mcpgate_record\":2}", "expected {\"mcpgate_record\":1,...}"},
        {"hello", "expected a JSON object"},
        {HEAD "\n[1]", "expected a JSON object"},
        {HEAD "\n{\"at_us\":1,}", "expected a JSON object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct farm_trace *t = farm_trace_new();
        struct err e = {0};

        assert_int_equal(add_all(t, bad[i].lines, &e), MCP_EARGUMENT);
        assert_string_equal(e.text, bad[i].text);
        farm_trace_free(&t);
    }
}

/* Members of another kind than expected are as if they were not there. */
static void strange_members(void **state)
{
    static const char lines[] =
        HEAD "\n{\"at_us\":1,\"model\":7,\"tenant\":null,\"in_tokens\":-4,\"out_tokens\":\"x\","
             "\"prefix\":[1],\"prefix_bytes\":{}}"
             "\n{\"at_us\":9223372036854775807,\"model\":\"\",\"in_tokens\":9223372036854775807,"
             "\"prefix\":[\"zz\",\"\"],\"prefix_bytes\":[9223372036854775807]}";
    struct farm_trace *t = farm_trace_new();
    struct farm_trace_source s = {.trace = t, .speed = 0.001};
    struct farm_request q;
    struct err e = {0};

    (void)state;
    assert_int_equal(add_all(t, lines, &e), MCP_OK);
    assert_true(farm_trace_next(&s, &q));
    assert_int_equal(q.prefix_count, 0);
    assert_true(farm_trace_next(&s, &q));
    assert_int_equal(q.prompt_tokens, 1 << 24);
    assert_int_equal(q.prefix_count, 2);
    farm_trace_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_recorded),
        cmocka_unit_test(what_is_no_recording),
        cmocka_unit_test(strange_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
