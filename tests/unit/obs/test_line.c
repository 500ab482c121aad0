/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to a pipe whose reader has stopped are dropped, and those that arrive are whole. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "obs/line.h"

static void a_full_pipe_takes_no_line_and_stops_nobody(void **state)
{
    struct counters counters = {0};
    struct buf line = {0};
    char in[4096];
    int fds[2];
    size_t got = 0;
    ssize_t n;
    size_t lines = 0;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    counters_attach(&counters);
    assert_true(buf_append_str(&line, "0123456789abcdefghijklmnopqrstuvwxyz, and a line end\n"));
    while (counter_get(&counters, COUNTER_LOG_DROPPED) < 3) {
        line_write(fds[1], &line);
        lines++;
    }
    assert_int_equal(close(fds[1]), 0);
    while ((n = read(fds[0], in, sizeof(in))) > 0) {
        got += (size_t)n;
    }
    assert_int_equal(got, (lines - 3) * buf_len(&line));
    assert_int_equal(close(fds[0]), 0);
    counters_attach(NULL);
    buf_fini(&line);
}

static void a_line_that_failed_or_is_too_long_is_dropped(void **state)
{
    struct counters counters = {0};
    struct buf line = {0};
    char *at;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    counters_attach(&counters);
    at = buf_reserve(&line, PIPE_BUF + 1);
    assert_non_null(at);
    memset(at, 'x', PIPE_BUF + 1);
    buf_commit(&line, PIPE_BUF + 1);
    line_write(fds[1], &line);
    buf_clear(&line);
    line.failed = true;
    line_write(fds[1], &line);
    assert_int_equal(counter_get(&counters, COUNTER_LOG_DROPPED), 2);
    counters_attach(NULL);
    buf_fini(&line);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_pipe_takes_no_line_and_stops_nobody),
        cmocka_unit_test(a_line_that_failed_or_is_too_long_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
