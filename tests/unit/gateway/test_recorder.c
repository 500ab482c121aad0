/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/counter.h"
#include "gateway/recorder.h"

static struct counters counters;
static struct recorder recorder;
static struct loop *loop;
static unsigned ready;

static void on_ready(void *owner)
{
    (void)owner;
    ready++;
    loop_stop(loop);
}

static int set_up(void **state)
{
    (void)state;
    memset(&counters, 0, sizeof(counters));
    counters_attach(&counters);
    ready = 0;
    loop = loop_new();
    assert_non_null(loop);
    recorder_init(&recorder, loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    recorder_fini(&recorder);
    loop_free(&loop);
    counters_attach(NULL);
    return 0;
}

static void expect_taken(const char *text)
{
    struct buf got = {0};

    recorder_take(&recorder, &got);
    assert_true(slice_eq(buf_slice(&got), slice_str(text)));
    buf_fini(&got);
}

static void lines_come_in_order_and_once(void **state)
{
    uint64_t number;

    (void)state;
    assert_true(recorder_running(&recorder) == 0);
    assert_true(recorder_begin(&recorder, on_ready, NULL));
    number = recorder_running(&recorder);
    assert_true(number != 0);
    recorder_put(&recorder, number, SLICE("one\n"));
    recorder_put(&recorder, number, SLICE("two\n"));
    assert_int_equal(ready, 0); /* never from inside a call */
    loop_run(loop);
    assert_int_equal(ready, 1);
    expect_taken("one\ntwo\n");
    expect_taken("");
    recorder_put(&recorder, number, SLICE("three\n"));
    loop_run(loop);
    assert_int_equal(ready, 2);
    expect_taken("three\n");
    assert_int_equal(counter_get(&counters, COUNTER_RECORDED), 3);
}

static void one_runs_at_a_time_and_the_next_has_another_key(void **state)
{
    struct siphash_key first, next;
    uint64_t number, begun_us;

    (void)state;
    assert_true(recorder_begin(&recorder, on_ready, NULL));
    assert_false(recorder_begin(&recorder, on_ready, NULL));
    number = recorder_running(&recorder);
    assert_true(recorder_terms(&recorder, number, &first, &begun_us));
    recorder_put(&recorder, number, SLICE("unread\n"));
    recorder_end(&recorder);
    assert_true(recorder_running(&recorder) == 0);
    recorder_put(&recorder, number, SLICE("late\n")); /* ended meanwhile */
    assert_true(recorder_begin(&recorder, on_ready, NULL));
    recorder_put(&recorder, number, SLICE("of the one before\n"));
    expect_taken("");
    assert_false(recorder_terms(&recorder, number, &next, &begun_us));
    assert_true(recorder_terms(&recorder, recorder_running(&recorder), &next, &begun_us));
    assert_memory_not_equal(&first, &next, sizeof(first));
    assert_int_equal(counter_get(&counters, COUNTER_RECORDED), 1);
}

/* Nobody reads: what waits is bounded, what is missing is one gap with its size. */
static void what_is_not_read_is_dropped_and_counted(void **state)
{
    static char line[100 * 1024];
    struct buf got = {0};
    uint64_t number;
    size_t fitting = RECORDER_LINES_MAX / sizeof(line);

    (void)state;
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    assert_true(recorder_begin(&recorder, on_ready, NULL));
    number = recorder_running(&recorder);
    for (size_t i = 0; i < fitting + 2; i++) {
        recorder_put(&recorder, number, slice_of(line, sizeof(line)));
    }
    recorder_put(&recorder, number, SLICE("it would fit\n"));
    recorder_take(&recorder, &got);
    assert_int_equal(buf_len(&got), fitting * sizeof(line) + strlen("{\"dropped\":3}\n"));
    assert_non_null(memmem(buf_slice(&got).ptr, buf_len(&got), "\n{\"dropped\":3}\n", 15));
    buf_fini(&got);
    assert_int_equal(counter_get(&counters, COUNTER_RECORDED), fitting);
    assert_int_equal(counter_get(&counters, COUNTER_RECORD_DROPPED), 3);
    recorder_put(&recorder, number, SLICE("again\n"));
    expect_taken("again\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_come_in_order_and_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_runs_at_a_time_and_the_next_has_another_key, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_read_is_dropped_and_counted, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
