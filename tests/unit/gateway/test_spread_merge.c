/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "gateway/spread_merge.h"

#define MANIFEST "{\"status\":\"pulling manifest\"}"
#define VERIFYING "{\"status\":\"verifying sha256 digest\"}"
#define WRITING "{\"status\":\"writing manifest\"}"
#define SUCCESS "{\"status\":\"success\"}"

static struct spread_merge merge;

static void begin(size_t nodes)
{
    assert_true(spread_merge_init(&merge, nodes));
}

static void take(size_t node, const char *object)
{
    assert_true(spread_merge_take(&merge, node, slice_str(object)));
}

/* A file: `letter` is its name. */
static void file(size_t node, char letter, unsigned total, unsigned completed)
{
    char text[128];

    (void)snprintf(text, sizeof(text),
                   "{\"status\":\"pulling %c\",\"digest\":\"sha256:%c\",\"total\":%u%s%.0u}",
                   letter, letter, total, completed == 0 ? "" : ",\"completed\":", completed);
    take(node, text);
}

/* All that is due, with a space behind each. */
static const char *told(void)
{
    static char text[2048];
    struct buf out = {0};

    while (spread_merge_next(&merge, &out)) {
        assert_true(buf_append_byte(&out, ' '));
    }
    slice_copy(buf_slice(&out), text, sizeof(text));
    buf_fini(&out);
    return text;
}

#define FILE_OF(letter, rest)                                                                      \
    "{\"status\":\"pulling " letter "\",\"digest\":\"sha256:" letter "\"" rest "} "

static void a_file_is_told_as_the_sum_of_all_nodes(void **state)
{
    (void)state;
    begin(3);
    file(0, 'x', 100, 0);
    assert_string_equal(told(), FILE_OF("x", ",\"total\":300"));
    file(0, 'x', 100, 40);
    file(1, 'x', 100, 30);
    assert_string_equal(told(), FILE_OF("x", ",\"total\":300,\"completed\":70"));
    assert_string_equal(told(), "");
    file(2, 'x', 100, 100); /* has it already */
    assert_string_equal(told(), FILE_OF("x", ",\"total\":300,\"completed\":170"));
    spread_merge_fini(&merge);
}

static void what_a_node_has_done_never_grows_less(void **state)
{
    (void)state;
    begin(2);
    file(0, 'x', 100, 60);
    file(0, 'x', 100, 20); /* it began anew */
    file(1, 'x', 100, 250);
    assert_string_equal(told(), FILE_OF("x", ",\"total\":200,\"completed\":160"));
    file(0, 'x', 100, 30);
    assert_string_equal(told(), "");
    spread_merge_fini(&merge);
}

static void the_first_status_goes_on_at_once_the_others_when_all_are_there(void **state)
{
    (void)state;
    begin(2);
    take(0, MANIFEST);
    assert_string_equal(told(), MANIFEST " ");
    take(1, MANIFEST);
    take(0, VERIFYING);
    take(0, WRITING);
    assert_string_equal(told(), "");
    take(1, VERIFYING);
    assert_string_equal(told(), VERIFYING " ");
    take(1, WRITING);
    take(1, WRITING);
    assert_string_equal(told(), WRITING " ");
    assert_string_equal(told(), "");
    spread_merge_fini(&merge);
}

static void lines_come_in_the_order_of_one_node(void **state)
{
    (void)state;
    begin(2);
    for (size_t node = 0; node < 2; node++) {
        take(node, MANIFEST);
        file(node, 'x', 10, 10);
        file(node, 'y', 5, 5);
        take(node, VERIFYING);
        take(node, SUCCESS);
    }
    assert_string_equal(told(), MANIFEST " " FILE_OF("x", ",\"total\":20,\"completed\":20")
                                    FILE_OF("y", ",\"total\":10,\"completed\":10") VERIFYING " ");
    spread_merge_fini(&merge);
}

static void a_node_that_is_done_has_everything(void **state)
{
    (void)state;
    begin(2);
    file(0, 'x', 10, 4);
    spread_merge_ended(&merge, 0, true);
    assert_string_equal(told(), FILE_OF("x", ",\"total\":20,\"completed\":10"));
    file(1, 'y', 6, 6); /* which the first one has never named */
    assert_string_equal(told(), FILE_OF("y", ",\"total\":12,\"completed\":12"));
    file(1, 'x', 20, 5); /* larger than the first one said */
    assert_string_equal(told(), FILE_OF("x", ",\"total\":40,\"completed\":25"));
    file(1, 'x', 20, 20);
    assert_string_equal(told(), FILE_OF("x", ",\"total\":40,\"completed\":40"));
    spread_merge_ended(&merge, 1, true);
    assert_string_equal(told(), "");
    spread_merge_fini(&merge);
}

static void a_node_that_failed_is_not_waited_for(void **state)
{
    (void)state;
    begin(3);
    take(0, MANIFEST);
    take(0, VERIFYING);
    take(1, VERIFYING);
    file(2, 'x', 10, 5);
    assert_string_equal(told(), MANIFEST " " FILE_OF("x", ",\"total\":30,\"completed\":5"));
    spread_merge_ended(&merge, 2, false);
    assert_string_equal(told(), VERIFYING " ");
    spread_merge_fini(&merge);
}

static void what_says_nothing_of_progress_is_passed_over(void **state)
{
    static const char *const objects[] = {
        "{}", "{\"done\":true}", "[]", "", "{\"status\":7}", "{\"digest\":\"sha256:x\"}", SUCCESS,
    };

    (void)state;
    begin(1);
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        take(0, objects[i]);
    }
    assert_string_equal(told(), "");
    take(0, "{\"status\":\"a\\\"b\",\"digest\":\"sha256:x\",\"total\":-5,\"completed\":\"7\"}");
    assert_string_equal(told(), "{\"status\":\"a\\\"b\",\"digest\":\"sha256:x\"} ");
    spread_merge_fini(&merge);
}

static void numbers_stay_such_that_any_client_reads_them(void **state)
{
    (void)state;
    begin(2);
    take(0, "{\"status\":\"x\",\"digest\":\"d\",\"total\":9223372036854775807,"
            "\"completed\":9223372036854775807}");
    assert_string_equal(told(), "{\"status\":\"x\",\"digest\":\"d\",\"total\":35184372088832,"
                                "\"completed\":17592186044416} ");
    spread_merge_fini(&merge);
}

static void so_many_files_are_told_and_no_more(void **state)
{
    char text[96];
    struct buf out = {0};
    size_t lines = 0;

    (void)state;
    begin(1);
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"status\":\"s\",\"digest\":\"%u\",\"total\":1,\"completed\":1}", i);
        take(0, text);
    }
    while (spread_merge_next(&merge, &out)) {
        lines++;
    }
    buf_fini(&out);
    assert_int_equal(lines, 1024);
    spread_merge_fini(&merge);
}

/* --- without memory --------------------------------------------------------------------------- */

static void run(void *arg)
{
    static const char *const objects[] = {MANIFEST, VERIFYING,
                                          "{\"status\":\"p\",\"digest\":\"d\",\"total\":1}"};
    struct buf out = {0};
    bool taken[3] = {false};
    size_t lines = 0;
    size_t wanted = 0;

    (void)arg;
    if (!spread_merge_init(&merge, 1)) {
        spread_merge_fini(&merge);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        taken[i] = spread_merge_take(&merge, 0, slice_str(objects[i]));
        wanted += taken[i];
    }
    while (spread_merge_next(&merge, &out) && lines < 10) {
        lines++;
    }
    assert_int_equal(lines, wanted);
    buf_fini(&out);
    spread_merge_fini(&merge);
}

static void memory_may_end_at_any_line(void **state)
{
    (void)state;
    alloc_fault_each(run, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_told_as_the_sum_of_all_nodes),
        cmocka_unit_test(what_a_node_has_done_never_grows_less),
        cmocka_unit_test(the_first_status_goes_on_at_once_the_others_when_all_are_there),
        cmocka_unit_test(lines_come_in_the_order_of_one_node),
        cmocka_unit_test(a_node_that_is_done_has_everything),
        cmocka_unit_test(a_node_that_failed_is_not_waited_for),
        cmocka_unit_test(what_says_nothing_of_progress_is_passed_over),
        cmocka_unit_test(numbers_stay_such_that_any_client_reads_them),
        cmocka_unit_test(so_many_files_are_told_and_no_more),
        cmocka_unit_test(memory_may_end_at_any_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
