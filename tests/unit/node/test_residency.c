/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "mcp/error.h"
#include "node/residency.h"

#define PS                                                                                         \
    "{\"models\":[{\"name\":\"llama3:latest\",\"size\":5120,\"size_vram\":4096,"                   \
    "\"context_length\":8192,\"expires_at\":\"1970-01-01T00:00:01Z\"},"                            \
    "{\"name\":\"b\",\"expires_at\":\"never\"},{\"name\":7},{}]}"

static void what_is_loaded_is_found_in_any_spelling(void **state)
{
    struct residency r = {0};
    const struct resident_model *m;

    (void)state;
    assert_null(residency_find(&r, SLICE("llama3")));
    assert_int_equal(residency_read(&r, SLICE(PS)), MCP_OK);
    assert_int_equal(r.count, 2);
    m = residency_find(&r, SLICE("registry.ollama.ai/library/LLAMA3"));
    assert_non_null(m);
    assert_string_equal(m->name, "llama3:latest");
    assert_int_equal(m->context_length, 8192);
    assert_int_equal(m->size_bytes, 5120);
    assert_int_equal(m->vram_bytes, 4096);
    assert_int_equal(m->expires_us, 1000000);
    m = residency_find(&r, SLICE("b"));
    assert_non_null(m);
    assert_int_equal(m->expires_us, 0);
    assert_int_equal(m->context_length, 0);
    assert_null(residency_find(&r, SLICE("llama3:8b")));
    residency_fini(&r);
}

static void the_same_answer_costs_nothing(void **state)
{
    struct residency r = {0};

    (void)state;
    assert_int_equal(residency_read(&r, SLICE(PS)), MCP_OK);
    alloc_fault_at(1);
    assert_int_equal(residency_read(&r, SLICE(PS)), MCP_OK);
    assert_int_equal(alloc_fault_count(), 0);
    alloc_fault_at(0);
    residency_fini(&r);
}

static void what_cannot_be_read_changes_nothing(void **state)
{
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"models\":{}}", "{\"models\":\"\"}"};
    struct residency r = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(residency_read(&r, slice_str(bad[i])), MCP_EUPSTREAM_ERROR);
        assert_null(r.users);
    }
    assert_int_equal(residency_read(&r, SLICE("{\"models\":null}")), MCP_OK);
    assert_int_equal(r.count, 0);
    assert_non_null(r.users);
    assert_int_equal(residency_read(&r, SLICE(PS)), MCP_OK);
    assert_int_equal(residency_read(&r, SLICE("{")), MCP_EUPSTREAM_ERROR);
    assert_int_equal(r.count, 2);
    residency_fini(&r);
}

static void one_outlives_the_other(void **state)
{
    struct residency first = {0};
    struct residency second = {0};

    (void)state;
    residency_share(&second, &first);
    residency_fini(&second);
    assert_int_equal(residency_read(&first, SLICE(PS)), MCP_OK);
    residency_share(&second, &first);
    residency_fini(&first);
    assert_non_null(residency_find(&second, SLICE("llama3")));
    residency_fini(&second);
}

static void memory_may_run_out_anywhere(void **state)
{
    struct residency r = {0};
    int rv = MCP_ENOMEM;

    (void)state;
    for (size_t at = 1; rv != MCP_OK; at++) {
        assert_true(at < 100);
        alloc_fault_at(at);
        rv = residency_read(&r, SLICE(PS));
        alloc_fault_at(0);
        assert_true(rv == MCP_OK || (rv == MCP_ENOMEM && r.users == NULL && r.count == 0));
    }
    residency_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_loaded_is_found_in_any_spelling),
        cmocka_unit_test(the_same_answer_costs_nothing),
        cmocka_unit_test(what_cannot_be_read_changes_nothing),
        cmocka_unit_test(one_outlives_the_other),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
