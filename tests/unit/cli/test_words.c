/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void add(struct cli_words *words, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        cli_words_add(words, slice_str(*texts));
    }
}

static void test_sorted_each_once(void **state)
{
    static const char *const texts[] = {"b", "a", "b", "", "ab", "a", NULL};
    struct cli_words words = {0};

    (void)state;
    cli_words_sort(&words);
    assert_int_equal(words.count, 0);
    add(&words, texts);
    cli_words_add(&words, slice_of("abc", 2)); /* not terminated */
    cli_words_sort(&words);
    assert_int_equal(words.count, 4);
    assert_string_equal(words.texts[0], "");
    assert_string_equal(words.texts[1], "a");
    assert_string_equal(words.texts[2], "ab");
    assert_string_equal(words.texts[3], "b");
    cli_words_fini(&words);
    assert_int_equal(words.count, 0);
}

static void test_kept_and_in_common(void **state)
{
    static const char *const texts[] = {"llama3:8b", "bert", "llama4", "llama", NULL};
    struct cli_words words = {0};

    (void)state;
    assert_int_equal(cli_words_common(&words), 0);
    add(&words, texts);
    assert_int_equal(cli_words_common(&words), 0);
    cli_words_keep(&words, SLICE("l"));
    assert_int_equal(words.count, 3);
    assert_int_equal(cli_words_common(&words), 5);
    cli_words_keep(&words, SLICE("llama3"));
    assert_int_equal(words.count, 1);
    assert_int_equal(cli_words_common(&words), 9);
    cli_words_keep(&words, SLICE("x"));
    assert_int_equal(words.count, 0);
    cli_words_fini(&words);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_each_once),
        cmocka_unit_test(test_kept_and_in_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
