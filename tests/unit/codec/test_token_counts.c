/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/token_counts.h"

static const struct {
    const char *text;
    uint32_t prompt, answer;
} cases[] = {
    {"", 0, 0},
    {"_", 0, 0},
    {"{\"done\":true,\"total_duration\":9,\"load_duration\":1,\"prompt_eval_count\":26,"
     "\"prompt_eval_duration\":3,\"eval_count\":259,\"eval_duration\":4}",
     26, 259},
    {"{\"eval_count\" : 7}", 0, 7},
    {"{\"prompt_eval_count\":0,\"eval_count\":1}", 0, 1},
    {"{\"usage\":{\"completion_tokens\":12,\"prompt_tokens\":34,\"total_tokens\":46,"
     "\"prompt_tokens_details\":{\"cached_tokens\":5}}}",
     34, 12},
    {"{\"re_eval_count\":7,\"x_prompt_tokens\":8,\"eval_counts\":9}", 0, 0},
    {"{\"response\":\"\\\"eval_count\\\":5\",\"eval_count\":6}", 0, 6},
    {"{\"eval_count\":99999999999999999999}", 0, UINT32_MAX},
    {"{\"eval_count\":\"5\",\"prompt_eval_count\":null}", 0, 0},
    {"\"eval_count\"", 0, 0},
    {"\"eval_count", 0, 0},
};

static void what_nodes_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].text);
        char *text = malloc(len + 1); /* so that a byte behind it is an error */
        struct token_counts counts;

        assert_non_null(text);
        memcpy(text, cases[i].text, len);
        counts = token_counts_of(slice_of(text, len));
        if (counts.prompt != cases[i].prompt || counts.answer != cases[i].answer) {
            print_error("%s: %u, %u\n", cases[i].text, counts.prompt, counts.answer);
        }
        assert_int_equal(counts.prompt, cases[i].prompt);
        assert_int_equal(counts.answer, cases[i].answer);
        free(text);
    }
}

/* Wherever it is cut there is a number, its beginning, or none. */
static void cut_anywhere(void **state)
{
    static const struct slice text = SLICE("{\"prompt_eval_count\":26,\"eval_count\":259}");

    (void)state;
    for (size_t i = 0; i <= text.len; i++) {
        char *copy = malloc(i == 0 ? 1 : i);
        struct token_counts counts;

        assert_non_null(copy);
        memcpy(copy, text.ptr, i);
        counts = token_counts_of(slice_of(copy, i));
        assert_true(counts.prompt == 0 || counts.prompt == 2 || counts.prompt == 26);
        assert_true(counts.answer == 0 || counts.answer == 2 || counts.answer == 25 ||
                    counts.answer == 259);
        free(copy);
    }
}

static void only_the_end_is_looked_at(void **state)
{
    static char text[100000];
    static const struct slice last = SLICE("\",\"eval_count\":3}");
    struct token_counts counts;

    (void)state;
    memset(text, '_', sizeof(text));
    memcpy(text, "\"prompt_eval_count\":4", 21);
    memcpy(text + sizeof(text) - last.len, last.ptr, last.len);
    counts = token_counts_of(slice_of(text, sizeof(text)));
    assert_int_equal(counts.prompt, 0);
    assert_int_equal(counts.answer, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nodes_say),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(only_the_end_is_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
