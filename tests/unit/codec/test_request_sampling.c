/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/request_sampling.h"

static void options(void **state)
{
    static const char *const fixed[] = {
        "{\"temperature\":0}", "{\"top_k\":1,\"temperature\": 0.00e7}", "{\"temperature\":-0}",
        "{\"seed\":0}",        "{\"temperature\":0.7,\"seed\":42}",
    };
    static const char *const open[] = {
        "",
        "null",
        "[0]",
        "{}",
        "{\"temperature\":0.7}",
        "{\"temperature\":null}",
        "{\"temperature\":\"0\"}",
        "{\"seed\":-1}",
        "{\"seed\":\"1\"}",
        "{\"stop\":[\"seed\"]}",
        "{\"stop\":{\"seed\":1,\"temperature\":0}}",
        "{\"temperature\":1e0}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        assert_true(sampling_is_fixed_by(slice_str(fixed[i])));
    }
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        assert_false(sampling_is_fixed_by(slice_str(open[i])));
    }
}

static bool is_fixed(const char *body)
{
    struct request r;

    assert_int_equal(request_read(&r, slice_str(body), REQUEST_FROM_HTTP, NULL), 0);
    return sampling_is_fixed(&r);
}

static void bodies(void **state)
{
    (void)state;
    assert_true(is_fixed("{\"model\":\"m\",\"temperature\":0,\"messages\":[]}"));
    assert_true(is_fixed("{\"model\":\"m\",\"messages\":[],\"seed\":7}"));
    assert_true(is_fixed("{\"prompt\":\"x\",\"temperature\":0.0}"));
    assert_true(is_fixed("{\"input\":\"x\",\"seed\":1}"));
    assert_false(is_fixed("{\"model\":\"m\",\"messages\":[{\"seed\":1,\"temperature\":0}]}"));
    assert_false(is_fixed("{\"prompt\":\"\\\"seed\\\":1 temperature\"}"));
    assert_false(is_fixed("{\"messages\":[],\"x\":{\"seed\":1},\"temperature\":1}"));
    assert_false(is_fixed("{}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
