/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "load/answer.h"

#define PART(model, text, done)                                                                    \
    SLICE("{\"model\":\"" model "\",\"response\":\"" text "\",\"done\":" done "}")

static struct answer a;

static void begin(const char *text, size_t count)
{
    answer_fini(&a);
    assert_true(answer_init(&a, "m", text, count));
}

static int finish(void **state)
{
    (void)state;
    answer_fini(&a);
    return 0;
}

static void expect(enum answer_verdict verdict, size_t index, struct slice part)
{
    assert_int_equal(answer_check(&a, index, part), verdict);
}

static void expect_wrong(const char *why, size_t index, struct slice part)
{
    expect(ANSWER_WRONG, index, part);
    assert_int_equal(strncmp(a.why, why, strlen(why)), 0);
}

static void a_stream_is_right_again_and_again(void **state)
{
    (void)state;
    begin("one two", 3);
    for (int i = 0; i < 3; i++) {
        expect(ANSWER_MORE, 0, PART("m", "one", "false"));
        expect(ANSWER_MORE, 1, PART("m", " two", "false"));
        expect(ANSWER_LAST, 2, PART("m", "", "true"));
    }
    expect_wrong("more than was asked for", 3, PART("m", "", "true"));
}

static void other_bytes_with_the_same_meaning_are_right(void **state)
{
    (void)state;
    begin(NULL, 1);
    expect(ANSWER_LAST, 0, PART("m", "one", "true"));
    expect(ANSWER_LAST, 0, SLICE("{\"done\":true, \"response\":\"\\u006fne\", \"model\":\"m\"}"));
    expect(ANSWER_LAST, 0, PART("m", "one", "true"));
}

static void another_text_is_wrong(void **state)
{
    (void)state;
    begin(NULL, 2);
    expect(ANSWER_MORE, 0, PART("m", "one", "false"));
    expect_wrong("another text", 0, PART("m", "two", "false"));
    expect_wrong("another text", 0, PART("m", "", "false"));
    expect_wrong("another text", 0, SLICE("{\"model\":\"m\",\"done\":false}"));
    expect(ANSWER_MORE, 0, PART("m", "one", "false"));

    begin("one two", 2);
    expect_wrong("another text", 0, PART("m", "two", "false"));
    expect_wrong("another text", 0, PART("m", "one two three", "false"));
    expect(ANSWER_MORE, 0, PART("m", "one", "false"));
    expect_wrong("another text", 1, PART("m", "", "true")); /* too short */
    expect(ANSWER_LAST, 1, PART("m", " two", "true"));
}

static void another_model_is_wrong(void **state)
{
    (void)state;
    begin(NULL, 1);
    expect_wrong("another model", 0, PART("m:latest", "one", "true"));
    expect_wrong("another model", 0, SLICE("{\"response\":\"one\",\"done\":true}"));
}

static void only_the_last_part_is_done(void **state)
{
    (void)state;
    begin(NULL, 2);
    expect_wrong("an early end", 0, PART("m", "one", "true"));
    expect_wrong("an early end", 0, SLICE("{\"model\":\"m\",\"response\":\"one\"}"));
    expect(ANSWER_MORE, 0, PART("m", "one", "false"));
    expect_wrong("no end", 1, PART("m", "one", "false"));
}

static void errors_and_garbage_are_wrong(void **state)
{
    (void)state;
    begin(NULL, 1);
    expect_wrong("no JSON object", 0, SLICE(""));
    expect_wrong("no JSON object", 0, SLICE("oops"));
    expect_wrong("no JSON object", 0, SLICE("[1]"));
    expect_wrong("an error", 0, SLICE("{\"error\":\"text\",\"done\":true}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_stream_is_right_again_and_again, finish),
        cmocka_unit_test_teardown(other_bytes_with_the_same_meaning_are_right, finish),
        cmocka_unit_test_teardown(another_text_is_wrong, finish),
        cmocka_unit_test_teardown(another_model_is_wrong, finish),
        cmocka_unit_test_teardown(only_the_last_part_is_done, finish),
        cmocka_unit_test_teardown(errors_and_garbage_are_wrong, finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
