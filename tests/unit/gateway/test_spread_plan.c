/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/spread_plan.h"
#include "mcp/error.h"

enum { NODES = 5 };

/* a and b have the model; c is cordoned, with it; d has the one to create from and much else; e is
 * no Ollama. f stands behind a test's own. */
static const struct spread_node usual[NODES] = {
    {.name = "a", .suits = true, .serves = true, .has_model = true, .models = 2, .models_bytes = 9},
    {.name = "b", .suits = true, .serves = true, .has_model = true, .models = 1, .models_bytes = 5},
    {.name = "c", .suits = true, .has_model = true},
    {.name = "d", .suits = true, .serves = true, .has_base = true, .models_bytes = 99},
    {.name = "e", .serves = true},
};

struct asked {
    enum op op;
    const char *wish;
    uint64_t replicas;
    bool has_files;
};

static struct err why;

/* The names of those that were chosen, or NULL with `why`. */
static const char *plan_of(struct asked asked, const struct spread_node *nodes, size_t count)
{
    static char names[64];
    const struct spread_ask ask = {.op = asked.op,
                                   .wish = slice_str(asked.wish == NULL ? "" : asked.wish),
                                   .replicas = asked.replicas,
                                   .has_files = asked.has_files};
    struct spread_node copy[16];
    size_t chosen = 0;
    size_t marked = 0;

    memcpy(copy, nodes, count * sizeof(*nodes));
    why = (struct err){0};
    if (spread_plan(&ask, copy, count, &chosen, &why) != MCP_OK) {
        return NULL;
    }
    names[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (copy[i].chosen) {
            marked++;
            (void)strcat(names, copy[i].name);
        }
    }
    assert_int_equal(marked, chosen);
    return names;
}

static const char *plan(enum op op, const char *wish)
{
    return plan_of((struct asked){.op = op, .wish = wish, .replicas = 1}, usual, NODES);
}

static void refused(enum op op, const char *wish, int code, const char *text)
{
    assert_null(plan(op, wish));
    assert_int_equal(why.code, code);
    assert_non_null(strstr(why.text, text));
}

static void a_pull_goes_to_all_that_have_the_model(void **state)
{
    (void)state;
    assert_string_equal(plan(OP_PULL, NULL), "ab");
    assert_string_equal(plan(OP_PULL, "1"), "ab");
    assert_string_equal(plan(OP_CREATE, "2"), "ab");
}

static void more_are_added_where_those_are_too_few(void **state)
{
    (void)state;
    assert_string_equal(plan(OP_PULL, "3"), "abd");
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = 3}, usual, NODES), "abd");
    refused(OP_PULL, "4", MCP_ENODE_UNAVAILABLE, "4 nodes were asked for, 3 are up");
    /* as many as there are, where nobody asked for a number */
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = 9}, usual, NODES), "abd");
}

static void the_emptiest_nodes_are_added_first(void **state)
{
    static const struct spread_node nodes[] = {
        {.name = "a", .suits = true, .serves = true, .models = 1, .models_bytes = 10},
        {.name = "b", .suits = true, .serves = true, .models = 9, .models_bytes = 4},
        {.name = "c", .suits = true, .serves = true, .models = 2, .models_bytes = 4},
        {.name = "d", .suits = true, .serves = true, .models = 2, .models_bytes = 4},
        {.name = "e",
         .suits = true,
         .serves = true,
         .models = 8,
         .models_bytes = 90,
         .has_base = true},
    };
    static const char *const pulls[] = {"c", "cd", "bcd", "abcd", "abcde"};
    static const char *const creates[] = {"e", "ce", "cde", "bcde", "abcde"};

    (void)state;
    for (size_t n = 1; n <= 5; n++) {
        struct spread_node plain[5];

        memcpy(plain, nodes, sizeof(nodes));
        plain[4].has_base = false;
        assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = n}, plain, 5),
                            pulls[n - 1]);
        assert_string_equal(plan_of((struct asked){.op = OP_CREATE, .replicas = n}, nodes, 5),
                            creates[n - 1]);
    }
}

static void every_node_is_every_one_that_manages_models(void **state)
{
    (void)state;
    assert_string_equal(plan(OP_PULL, "all"), "abcd");
    assert_string_equal(plan(OP_CREATE, " all "), "abcd");
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = 0}, usual, NODES),
                        "abcd");
}

static void copies_and_deletions_go_where_the_model_is(void **state)
{
    (void)state;
    assert_string_equal(plan(OP_COPY, NULL), "ab");
    assert_string_equal(plan(OP_COPY, "all"), "abc");
    assert_string_equal(plan(OP_COPY, "1"), "a");
    refused(OP_COPY, "3", MCP_ENODE_UNAVAILABLE, "3 nodes were asked for, 2 are up and have");
    assert_string_equal(plan(OP_DELETE, NULL), "abc");
    assert_string_equal(plan(OP_DELETE, "all"), "abc");
    refused(OP_DELETE, "2", MCP_EBAD_REQUEST, "delete takes no number");
    /* nobody has it: any node says so */
    assert_string_equal(plan_of((struct asked){.op = OP_DELETE}, usual + 3, 2), "");
    assert_string_equal(plan_of((struct asked){.op = OP_COPY, .wish = "2"}, usual + 3, 2), "");
}

static void names_are_taken_as_they_are(void **state)
{
    (void)state;
    assert_string_equal(plan(OP_PULL, "d"), "d");
    assert_string_equal(plan(OP_DELETE, "b , d,b"), "bd");
    assert_string_equal(plan(OP_PULL, "c"), "c"); /* cordoned: it will say so */
    refused(OP_PULL, "a,x", MCP_EBAD_REQUEST, "no node is called \"x\"");
    refused(OP_PULL, "a,,b", MCP_EBAD_REQUEST, "no node is called \"\"");
    refused(OP_PULL, "All", MCP_EBAD_REQUEST, "no node is called \"All\" (expected all, ");
    refused(OP_PULL, "e", MCP_EBAD_REQUEST, "node e does not manage models");
    refused(OP_PULL, "0", MCP_EBAD_REQUEST, "a number from 1");
    refused(OP_PULL, " ", MCP_EBAD_REQUEST, "a number from 1");
    refused(OP_PULL, "-1", MCP_EBAD_REQUEST, "no node is called \"-1\"");
    refused(OP_PULL, "99999999999999999999", MCP_EBAD_REQUEST, "no node is called");
    refused(OP_PULL, "9223372036854775807", MCP_ENODE_UNAVAILABLE, "9223372036854775807 nodes");
}

static void what_goes_to_one_goes_to_one(void **state)
{
    static const enum op ops[] = {OP_PUSH, OP_NONE, OP_CREATE};

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        struct asked asked = {.op = ops[i], .replicas = 2, .has_files = ops[i] == OP_CREATE};

        assert_string_equal(plan_of(asked, usual, NODES), asked.has_files ? "a" : "");
        asked.wish = "b";
        assert_string_equal(plan_of(asked, usual, NODES), "b");
        asked.wish = "a,b";
        assert_null(plan_of(asked, usual, NODES));
        assert_non_null(strstr(why.text, "goes to one node, not to 2"));
        asked.wish = "all";
        assert_null(plan_of(asked, usual, NODES));
        assert_non_null(strstr(why.text, "goes to one node: give its name"));
        asked.wish = "2";
        assert_null(plan_of(asked, usual, NODES));
        assert_int_equal(why.code, MCP_EBAD_REQUEST);
    }
}

static void without_nodes_nothing_is_chosen(void **state)
{
    (void)state;
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = 1}, usual + 4, 1), "");
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .wish = "all"}, usual + 4, 1), "");
    assert_string_equal(plan_of((struct asked){.op = OP_PULL, .replicas = 1}, usual, 0), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pull_goes_to_all_that_have_the_model),
        cmocka_unit_test(more_are_added_where_those_are_too_few),
        cmocka_unit_test(the_emptiest_nodes_are_added_first),
        cmocka_unit_test(every_node_is_every_one_that_manages_models),
        cmocka_unit_test(copies_and_deletions_go_where_the_model_is),
        cmocka_unit_test(names_are_taken_as_they_are),
        cmocka_unit_test(what_goes_to_one_goes_to_one),
        cmocka_unit_test(without_nodes_nothing_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
