/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/op.h"

/* protocol.md section 3, in its order. */
static const char *const names[] = {"generate", "chat", "embed",   "embeddings", "list",
                                    "ps",       "show", "version", "pull",       "push",
                                    "create",   "copy", "delete",  "health"};

static void names_are_the_protocols(void **state)
{
    (void)state;
    assert_int_equal(sizeof(names) / sizeof(names[0]), OP_COUNT);
    for (int op = 0; op < OP_COUNT; op++) {
        assert_string_equal(op_info((enum op)op)->name, names[op]);
        assert_int_equal(op_from_name(slice_str(names[op])), op);
    }
    assert_int_equal(op_from_name(SLICE("")), OP_NONE);
    assert_int_equal(op_from_name(SLICE("Chat")), OP_NONE);
    assert_int_equal(op_from_name(SLICE("chats")), OP_NONE);
    assert_int_equal(op_from_name(SLICE("chat\0")), OP_NONE);
}

static void http_leads_to_the_operation(void **state)
{
    (void)state;
    assert_int_equal(op_from_http(SLICE("POST"), SLICE("/api/chat")), OP_CHAT);
    assert_int_equal(op_from_http(SLICE("POST"), SLICE("/api/embed")), OP_EMBED);
    assert_int_equal(op_from_http(SLICE("POST"), SLICE("/api/embeddings")), OP_EMBEDDINGS);
    assert_int_equal(op_from_http(SLICE("GET"), SLICE("/api/tags")), OP_LIST);
    assert_int_equal(op_from_http(SLICE("DELETE"), SLICE("/api/delete")), OP_DELETE);
    for (int op = 0; op < OP_HEALTH; op++) {
        const struct op_info *info = op_info((enum op)op);

        assert_int_equal(op_from_http(slice_str(info->method), slice_str(info->path)), op);
    }
    assert_int_equal(op_from_http(SLICE("GET"), SLICE("/api/chat")), OP_NONE);
    assert_int_equal(op_from_http(SLICE("HEAD"), SLICE("/api/tags")), OP_NONE);
    assert_int_equal(op_from_http(SLICE("POST"), SLICE("/api/chat/")), OP_NONE);
    assert_int_equal(op_from_http(SLICE("POST"), SLICE("/v1/chat/completions")), OP_NONE);
    assert_int_equal(op_from_http(SLICE(""), SLICE("")), OP_NONE);
}

static void properties(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        bool streams =
            op == OP_GENERATE || op == OP_CHAT || op == OP_PULL || op == OP_PUSH || op == OP_CREATE;
        bool once = op == OP_CREATE || op == OP_COPY || op == OP_DELETE || op == OP_PUSH;
        bool inference =
            op == OP_GENERATE || op == OP_CHAT || op == OP_EMBED || op == OP_EMBEDDINGS;

        assert_int_equal(op_info((enum op)op)->streams, streams);
        assert_int_equal(op_info((enum op)op)->once, once);
        assert_int_equal(op_is_inference((enum op)op), inference);
    }
    assert_false(op_is_inference(OP_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_protocols),
        cmocka_unit_test(http_leads_to_the_operation),
        cmocka_unit_test(properties),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
