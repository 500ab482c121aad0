/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/state_file.h"
#include "node_fixture.h"

static char folder[64];
static unsigned told;
static char why[256];

static void on_kept(void *owner, const char *why_not)
{
    (void)owner;
    told++;
    (void)snprintf(why, sizeof(why), "%s", why_not == NULL ? "" : why_not);
}

static int setup(void **state)
{
    told = 0;
    (void)snprintf(folder, sizeof(folder), "/tmp/mcpgate-state-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : node_setup(state);
}

static int teardown(void **state)
{
    return rmdir(folder) != 0 ? -1 : node_teardown(state);
}

static bool is_told(void *count)
{
    return told >= *(const unsigned *)count;
}

static void wait_told(unsigned count)
{
    run_until(is_told, &count);
}

/* What a new one reads there. */
static void assert_kept(const char *directory, const char *text)
{
    struct state_file *f = state_file_new(loop, directory, "a.json", on_kept, NULL);
    struct buf got = {0};
    struct err e = {0};

    assert_int_equal(state_file_read(f, &got, &e), MCP_OK);
    assert_int_equal(buf_len(&got), strlen(text));
    assert_memory_equal(buf_slice(&got).ptr, text, strlen(text));
    buf_fini(&got);
    state_file_free(&f);
}

static void what_is_put_last_is_kept(void **state)
{
    char deep[128];
    char path[160];
    struct stat st;
    struct state_file *f;
    struct buf got = {0};
    struct err e = {0};

    (void)state;
    (void)snprintf(deep, sizeof(deep), "%s/a/b", folder);
    (void)snprintf(path, sizeof(path), "%s/a.json", deep);
    f = state_file_new(loop, deep, "a.json", on_kept, NULL);
    assert_int_equal(state_file_read(f, &got, &e), MCP_OK); /* there is nothing yet */
    assert_int_equal(buf_len(&got), 0);
    state_file_put(f, SLICE("first"));
    state_file_put(f, SLICE("second"));
    state_file_put(f, SLICE("third"));
    assert_int_equal(told, 0);
    wait_told(1);
    assert_string_equal(why, "");
    assert_kept(deep, "third");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    state_file_put(f, SLICE("fourth"));
    wait_told(2);
    assert_kept(deep, "fourth");
    state_file_free(&f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(deep), 0); /* nothing else was left there */
    (void)snprintf(deep, sizeof(deep), "%s/a", folder);
    assert_int_equal(rmdir(deep), 0);
}

static void what_cannot_be_kept_is_told(void **state)
{
    struct state_file *f = state_file_new(loop, "/proc/mcpgate", "a.json", on_kept, NULL);
    struct state_file *nowhere = state_file_new(loop, NULL, "a.json", on_kept, NULL);

    (void)state;
    state_file_put(f, SLICE("x"));
    wait_told(1);
    assert_non_null(strstr(why, "/proc/mcpgate"));
    state_file_put(nowhere, SLICE("x"));
    wait_told(2);
    assert_non_null(strstr(why, "no state directory"));
    state_file_put(f, (struct slice){0});
    wait_told(3);
    assert_string_equal(why, "out of memory");
    state_file_free(&f);
    state_file_free(&nowhere);
}

static void the_end_may_come_while_it_is_written(void **state)
{
    struct state_file *f = state_file_new(loop, "/proc/mcpgate", "a.json", on_kept, NULL);

    (void)state;
    state_file_put(f, SLICE("x"));
    state_file_put(f, SLICE("y"));
    state_file_free(&f);
    run_turns();
    assert_int_equal(told, 0);
}

static void the_directory_is_the_first_that_is_named(void **state)
{
    char *path;

    (void)state;
    assert_int_equal(setenv("STATE_DIRECTORY", "/s/one:/s/two", 1), 0);
    assert_int_equal(setenv("XDG_STATE_HOME", "/x", 1), 0);
    assert_int_equal(setenv("HOME", "/tmp", 1), 0);
    path = state_file_directory("given");
    assert_string_equal(path, "given");
    free(path);
    path = state_file_directory(NULL);
    assert_string_equal(path, "/s/one");
    free(path);
    assert_int_equal(unsetenv("STATE_DIRECTORY"), 0);
    path = state_file_directory(NULL);
    assert_string_equal(path, "/x/mcpgate");
    free(path);
    assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
    path = state_file_directory(NULL);
    assert_string_equal(path, "/tmp/.local/state/mcpgate");
    free(path);
    assert_int_equal(setenv("HOME", "/nowhere", 1), 0);
    assert_null(state_file_directory(NULL));
    assert_int_equal(unsetenv("HOME"), 0);
    assert_null(state_file_directory(NULL));
}

int main(void)
{
#define STATE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        STATE_TEST(what_is_put_last_is_kept),
        STATE_TEST(what_cannot_be_kept_is_told),
        STATE_TEST(the_end_may_come_while_it_is_written),
        STATE_TEST(the_directory_is_the_first_that_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
