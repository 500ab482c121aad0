/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "obs/access_log.h"

static const struct access_record record = {
    .wall_us = 1700000000000001U,
    .id = "id-1",
    .face = "http",
    .client = "127.0.0.1",
    .key = "",
    .op = "chat",
    .path = {"/v1/chat/completions", 20},
    .model = {"a\nb", 3},
    .node = "n",
    .code = "ok",
    .status = 200,
    .parts = 3,
    .bytes_in = 10,
    .bytes_out = 20,
    .queue_us = 5,
    .first_part_us = 7,
    .total_us = 9,
};

static void read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, out, size - 1);

    assert_true(n >= 0);
    out[n] = '\0';
    assert_int_equal(close(fd), 0);
}

static void one_line_per_exchange(void **state)
{
    char path[] = "/tmp/access_log.XXXXXX";
    char text[1024];
    struct err e;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(access_log_open(path, &e), MCP_OK);
    access_log_write(&record);
    access_log_close();
    read_file(path, text, sizeof(text));
    assert_string_equal(text, "ts=2023-11-14T22:13:20.000001Z event=exchange id=id-1 face=http "
                              "client=127.0.0.1 op=chat path=/v1/chat/completions "
                              "model=\"a\\x0ab\" node=n code=ok status=200 parts=3 bytes_in=10 "
                              "bytes_out=20 queue_us=5 first_us=7 total_us=9\n");
    assert_int_equal(unlink(path), 0);
}

/* Each read of a pipe in packet mode gives one write. */
static void lines_are_gathered(void **state)
{
    struct counters counters = {0};
    char in[2 * PIPE_BUF];
    size_t lines = 0;
    size_t writes = 0;
    int saved = dup(STDERR_FILENO);
    struct err e;
    ssize_t n;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_DIRECT | O_NONBLOCK), 0);
    assert_true(saved >= 0);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(access_log_open(NULL, &e), MCP_OK);
    counters_attach(&counters);
    for (int i = 0; i < 40; i++) {
        access_log_write(&record);
    }
    access_log_flush();
    access_log_flush();
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
    while ((n = read(fds[0], in, sizeof(in))) > 0) {
        writes++;
        assert_true(n <= PIPE_BUF);
        assert_int_equal(in[n - 1], '\n');
        for (ssize_t i = 0; i < n; i++) {
            lines += in[i] == '\n' ? 1 : 0;
        }
    }
    assert_int_equal(lines, 40);
    assert_in_range(writes, 2, 5);
    assert_int_equal(counter_get(&counters, COUNTER_LOG_DROPPED), 0);
    access_log_close();
    counters_attach(NULL);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

static void each_line_that_is_dropped_counts(void **state)
{
    struct counters counters = {0};
    struct err e;

    (void)state;
    assert_int_equal(access_log_open("/dev/full", &e), MCP_OK);
    counters_attach(&counters);
    for (int i = 0; i < 40; i++) {
        access_log_write(&record);
    }
    access_log_close();
    assert_int_equal(counter_get(&counters, COUNTER_LOG_DROPPED), 40);
    counters_attach(NULL);
}

static void a_rotated_file_is_opened_anew(void **state)
{
    char path[] = "/tmp/access_log.XXXXXX";
    char old[64];
    char text[1024];
    struct err e;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(close(fd), 0);
    (void)snprintf(old, sizeof(old), "%s.1", path);
    assert_int_equal(access_log_open(path, &e), MCP_OK);
    access_log_write(&record);
    assert_int_equal(rename(path, old), 0);
    access_log_reopen();
    access_log_write(&record);
    access_log_close();
    read_file(path, text, sizeof(text));
    assert_non_null(strstr(text, "id=id-1"));
    assert_null(strstr(strstr(text, "id=id-1") + 1, "id=id-1"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(old), 0);
}

static void a_path_that_cannot_be_opened_is_named(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(access_log_open("/nonexistent/x/log", &e), MCP_EARGUMENT);
    assert_string_equal(e.text, "access log /nonexistent/x/log: No such file or directory");
}

static void off_writes_nothing(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(access_log_open("off", &e), MCP_OK);
    access_log_write(&record);
    access_log_close();
    assert_int_not_equal(access("off", F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_per_exchange),
        cmocka_unit_test(lines_are_gathered),
        cmocka_unit_test(each_line_that_is_dropped_counts),
        cmocka_unit_test(a_rotated_file_is_opened_anew),
        cmocka_unit_test(a_path_that_cannot_be_opened_is_named),
        cmocka_unit_test(off_writes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
