/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of embed and embeddings: recorded ones of llama.cpp's server, and wrong ones. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alloc_fault.h"
#include "openai_help.h"

static yyjson_doc *embed(enum op op, const char *request, struct slice body)
{
    struct asked a;
    yyjson_doc *doc;

    ask(&a, op, request, "");
    assert_int_equal(a.rv, OPENAI_SEND);
    assert_int_equal(whole(a.call, body, 7000, &doc), OPENAI_LAST);
    asked_fini(&a);
    return doc;
}

static double length_of(yyjson_val *vector)
{
    yyjson_val *one;
    size_t i;
    size_t count;
    double sum = 0;

    yyjson_arr_foreach(vector, i, count, one)
    {
        sum += yyjson_get_num(one) * yyjson_get_num(one);
    }
    return sqrt(sum);
}

static void recorded_base64(void **state)
{
    struct buf body = {0};
    yyjson_doc *doc;
    yyjson_doc *cut;

    (void)state;
    fixture("embeddings-two-base64", &body);
    doc = embed(OP_EMBED, "{\"input\":[\"one\",\"two\"]}", buf_slice(&body));
    assert_at(doc, "model", "\"m\"");
    assert_at(doc, "prompt_eval_count", "4");
    assert_at(doc, "total_duration", "7000000");
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *vector = yyjson_arr_get(at_path(yyjson_doc_get_root(doc), "embeddings"), i);

        assert_int_equal(yyjson_arr_size(vector), 640);
        assert_true(fabs(length_of(vector) - 1) < 1e-5);
    }
    assert_at(doc, "embeddings[2]", NULL);

    cut = embed(OP_EMBED, "{\"input\":[\"one\",\"two\"],\"dimensions\":8}", buf_slice(&body));
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *vector = yyjson_arr_get(at_path(yyjson_doc_get_root(cut), "embeddings"), i);

        assert_int_equal(yyjson_arr_size(vector), 8);
        assert_true(fabs(length_of(vector) - 1) < 1e-5);
    }
    yyjson_doc_free(doc);
    yyjson_doc_free(cut);
    buf_fini(&body);
}

/* The node wrote float32 as doubles, with as few digits as these need; both calls give these
 * numbers, the old one as they are. */
static void recorded_floats(void **state)
{
    struct buf body = {0};
    yyjson_doc *old;
    yyjson_doc *new;
    yyjson_doc *node;

    (void)state;
    fixture("embeddings", &body);
    node = parse(buf_slice(&body));
    old = embed(OP_EMBEDDINGS, "{\"prompt\":\"x\"}", buf_slice(&body));
    new = embed(OP_EMBED, "{\"input\":\"x\"}", buf_slice(&body));
    for (size_t i = 0; i < 640; i++) {
        char path[64];
        double want;

        (void)snprintf(path, sizeof(path), "data[0].embedding[%zu]", i);
        want = yyjson_get_num(at_path(yyjson_doc_get_root(node), path));
        (void)snprintf(path, sizeof(path), "embedding[%zu]", i);
        assert_true(yyjson_get_num(at_path(yyjson_doc_get_root(old), path)) == want);
        (void)snprintf(path, sizeof(path), "embeddings[0][%zu]", i);
        assert_true(fabs(yyjson_get_num(at_path(yyjson_doc_get_root(new), path)) - want) < 1e-6);
    }
    yyjson_doc_free(node);
    yyjson_doc_free(old);
    yyjson_doc_free(new);
    buf_fini(&body);
}

static void numbers_are_short_and_exact(void **state)
{
    struct asked a;
    struct buf out = {0};

    (void)state;
    ask(&a, OP_EMBED, "{\"input\":\"x\"}", "");
    assert_int_equal(openai_whole(a.call,
                                  SLICE("{\"data\":[{\"embedding\":[0.1,-0.7,1e-30,0,0.7071]}],"
                                        "\"usage\":{\"prompt_tokens\":2}}"),
                                  clock_after(0), &out),
                     OPENAI_LAST);
    assert_true(
        slice_eq(buf_slice(&out),
                 SLICE("{\"model\":\"m\",\"embeddings\":[[0.10000049,-0.7000034,1.0000049e-30,0,"
                       "0.70710343]],\"total_duration\":0,\"load_duration\":0,"
                       "\"prompt_eval_count\":2}")));
    asked_fini(&a);
    buf_fini(&out);
}

static void old_numbers_are_those_of_the_node(void **state)
{
    struct asked a;
    struct buf out = {0};

    (void)state;
    ask(&a, OP_EMBEDDINGS, "{\"prompt\":\"x\"}", "");
    assert_int_equal(
        openai_whole(a.call,
                     SLICE("{\"data\":[{\"embedding\":[-0.01621530018746853,0.1,3,1e30,"
                           "0.30000000000000004]}]}"),
                     clock_after(0), &out),
        OPENAI_LAST);
    assert_true(slice_eq(buf_slice(&out), SLICE("{\"embedding\":[-0.01621530018746853,0.1,3,1e+30,"
                                                "0.30000000000000004]}")));
    asked_fini(&a);
    buf_fini(&out);
}

static void vectors_are_put_in_the_order_of_their_inputs(void **state)
{
    yyjson_doc *doc = embed(
        OP_EMBED, "{\"input\":[\"a\",\"b\",\"c\"]}",
        SLICE("{\"data\":[{\"index\":2,\"embedding\":[0,1]},{\"index\":0,\"embedding\":[1,0]},"
              "{\"index\":1,\"embedding\":[0,0]}]}"));

    (void)state;
    assert_at(doc, "embeddings", "[[1,0],[0,0],[0,1]]");
    assert_at(doc, "prompt_eval_count", "0");
    yyjson_doc_free(doc);
}

static void wrong_answers(void **state)
{
    static const struct {
        const char *body;
        int rv;
    } rows[] = {
        {"", MCP_EUPSTREAM_ERROR},
        {"[]", MCP_EUPSTREAM_ERROR},
        {"{}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"embedding\":[1]},{\"embedding\":[1]}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[5]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"index\":1,\"embedding\":[1]}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"embedding\":{}}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"embedding\":\"AAAA\"}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"embedding\":\"AAAAAA=\"}]}", MCP_EUPSTREAM_ERROR},
        {"{\"data\":[{\"embedding\":[null]}]}", OPENAI_ERROR},
        {"{\"data\":[{\"embedding\":\"AADAfw==\"}]}", OPENAI_ERROR}, /* a NaN */
        {"{\"data\":[{\"embedding\":[1e300]}]}", OPENAI_ERROR},      /* no float32 */
        {"{\"error\":{\"message\":\"too large\"}}", OPENAI_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct asked a;
        yyjson_doc *doc;
        int rv;

        ask(&a, OP_EMBED, "{\"input\":\"x\"}", "");
        rv = whole(a.call, slice_str(rows[i].body), 0, &doc);
        if (rv != rows[i].rv) {
            fail_msg("%s: %d", rows[i].body, rv);
        }
        yyjson_doc_free(doc);
        assert_true(event(a.call, "{}", 0, &doc) == MCP_EUPSTREAM_ERROR);
        asked_fini(&a);
    }
}

static size_t scarce_failures;

static void answer_in_scarcity(void *arg)
{
    struct asked *a = arg;
    struct buf out = {0};
    int rv = openai_whole(
        a->call, SLICE("{\"data\":[{\"embedding\":[1,2]},{\"embedding\":\"AAAAPwAAAL8=\"}]}"),
        clock_after(0), &out);

    assert_true(rv == OPENAI_LAST || rv == MCP_ENOMEM);
    scarce_failures += rv == MCP_ENOMEM;
    buf_fini(&out);
}

static void every_allocation_may_fail(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_EMBED, "{\"input\":[\"a\",\"b\"]}", "");
    alloc_fault_each(answer_in_scarcity, &a);
    assert_true(scarce_failures >= 5);
    asked_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_base64),
        cmocka_unit_test(recorded_floats),
        cmocka_unit_test(numbers_are_short_and_exact),
        cmocka_unit_test(old_numbers_are_those_of_the_node),
        cmocka_unit_test(vectors_are_put_in_the_order_of_their_inputs),
        cmocka_unit_test(wrong_answers),
        cmocka_unit_test(every_allocation_may_fail)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
