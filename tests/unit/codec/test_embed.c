/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/embed.h"

static void assert_text(const struct buf *b, const char *expected)
{
    struct slice found = buf_slice(b);

    if (!slice_eq(found, slice_str(expected))) {
        print_error("%.*s\nis not\n%s\n", SLICE_ARG(found), expected);
        fail();
    }
}

static const struct {
    enum embed_shape shape;
    const char *body;
    const char *head; /* NULL: left alone */
    size_t inputs;
} asks[] = {
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\"}", "{\"model\":\"m\",\"input\":[", 1},
    {EMBED_OLLAMA, " { \"input\" : [ \"a\" , \"b\\\"\" ] , \"model\" : \"m\" } ",
     "{\"model\":\"m\",\"input\":[", 2},
    /* In one order, whatever the client's; null is as good as absent; mcp is not for nodes. */
    {EMBED_OLLAMA,
     "{\"options\":{\"num_ctx\":8},\"input\":\"a\",\"keep_alive\":\"5m\",\"dimensions\":3,"
     "\"truncate\":false,\"mcp\":{},\"model\":\"m\"}",
     "{\"model\":\"m\",\"truncate\":false,\"dimensions\":3,\"keep_alive\":\"5m\","
     "\"options\":{\"num_ctx\":8},\"input\":[",
     1},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\",\"truncate\":null}",
     "{\"model\":\"m\",\"input\":[", 1},
    {EMBED_OPENAI,
     "{\"input\":[\"a\"],\"model\":\"m\",\"encoding_format\":\"base64\",\"dimensions\":2}",
     "{\"model\":\"m\",\"dimensions\":2,\"encoding_format\":\"base64\",\"input\":[", 1},
    /* What may mean something else together. */
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\",\"unknown\":1}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"float\"}", NULL, 0},
    {EMBED_OPENAI, "{\"model\":\"m\",\"input\":\"a\",\"user\":\"u\"}", NULL, 0},
    {EMBED_OPENAI, "{\"model\":\"m\",\"input\":[1,2]}", NULL, 0},
    {EMBED_OPENAI, "{\"model\":\"m\",\"input\":[[1,2],[3]]}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"\"}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":[\"a\",\"\"]}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":[]}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":null}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":7}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"prompt\":\"a\"}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\"}", NULL, 0},
    {EMBED_OLLAMA, "{\"input\":\"a\"}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\",\"opt\\u0069ons\":{}}", NULL, 0},
    {EMBED_OLLAMA, "{\"model\":\"m\",\"input\":\"a\"", NULL, 0},
    {EMBED_OLLAMA, "[]", NULL, 0},
};

static void what_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        const struct embed_ask ask = {.shape = asks[i].shape, .body = slice_str(asks[i].body)};
        struct buf head = {0}, inputs = {0};
        enum embed_verdict v = embed_read(&ask, &head, &inputs);

        if (asks[i].head == NULL) {
            assert_int_equal(v, EMBED_LEFT);
        } else {
            assert_int_equal(v, EMBED_TAKEN);
            assert_text(&head, asks[i].head);
            assert_int_equal(buf_len(&inputs), asks[i].inputs * sizeof(struct slice));
        }
        buf_fini(&head);
        buf_fini(&inputs);
    }
}

static void what_a_session_inherits(void **state)
{
    struct embed_ask ask = {.shape = EMBED_OLLAMA,
                            .body = SLICE("{\"input\":\"a\"}"),
                            .model = SLICE("\"m\""),
                            .options = SLICE("{\"x\":1}")};
    struct buf head = {0}, inputs = {0};

    (void)state;
    assert_int_equal(embed_read(&ask, &head, &inputs), EMBED_TAKEN);
    assert_text(&head, "{\"model\":\"m\",\"options\":{\"x\":1},\"input\":[");
    buf_clear(&head);
    buf_clear(&inputs);
    ask.body = SLICE("{\"input\":\"a\",\"model\":\"old\",\"options\":{}}");
    assert_int_equal(embed_read(&ask, &head, &inputs), EMBED_TAKEN);
    assert_text(&head, "{\"model\":\"m\",\"options\":{},\"input\":[");
    buf_fini(&head);
    buf_fini(&inputs);
}

static void a_request_is_written(void **state)
{
    const struct slice inputs[] = {SLICE("\"a\""), SLICE("\"\\u00e9\"")};
    struct buf body = {0};

    (void)state;
    assert_true(embed_write(SLICE("{\"model\":\"m\",\"input\":["), inputs, 2, &body));
    assert_text(&body, "{\"model\":\"m\",\"input\":[\"a\",\"\\u00e9\"]}");
    buf_fini(&body);
}

/* The answer to one that asked for inputs `from` to `to`. */
static void check_answer(enum embed_shape shape, const char *body, size_t inputs, size_t from,
                         size_t to, uint64_t tokens, const char *expected)
{
    struct slice text = slice_str(body);
    struct embed_answer a;
    struct buf vectors = {0}, out = {0};
    struct embed_writer w = {.out = &vectors};

    assert_true(embed_answer_read(&a, shape, text, inputs));
    for (size_t i = from; i < to; i++) {
        assert_true(embed_write_vector(&w, text, embed_answer_vector(&a, i)));
    }
    assert_true(embed_write_answer(&a, text, buf_slice(&vectors), tokens, &out));
    assert_text(&out, expected);
    embed_answer_fini(&a);
    buf_fini(&vectors);
    buf_fini(&out);
}

static void answers_are_cut(void **state)
{
    static const char ollama[] = "{\"model\":\"m\",\"embeddings\":[[1.5,-2e-7], [3,4] ,[5]],"
                                 "\"total_duration\":7,\"prompt_eval_count\":9}";
    static const char first[] = "{\"prompt_eval_count\":9,\"new\":{\"embeddings\":0},"
                                "\"embeddings\":[[1],[2]]}";
    static const char openai[] =
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"embedding\":[1],\"index\":0},"
        "{\"index\":1,\"embedding\":\"AAAA\"}],\"model\":\"m\","
        "\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}";

    (void)state;
    check_answer(EMBED_OLLAMA, ollama, 3, 1, 2, 4,
                 "{\"model\":\"m\",\"embeddings\":[[3,4]],\"total_duration\":7,"
                 "\"prompt_eval_count\":4}");
    check_answer(EMBED_OLLAMA, ollama, 3, 0, 3, 9,
                 "{\"model\":\"m\",\"embeddings\":[[1.5,-2e-7],[3,4],[5]],\"total_duration\":7,"
                 "\"prompt_eval_count\":9}");
    check_answer(EMBED_OLLAMA, first, 2, 1, 2, 4,
                 "{\"prompt_eval_count\":4,\"new\":{\"embeddings\":0},\"embeddings\":[[2]]}");
    check_answer(EMBED_OLLAMA, "{\"embeddings\":[[1]]}", 1, 0, 1, 4, "{\"embeddings\":[[1]]}");
    check_answer(EMBED_OPENAI, openai, 2, 1, 2, 5,
                 "{\"object\":\"list\",\"data\":[{\"index\":0,\"embedding\":\"AAAA\"}],"
                 "\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
    check_answer(EMBED_OPENAI, "{\"data\":[{\"embedding\":[1]}]}", 1, 0, 1, 5,
                 "{\"data\":[{\"embedding\":[1]}]}");
}

static void what_is_no_answer(void **state)
{
    static const struct {
        enum embed_shape shape;
        const char *body;
    } bodies[] = {
        {EMBED_OLLAMA, "{\"embeddings\":[[1]]}"},
        {EMBED_OLLAMA, "{\"embeddings\":[[1],[2],[3]]}"},
        {EMBED_OLLAMA, "{\"embeddings\":[[1],2]}"},
        {EMBED_OLLAMA, "{\"embeddings\":{}}"},
        {EMBED_OLLAMA, "{\"embeddings\":[[1],[2]],\"prompt_eval_count\":-1}"},
        {EMBED_OLLAMA, "{\"embedding\":[1]}"},
        {EMBED_OLLAMA, ""},
        {EMBED_OPENAI, "{\"data\":[{\"index\":1},{\"index\":0}]}"},
        {EMBED_OPENAI, "{\"data\":[{\"index\":0},{\"index\":\"1\"}]}"},
        {EMBED_OPENAI, "{\"data\":[[1],[2]]}"},
        {EMBED_OPENAI, "{\"data\":[{\"index\":0},{\"index\":1}]"},
        {EMBED_OPENAI, "{\"data\":[{\"index\":0},{\"index\":1}],\"usage\":{\"prompt_tokens\":[]}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct embed_answer a;

        assert_false(embed_answer_read(&a, bodies[i].shape, slice_str(bodies[i].body), 2));
        embed_answer_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken),        cmocka_unit_test(what_a_session_inherits),
        cmocka_unit_test(a_request_is_written), cmocka_unit_test(answers_are_cut),
        cmocka_unit_test(what_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
