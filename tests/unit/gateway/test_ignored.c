/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/ignored.h"

static const struct {
    const char *path;
    const char *body;
    const char *names;
} cases[] = {
    {"/v1/chat/completions", "{}", ""},
    {"/v1/chat/completions", " {\"n\" : 2 , \"model\":\"m\",\"user\":\"u\"} ", "n, user"},
    {"/v1/chat/completions", "{\"n\":1,\"user\":null,\"tool_choice\":\"auto\"}", ""},
    {"/v1/chat/completions", "{\"n\":1.0,\"tool_choice\":{\"type\":\"auto\"}}", "n, tool_choice"},
    {"/v1/chat/completions", "{\"messages\":[{\"user\":1}],\"options\":{\"n\":1}}", "options"},
    {"/v1/chat/completions", "{\"metadata\":{\"a\":[1,{\"n\":2}]},\"N\":2}", "metadata"},
    {"/v1/completions", "{\"n\":2,\"tool_choice\":1,\"echo\":true}", "n, echo"},
    {"/v1/embeddings", "{\"dimensions\":2,\"user\":\"\"}", "user"},
    {"/v1/messages", "{\"tool_choice\":{},\"n\":2}", "tool_choice"},
    {"/v1/responses", "{\"include\":[],\"instructions\":\"\"}", "include"},
    {"/v1/models", "{\"n\":2}", ""},
    {"/api/chat", "{\"n\":2}", ""},
};

static void names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};

        assert_true(ignored_names(slice_str(cases[i].path), slice_str(cases[i].body), &out));
        print_message("%s %s\n", cases[i].path, cases[i].body);
        assert_true(slice_eq(buf_slice(&out), slice_str(cases[i].names)));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
