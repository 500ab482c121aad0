/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/face/shape.h"

static void check(struct buf *b, const char *expected)
{
    assert_true(buf_append_byte(b, '\0'));
    assert_string_equal(b->data + b->head, expected);
    buf_fini(b);
}

static void whole_errors(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_true(shape_error(SHAPE_OLLAMA, 404, SLICE("model 'x' not found"), SLICE("r"), &b));
    check(&b, "{\"error\":\"model 'x' not found\"}");
    assert_true(shape_error(SHAPE_OPENAI, 404, SLICE("no"), SLICE("r"), &b));
    check(&b, "{\"error\":{\"message\":\"no\",\"type\":\"not_found_error\",\"param\":null,"
              "\"code\":null}}");
    assert_true(shape_error(SHAPE_ANTHROPIC, 503, SLICE("no"), SLICE("r"), &b));
    check(&b, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"no\"},"
              "\"request_id\":\"r\"}");
}

static void errors_inside_a_stream(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_true(
        shape_stream_error(SHAPE_OLLAMA, SHAPE_STREAM_NDJSON, 502, SLICE("cut"), SLICE("r"), &b));
    check(&b, "{\"error\":\"cut\"}\n");
    assert_true(
        shape_stream_error(SHAPE_OPENAI, SHAPE_STREAM_SSE, 502, SLICE("cut"), SLICE("r"), &b));
    check(&b, "data: {\"error\":{\"message\":\"cut\",\"type\":\"api_error\",\"param\":null,"
              "\"code\":null}}\n\n");
    assert_true(
        shape_stream_error(SHAPE_ANTHROPIC, SHAPE_STREAM_SSE, 502, SLICE("cut"), SLICE("r"), &b));
    check(&b, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\","
              "\"message\":\"cut\"},\"request_id\":\"r\"}\n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_errors),
        cmocka_unit_test(errors_inside_a_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
