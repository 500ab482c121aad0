/* SPDX-License-Identifier: Apache-2.0 */
/* Another configuration while memory is out: whichever allocation fails, the old one stays whole or
 * the new one is used whole, who asked is told which, and the next reload does as it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "gateway/gateway.h"
#include "gateway/reload.h"
#include "obs/access_log.h"

enum { LIMIT_MS = 20 * 1000 };

#define LISTEN                                                                                     \
    "mcp: {listen: '127.0.0.1:0'}\nhttp: {listen: '127.0.0.1:0'}\nadmin: {listen: off}\n"          \
    "reactor: {mode: single}\n"

static const char before[] = LISTEN "log: {access: before.log}\n"
                                    "nodes: [{url: 'http://127.0.0.1:1', name: first}]\n";
static const char after[] = LISTEN
    "log: {access: after.log}\n"
    "limits: {max_body: 1MiB}\n"
    "trusted_proxies: [10.0.0.0/8, unix, 'fd00::7']\n"
    "keys: [{name: alice, key: one-key, tenant: t, weight: 2}, {name: bob, key_file: bob.key}]\n"
    "routes: {r: {arms: [{model: a}, {model: b, shadow: 5}], fallback: [c, d]}}\n"
    "models: {a: {pin: {num_ctx: 4096}}}\n"
    "nodes:\n"
    "  - {url: 'http://127.0.0.1:2', slots: 2, resident: [a, b]}\n"
    "  - {url: 'http://127.0.0.1:1', name: first, api_key: node-key,\n"
    "     headers: [{name: X-A, value: 'a'}, {name: X-B, value: 'b'}]}\n";

static char directory[] = "/tmp/mcpgate-reload-XXXXXX";
static struct loop *loop;
static struct gateway gateway;
static const struct config_args args = {.path = "./c.yaml"};
static struct timer limit;
static bool asked;
static int told;

static void on_done(void *owner, int code, struct slice text)
{
    (void)owner;
    (void)text;
    told = code;
    asked = false;
    loop_stop(loop);
}

static void on_limit(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(name, 0600), 0);
}

/* What a reload comes to. */
static int reload(void)
{
    struct reload_asker asker = {.done = on_done};

    asked = true;
    reload_ask(gateway.reload, &asker);
    timer_arm(loop, &limit, LIMIT_MS);
    loop_run(loop);
    assert_false(asked);
    timer_arm(loop, &limit, 0); /* a turn in which its loops take it */
    loop_run(loop);
    return told;
}

static bool is_logged_to(const char *path)
{
    static const struct access_record record = {
        .id = "", .face = "", .client = "", .key = "", .op = "", .node = "", .code = ""};
    struct stat st;
    bool has;

    access_log_write(&record);
    access_log_flush();
    has = stat(path, &st) == 0 && st.st_size > 0;
    assert_true(!has || truncate(path, 0) == 0);
    return has;
}

static void assert_as_before(const struct config *config)
{
    assert_ptr_equal(gateway.config, config);
    assert_ptr_equal(gateway.subs[0].config, config);
    assert_int_equal(nodes_count(gateway.nodes), 1);
    assert_string_equal(nodes_at(gateway.nodes, 0)->spec->name, "first");
    assert_string_equal(nodes_at(gateway.nodes, 0)->spec->extra_headers, "");
    assert_true(is_logged_to("before.log"));
}

static void assert_as_after(void)
{
    assert_int_equal(gateway.config->key_count, 2);
    assert_string_equal(gateway.config->keys[1].key, "two-key");
    assert_int_equal(nodes_count(gateway.nodes), 2);
    assert_string_equal(nodes_at(gateway.nodes, 0)->spec->name, "127.0.0.1:2");
    assert_string_equal(nodes_at(gateway.nodes, 1)->spec->name, "first");
    assert_true(is_logged_to("after.log"));
}

static void whichever_allocation_fails(void **state)
{
    size_t at = 0, refused = 0, count;

    (void)state;
    write_file("c.yaml", after);
    assert_int_equal(reload(), MCP_OK); /* a loop that has retired nodes has the memory for it */
    assert_as_after();
    write_file("c.yaml", before);
    assert_int_equal(reload(), MCP_OK);
    do {
        struct config *config = gateway.config;

        at++;
        write_file("c.yaml", after);
        alloc_fault_at(at);
        (void)reload();
        count = alloc_fault_count();
        alloc_fault_at(0);
        if (told == MCP_OK) {
            assert_as_after();
        } else {
            assert_int_equal(told, MCP_ENOMEM);
            assert_as_before(config);
            refused++;
        }
        write_file("c.yaml", before);
        assert_int_equal(reload(), MCP_OK);
        assert_as_before(gateway.config);
    } while (count >= at);
    assert_int_equal(told, MCP_OK);
    assert_true(refused > 100);
}

static int open_gateway(void **state)
{
    struct config *config;
    struct err e = {0};

    (void)state;
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) {
        return 1;
    }
    write_file("bob.key", "two-key\n");
    write_file("c.yaml", before);
    loop = loop_new();
    config = config_load(&args, &e);
    if (loop == NULL || config == NULL || gateway_open(&gateway, config, &args, loop, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    config_unref(&config);
    timer_init(&limit, on_limit, NULL);
    return 0;
}

static int close_gateway(void **state)
{
    char command[64];

    (void)state;
    gateway_close(&gateway);
    loop_free(&loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    return chdir("/") != 0 || system(command) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whichever_allocation_fails, open_gateway, close_gateway),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
