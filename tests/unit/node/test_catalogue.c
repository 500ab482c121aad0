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
#include "node/catalogue.h"

static const char *found(const struct catalogue *c, struct slice name)
{
    const struct catalogue_model *m = catalogue_find(c, name);

    return m == NULL ? NULL : m->name;
}

static void names_are_found_in_any_spelling(void **state)
{
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(
        catalogue_read(&c, SLICE("{\"models\":[{\"name\":\"zeta:7b\"},"
                                 "{\"name\":\"llama3:latest\"},{\"name\":\"a/b:c\"}]}")),
        MCP_OK);
    assert_int_equal(c.count, 3);
    assert_string_equal(found(&c, SLICE("llama3")), "llama3:latest");
    assert_string_equal(found(&c, SLICE("registry.ollama.ai/library/llama3")), "llama3:latest");
    assert_string_equal(found(&c, SLICE("zeta:7b")), "zeta:7b");
    assert_null(found(&c, SLICE("zeta")));
    assert_null(found(&c, SLICE("llama3\0")));
    assert_null(found(&c, SLICE("")));
    catalogue_fini(&c);
}

static void usual_spellings_cost_no_memory(void **state)
{
    static const char *const names[][2] = {
        {"llama3:latest", "llama3:latest"},
        {"llama3", "llama3:latest"},
        {"a/b:c", "a/b:c"},
        {"qwen2.5-coder:32b-instruct", "qwen2.5-coder:32b-instruct"},
        {"x y", "x y"}};
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(
        catalogue_read(&c, SLICE("{\"models\":[{\"name\":\"llama3:latest\"},{\"name\":\"a/b:c\"},"
                                 "{\"name\":\"qwen2.5-coder:32b-instruct\"},{\"name\":\"x y\"}]}")),
        MCP_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        alloc_fault_at(1);
        assert_string_equal(found(&c, slice_str(names[i][0])), names[i][1]);
        assert_int_equal(alloc_fault_count(), 0);
        alloc_fault_at(0);
    }
    catalogue_fini(&c);
}

/* Where a node tells them apart, so does the gateway. */
static void a_listed_name_is_found_as_it_is(void **state)
{
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(catalogue_read(&c, SLICE("{\"data\":[{\"id\":\"m:latest\"},{\"id\":\"m\"},"
                                              "{\"id\":\"M\"},{\"id\":\"n:cloud:latest\"}]}")),
                     MCP_OK);
    assert_string_equal(found(&c, SLICE("m")), "m");
    assert_string_equal(found(&c, SLICE("M")), "M");
    assert_string_equal(found(&c, SLICE("m:latest")), "m:latest");
    assert_string_equal(found(&c, SLICE("n:cloud:latest")), "n:cloud:latest");
    assert_null(found(&c, SLICE("n:cloud")));
    assert_null(found(&c, SLICE("n")));
    catalogue_fini(&c);
}

static void many_models_are_found(void **state)
{
    struct catalogue c = {0};
    struct buf list = {0};
    char name[32];

    (void)state;
    assert_true(buf_append_str(&list, "{\"models\":["));
    for (int i = 0; i < 500; i++) {
        assert_true(buf_printf(&list, "%s{\"name\":\"model-%d:latest\"}", i > 0 ? "," : "", i));
    }
    assert_true(buf_append_str(&list, "]}"));
    assert_int_equal(catalogue_read(&c, buf_slice(&list)), MCP_OK);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof(name), "model-%d:latest", i);
        assert_string_equal(found(&c, slice_str(name)), name);
        assert_string_equal(found(&c, slice_first(slice_str(name), strlen(name) - 7)), name);
    }
    assert_null(found(&c, SLICE("model-500")));
    buf_fini(&list);
    catalogue_fini(&c);
}

static void both_apis_are_read(void **state)
{
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(catalogue_read(&c, SLICE("{\"object\":\"list\",\"data\":[{\"id\":\"m\"}]}")),
                     MCP_OK);
    assert_string_equal(found(&c, SLICE("m:latest")), "m");
    assert_int_equal(catalogue_read(&c, SLICE("{\"models\":null}")), MCP_OK);
    assert_int_equal(c.count, 0);
    assert_null(found(&c, SLICE("m")));
    catalogue_fini(&c);
}

static void llamacpps_server_is_known_by_its_list(void **state)
{
    static const struct {
        struct slice list;
        bool is;
    } rows[] = {
        {SLICE(
             "{\"models\":[{\"name\":\"m\"}],\"data\":[{\"id\":\"m\",\"owned_by\":\"llamacpp\"}]}"),
         true},
        {SLICE("{\"data\":[{\"id\":\"m\",\"owned_by\":\"vllm\"}]}"), false},
        {SLICE("{\"data\":[{\"id\":\"m\",\"owned_by\":\"llamacpp\"}]}"), true},
        {SLICE("{\"data\":[]}"), false},
        {SLICE("{\"data\":[{\"id\":\"m\",\"owned_by\":7}]}"), false},
        {SLICE("{\"models\":[{\"name\":\"m\",\"owned_by\":\"llamacpp\"}]}"), false},
    };
    struct catalogue c = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(catalogue_read(&c, rows[i].list), MCP_OK);
        assert_int_equal(c.is_llamacpp, rows[i].is);
    }
    catalogue_fini(&c);
}

static void models_that_do_not_complete_here_are_told(void **state)
{
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(
        catalogue_read(&c, SLICE("{\"models\":[{\"name\":\"e\",\"capabilities\":[\"embedding\"]},"
                                 "{\"name\":\"g\",\"capabilities\":[\"tools\",\"completion\"]},"
                                 "{\"name\":\"u\"},{\"name\":\"v\",\"capabilities\":[]},"
                                 "{\"name\":\"l\",\"details\":{\"family\":\"llama\"}},"
                                 "{\"name\":\"b\",\"details\":{\"family\":\"nomic-bert\"}},"
                                 "{\"name\":\"r\",\"remote_model\":\"r\",\"remote_host\":\"h\","
                                 "\"capabilities\":[\"completion\"]}]}")),
        MCP_OK);
    assert_false(catalogue_find(&c, SLICE("e"))->completes);
    assert_true(catalogue_find(&c, SLICE("g"))->completes);
    assert_true(catalogue_find(&c, SLICE("u"))->completes);
    assert_true(catalogue_find(&c, SLICE("v"))->completes);
    assert_true(catalogue_find(&c, SLICE("l"))->completes);
    assert_false(catalogue_find(&c, SLICE("b"))->completes);
    assert_false(catalogue_find(&c, SLICE("r"))->completes);
    catalogue_fini(&c);
}

static void a_bad_answer_leaves_what_was_there(void **state)
{
    static const char *const bad[] = {"", "x", "[]", "{}", "{\"models\":{}}", "{\"data\":1}"};
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(catalogue_read(&c, SLICE("{\"models\":[{\"name\":\"m\"},{\"size\":1},7]}")),
                     MCP_OK);
    assert_int_equal(c.count, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(catalogue_read(&c, slice_str(bad[i])), MCP_EUPSTREAM_ERROR);
        assert_string_equal(found(&c, SLICE("m")), "m");
    }
    catalogue_fini(&c);
}

static void names_are_found_without_memory(void **state)
{
    static const char *const names[][2] = {
        {"A/b:c", "a/b:c"}, {"LLAMA3", "llama3:latest"}, {"no such", NULL}};
    struct catalogue c = {0};

    (void)state;
    assert_int_equal(catalogue_read(&c, SLICE("{\"models\":[{\"name\":\"llama3:latest\"},"
                                              "{\"name\":\"a/b:c\"}]}")),
                     MCP_OK);
    for (size_t i = 0; i < 3; i++) {
        const char *name;

        alloc_fault_at(1);
        name = found(&c, slice_str(names[i][0]));
        assert_int_equal(alloc_fault_count(), 1);
        alloc_fault_at(0);
        if (names[i][1] == NULL) {
            assert_null(name);
        } else {
            assert_string_equal(name, names[i][1]);
        }
    }
    catalogue_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_any_spelling),
        cmocka_unit_test(usual_spellings_cost_no_memory),
        cmocka_unit_test(a_listed_name_is_found_as_it_is),
        cmocka_unit_test(many_models_are_found),
        cmocka_unit_test(both_apis_are_read),
        cmocka_unit_test(llamacpps_server_is_known_by_its_list),
        cmocka_unit_test(models_that_do_not_complete_here_are_told),
        cmocka_unit_test(a_bad_answer_leaves_what_was_there),
        cmocka_unit_test(names_are_found_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
