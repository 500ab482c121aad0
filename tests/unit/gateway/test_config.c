/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as people write it: files in a directory of their own, and the error's text,
 * which is part of the interface. */
#include <fcntl.h>
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

#include "gateway/config.h"
#include "gateway/config_item.h"

static int home = -1;
static char directory[] = "/tmp/mcpgate-config-XXXXXX";

static int enter_directory(void **state)
{
    (void)state;
    home = open(".", O_RDONLY | O_DIRECTORY);
    return home < 0 || mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int leave_directory(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    return fchdir(home) != 0 || close(home) != 0 || system(command) != 0;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(name, mode), 0);
}

static struct config *load_yaml(const char *text, struct err *e)
{
    struct config_args args = {.path = "c.yaml"};

    write_file("c.yaml", text, 0600);
    *e = (struct err){0};
    return config_load(&args, e);
}

static struct config *load_good(const char *text)
{
    struct err e;
    struct config *c = load_yaml(text, &e);

    if (c == NULL) {
        fail_msg("refused: %s\n%s", e.text, text);
    }
    return c;
}

/* --- what is accepted ------------------------------------------------------------------------- */

static void assert_defaults(const struct config *c)
{
    assert_int_equal(c->node_count, 1);
    assert_string_equal(c->nodes[0].url, "http://127.0.0.1:11434");
    assert_string_equal(c->nodes[0].name, "127.0.0.1:11434");
    assert_int_equal(c->nodes[0].kind, CONFIG_KIND_AUTO);
    assert_null(c->nodes[0].api_key);
    assert_string_equal(c->mcp_listen, "127.0.0.1:8080");
    assert_string_equal(c->http_listen, "127.0.0.1:11435");
    assert_string_equal(c->admin_listen, "127.0.0.1:6060");
    assert_int_equal(c->key_count, 0);
    assert_false(c->insecure);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_null(c->access_log);
    assert_int_equal(c->max_frame_bytes, 16 << 20);
    assert_int_equal(c->max_body_bytes, 100 << 20);
    assert_int_equal(c->body_memory_bytes, 1 << 30);
    assert_int_equal(c->max_sessions, 4096);
    assert_int_equal(c->sessions_remembered, 1024);
    assert_int_equal(c->session_idle_ms, 300 * 1000);
    assert_int_equal(c->client_stall_ms, 30 * 1000);
    assert_int_equal(c->drain_timeout_ms, 30 * 1000);
    assert_int_equal(c->connect_timeout_ms, 10 * 1000);
    assert_int_equal(c->first_byte_timeout_ms, 600 * 1000);
    assert_int_equal(c->idle_timeout_ms, 120 * 1000);
    assert_int_equal(c->pool_idle, 20);
    assert_int_equal(c->pool_idle_ms, 30 * 1000);
    assert_int_equal(c->warning_count, 0);
}

static void test_defaults_without_file(void **state)
{
    struct config_args args = {0};
    struct config *c = config_load(&args, NULL);

    (void)state;
    assert_non_null(c);
    assert_defaults(c);
    config_unref(&c);
    assert_null(c);
    config_unref(&c);
}

static void test_files_that_say_nothing(void **state)
{
    static const char *const texts[] = {"", "# only a comment\n", "{}\n", "---\n{}\n...\n",
                                        "\xef\xbb\xbf"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config *c = load_good(texts[i]);

        assert_defaults(c);
        config_unref(&c);
    }
}

static void test_everything_given(void **state)
{
    struct config *c;

    (void)state;
    write_file("node.key", "node-secret\n", 0600);
    write_file("bob.key", "  \r\n", 0600);
    write_file("bob.key", "bob-secret \r\n\n", 0600);
    c = load_good("nodes:\n"
                  "  - url: http://10.0.0.1:11434/ollama\n"
                  "    kind: ollama\n"
                  "    name: gpu0\n"
                  "    slots: 4\n"
                  "    api_key_file: node.key\n"
                  "    headers:\n"
                  "      - {name: X-Team, value: 'a b'}\n"
                  "      - {name: X-Empty, value: ''}\n"
                  "  - {url: 'unix:/run/vllm.sock', kind: openai, slots: unlimited}\n"
                  "  - {url: 'http://[::1]:8000', slots: auto}\n"
                  "mcp: {listen: '0.0.0.0:9000'}\n"
                  "http: {listen: 'unix:/tmp/http.sock'}\n"
                  "admin: {listen: off}\n"
                  "keys:\n"
                  "  - {name: alice, key: alice-secret, tenant: team, weight: 3, class: batch,\n"
                  "     max_priority: normal, rate: 60}\n"
                  "  - {name: bob, key_file: bob.key}\n"
                  "limits:\n"
                  "  max_frame: 4KiB\n"
                  "  max_body: 2097152B\n"
                  "  body_memory: 2GiB\n"
                  "  max_sessions: 1\n"
                  "  sessions_remembered: 0\n"
                  "  idle_connections: 7\n"
                  "queue: {mode: always, per_tenant: 5, bytes: 1MiB, cancel_grace: 1s,\n"
                  "        ageing: 1m, min_resident: 0s, max_load_wait: 5s, comments: 20s}\n"
                  "timeouts:\n"
                  "  session_idle: 10ms\n"
                  "  client_stall: 2s\n"
                  "  drain: 0s\n"
                  "  connect: 3s\n"
                  "  first_byte: 2h\n"
                  "  idle: 5m\n"
                  "  pool_idle: 6s\n"
                  "log: {level: debug, access: /var/log/access}\n");
    assert_int_equal(c->node_count, 3);
    assert_string_equal(c->nodes[0].name, "gpu0");
    assert_int_equal(c->nodes[0].kind, CONFIG_KIND_OLLAMA);
    assert_string_equal(c->nodes[0].api_key, "node-secret");
    assert_int_equal(c->nodes[0].header_count, 2);
    assert_string_equal(c->nodes[0].headers[0].name, "X-Team");
    assert_string_equal(c->nodes[0].headers[0].value, "a b");
    assert_string_equal(c->nodes[0].headers[1].value, "");
    assert_string_equal(c->nodes[1].name, "unix:/run/vllm.sock");
    assert_int_equal(c->nodes[1].kind, CONFIG_KIND_OPENAI);
    assert_string_equal(c->nodes[2].name, "[::1]:8000");
    assert_string_equal(c->mcp_listen, "0.0.0.0:9000");
    assert_string_equal(c->http_listen, "unix:/tmp/http.sock");
    assert_null(c->admin_listen);
    assert_int_equal(c->key_count, 2);
    assert_string_equal(c->keys[0].name, "alice");
    assert_string_equal(c->keys[0].key, "alice-secret");
    assert_string_equal(c->keys[0].tenant, "team");
    assert_int_equal(c->keys[0].weight, 3);
    assert_int_equal(c->keys[0].class, PRIORITY_BATCH);
    assert_int_equal(c->keys[0].max_priority, PRIORITY_NORMAL);
    assert_int_equal(c->keys[0].rate_per_min, 60);
    assert_string_equal(c->keys[1].key, "bob-secret");
    assert_null(c->keys[1].tenant);
    assert_int_equal(c->keys[1].weight, 1);
    assert_int_equal(c->keys[1].class, PRIORITY_NORMAL);
    assert_int_equal(c->keys[1].max_priority, PRIORITY_INTERACTIVE);
    assert_int_equal(c->nodes[0].slots, 4);
    assert_int_equal(c->nodes[1].slots, CONFIG_SLOTS_UNLIMITED);
    assert_int_equal(c->nodes[2].slots, CONFIG_SLOTS_AUTO);
    assert_int_equal(c->queue_per_tenant, 5);
    assert_int_equal(c->queue_bytes, 1 << 20);
    assert_int_equal(c->cancel_grace_ms, 1000);
    assert_int_equal(c->queue, CONFIG_QUEUE_ALWAYS);
    assert_int_equal(c->queue_ageing_ms, 60000);
    assert_int_equal(c->queue_comments_ms, 20000);
    assert_int_equal(c->min_resident_ms, 0);
    assert_int_equal(c->max_load_wait_ms, 5000);
    assert_int_equal(c->max_frame_bytes, 4096);
    assert_int_equal(c->max_body_bytes, 2097152);
    assert_int_equal(c->body_memory_bytes, UINT64_C(2) << 30);
    assert_int_equal(c->max_sessions, 1);
    assert_int_equal(c->sessions_remembered, 0);
    assert_int_equal(c->pool_idle, 7);
    assert_int_equal(c->session_idle_ms, 10);
    assert_int_equal(c->client_stall_ms, 2000);
    assert_int_equal(c->drain_timeout_ms, 0);
    assert_int_equal(c->connect_timeout_ms, 3000);
    assert_int_equal(c->first_byte_timeout_ms, 7200000);
    assert_int_equal(c->idle_timeout_ms, 300000);
    assert_int_equal(c->pool_idle_ms, 6000);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(c->access_log, "/var/log/access");
    assert_int_equal(c->warning_count, 0);
    config_unref(&c);
}

static void test_single_node(void **state)
{
    struct config *c = load_good("node: {url: 'localhost:1', kind: openai}\n");

    (void)state;
    assert_int_equal(c->node_count, 1);
    assert_string_equal(c->nodes[0].url, "localhost:1");
    assert_int_equal(c->nodes[0].kind, CONFIG_KIND_OPENAI);
    config_unref(&c);
}

static void test_command_line_wins(void **state)
{
    const char *const urls[] = {"http://a:1", "http://b:2"};
    struct config_args args = {
        .path = "c.yaml",
        .node_urls = urls,
        .node_count = 2,
        .mcp_listen = "127.0.0.1:0",
        .http_listen = "off",
        .admin_listen = "0.0.0.0:0",
        .access_log = "off",
        .insecure = true,
    };
    struct config *c;

    (void)state;
    write_file("c.yaml", "node: {url: 'http://c:3'}\nmcp: {listen: '127.0.0.1:1'}\n", 0600);
    c = config_load(&args, NULL);
    assert_non_null(c);
    assert_int_equal(c->node_count, 2);
    assert_string_equal(c->nodes[1].url, "http://b:2");
    assert_string_equal(c->nodes[1].name, "b:2");
    assert_string_equal(c->mcp_listen, "127.0.0.1:0");
    assert_null(c->http_listen);
    assert_string_equal(c->admin_listen, "0.0.0.0:0");
    assert_string_equal(c->access_log, "off");
    assert_true(c->insecure);
    config_unref(&c);
}

static void test_files_beside_the_configuration(void **state)
{
    struct config_args args = {.path = "sub/c.yaml"};
    struct config *c;

    (void)state;
    assert_int_equal(mkdir("sub", 0700), 0);
    write_file("sub/k", "secret", 0600);
    write_file("sub/c.yaml", "keys: [{name: a, key_file: k}]\n", 0600);
    c = config_load(&args, NULL);
    assert_non_null(c);
    assert_string_equal(c->keys[0].key, "secret");
    config_unref(&c);
}

static void test_warnings(void **state)
{
    struct config_args args = {.path = "open.yaml"};
    struct config *c;

    (void)state;
    write_file("open.key", "s1", 0644);
    write_file("node.key", "s2", 0604);
    write_file("open.yaml",
               "node: {url: 'http://a:1', api_key_file: node.key}\n"
               "keys: [{name: a, key_file: open.key}, {name: b, key: s3}]\n",
               0644);
    c = config_load(&args, NULL);
    assert_non_null(c);
    assert_int_equal(c->warning_count, 3);
    assert_string_equal(c->warnings[0],
                        "node.api_key_file: other users can read 'node.key'; chmod 600 it");
    assert_string_equal(c->warnings[1],
                        "keys[0].key_file: other users can read 'open.key'; chmod 600 it");
    assert_string_equal(c->warnings[2],
                        "keys: other users can read 'open.yaml', which holds a key; chmod 600 it");
    config_unref(&c);
}

static void the_access_log_is_beside_the_file(void **state)
{
    struct config_args args = {.path = "etc/c.yaml"};
    struct config *c;
    struct err e = {0};

    (void)state;
    assert_int_equal(mkdir("etc", 0700), 0);
    write_file("etc/c.yaml", "log: {access: acc.log}\n", 0600);
    c = config_load(&args, &e);
    assert_non_null(c);
    assert_string_equal(c->access_log, "etc/acc.log");
    config_unref(&c);
    args.access_log = "here.log"; /* that of the command line is where the command is */
    c = config_load(&args, &e);
    assert_non_null(c);
    assert_string_equal(c->access_log, "here.log");
    config_unref(&c);
    assert_int_equal(unlink("etc/c.yaml"), 0);
    assert_int_equal(rmdir("etc"), 0);
    c = load_good("log: {access: stderr}\n");
    assert_null(c->access_log);
    config_unref(&c);
}

/* --- what is refused -------------------------------------------------------------------------- */

struct refused {
    const char *yaml;
    const char *error;
};

static void assert_refused(const struct refused *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err e;
        struct config *c = load_yaml(cases[i].yaml, &e);

        if (c != NULL) {
            fail_msg("taken, but expected \"%s\":\n%s", cases[i].error, cases[i].yaml);
        }
        if (strcmp(e.text, cases[i].error) != 0) {
            fail_msg("for\n%sexpected %s\n but was %s", cases[i].yaml, cases[i].error, e.text);
        }
        assert_int_equal(e.code, MCP_EARGUMENT);
    }
}
#define ASSERT_REFUSED(cases) assert_refused(cases, sizeof(cases) / sizeof((cases)[0]))

static void test_structure(void **state)
{
    static const struct refused cases[] = {
        /* not YAML, or more of it than we take */
        {"mcp:\n  listen: [\n", "c.yaml:3: not YAML: did not find expected node content"},
        {"mcp: {}\n\tx\n", "c.yaml:2: not YAML: found character that cannot start any token"},
        {"a: \xff\n", "c.yaml:1: not YAML: invalid leading UTF-8 octet"},
        {"log: {}\n---\nlog: {}\n", "c.yaml:2: a second document; expected one"},
        {"log: &a {}\nmcp: *a\n", "c.yaml:2: aliases (*name) are not supported"},
        {"log: {level: \"in\\0fo\"}\n", "c.yaml:1: a text with a zero byte"},
        {"log:\n  [a]: b\n", "c.yaml:2: expected a key, not a list or mapping"},
        {"a: [[[[\n[[[[ x ]]]]]]]]\n", "c.yaml:2: nested too deep"},
        /* unknown keys: the line of the key, and what there is */
        {"limits:\n  max_body: 1MiB\n\n  max_bodi: 1MiB\n",
         "c.yaml:4: limits.max_bodi: unknown key; expected one of max_frame, max_part, window, "
         "max_body, "
         "body_memory, max_sessions, sessions_remembered, idle_connections"},
        {"log: {}\nlisten: 1\n",
         "c.yaml:2: listen: unknown key; expected one of node, nodes, mcp, http, admin, reactor, "
         "limits, queue, placement, batch, share, timeouts, log, trace, state, discovery, keys, "
         "trusted_proxies, routes, models"},
        {"mcp.listen: 127.0.0.1:1\n",
         "c.yaml:1: mcp.listen: unknown key; expected one of node, nodes, mcp, http, admin, "
         "reactor, limits, queue, placement, batch, share, timeouts, log, trace, state, discovery, "
         "keys, "
         "trusted_proxies, routes, models"},
        {"nodes:\n  - url: a\n  - url: b\n    knd: auto\n",
         "c.yaml:4: nodes[1].knd: unknown key; expected one of url, kind, name, api_key, "
         "api_key_file, resident, slots, memory, headers"},
        {"node:\n  url: a\n  headers:\n    - nam: x\n",
         "c.yaml:4: node.headers[0].nam: unknown key; expected one of name, value"},
        {"keys:\n  - {name: a,\n     kee: b}\n",
         "c.yaml:3: keys[0].kee: unknown key; expected one of name, key, key_file, tenant, "
         "weight, class, max_priority, rate"},
        {"<<: {a: b}\n",
         "c.yaml:1: <<: unknown key; expected one of node, nodes, mcp, http, "
         "admin, reactor, limits, queue, placement, batch, share, timeouts, log, trace, state, "
         "discovery, keys, trusted_proxies, routes, models"},
        {"mcp: {}\nmcp: {}\n", "c.yaml:2: mcp: given twice"},
        {"log:\n  level: info\n  level: info\n", "c.yaml:3: log.level: given twice"},
        /* the wrong kind of value */
        {"- a\n",
         "c.yaml:1: expected keys below it: node, nodes, mcp, http, admin, "
         "reactor, limits, queue, placement, batch, share, timeouts, log, trace, state, discovery, "
         "keys, trusted_proxies, routes, models, not a list"},
        {"a\n", "c.yaml:1: expected keys below it: node, nodes, mcp, http, admin, reactor, limits, "
                "queue, placement, batch, share, timeouts, log, trace, state, discovery, keys, "
                "trusted_proxies, routes, models, not a "
                "single value"},
        {"mcp: 127.0.0.1:8080\n",
         "c.yaml:1: mcp: expected keys below it: listen, proxy_protocol, not a single value"},
        {"log:\n", "c.yaml:1: log: expected keys below it: level, access, not a single value"},
        {"mcp:\n  listen:\n    - 127.0.0.1:1\n",
         "c.yaml:3: mcp.listen: expected host:port, [v6]:port, unix:PATH or off, not a list"},
        {"nodes:\n  url: a\n",
         "c.yaml:2: nodes: expected a list of entries with the keys url, kind, name, "
         "api_key, api_key_file, resident, slots, memory, headers, not a mapping"},
        {"nodes:\n  - http://a\n",
         "c.yaml:2: nodes[0]: expected keys below it: url, kind, name, "
         "api_key, api_key_file, resident, slots, memory, headers, not a single value"},
        {"node:\n  url: {a: b}\n", "c.yaml:2: node.url: expected http://host:port, unix:PATH, "
                                   "dns://NAME:PORT or srv://_SERVICE._tcp.NAME, not a mapping"},
        {"nodes: []\n", "c.yaml:1: nodes: an empty list; give an entry or leave it out"},
        {"log: {}\nkeys: []\n", "c.yaml:2: keys: an empty list; give an entry or leave it out"},
        {"node: {url: a, headers: []}\n",
         "c.yaml:1: node.headers: an empty list; give an entry or leave it out"},
    };

    (void)state;
    ASSERT_REFUSED(cases);
}

static void test_values(void **state)
{
    static const struct refused cases[] = {
        {"log:\n\n  level: loud\n",
         "c.yaml:3: log.level: expected debug, info, warn or error, not 'loud'"},
        {"log: {access: ''}\n",
         "c.yaml:1: log.access: expected stderr, off or the path of a file, not ''"},
        {"nodes:\n  - url: http://a:1\n    kind: vllm\n",
         "c.yaml:3: nodes[0].kind: expected ollama, openai or auto, not 'vllm'"},
        {"mcp:\n  listen: localhost\n", "c.yaml:2: mcp.listen: expected host:port, [v6]:port, "
                                        "unix:PATH or off, not 'localhost'"},
        {"mcp:\n  listen: 127.0.0.1:65536\n", "c.yaml:2: mcp.listen: expected host:port, "
                                              "[v6]:port, unix:PATH or off, not '127.0.0.1:65536'"},
        {"limits:\n  max_body: 100\n",
         "c.yaml:2: limits.max_body: expected a size such as 512B, 64KiB, 16MiB or 1GiB, from "
         "1KiB to 16GiB, not '100'"},
        {"limits:\n  max_body: 100MB\n",
         "c.yaml:2: limits.max_body: expected a size such as 512B, 64KiB, 16MiB or 1GiB, from "
         "1KiB to 16GiB, not '100MB'"},
        {"limits:\n  max_body: 17GiB\n",
         "c.yaml:2: limits.max_body: expected a size such as 512B, 64KiB, 16MiB or 1GiB, from "
         "1KiB to 16GiB, not '17GiB'"},
        {"limits:\n  max_frame: 99999999999999999999GiB\n",
         "c.yaml:2: limits.max_frame: expected a size such as 512B, 64KiB, 16MiB or 1GiB, from "
         "4KiB to 1GiB, not '99999999999999999999GiB'"},
        {"limits:\n  max_frame: 18446744073709551615KiB\n",
         "c.yaml:2: limits.max_frame: expected a size such as 512B, 64KiB, 16MiB or 1GiB, from "
         "4KiB to 1GiB, not '18446744073709551615KiB'"},
        {"limits: {max_sessions: -1}\n", "c.yaml:1: limits.max_sessions: expected a whole number, "
                                         "from 1 to 1000000, not '-1'"},
        {"limits: {max_sessions: 0}\n", "c.yaml:1: limits.max_sessions: expected a whole number, "
                                        "from 1 to 1000000, not '0'"},
        {"limits: {max_sessions: 0x10}\n", "c.yaml:1: limits.max_sessions: expected a whole "
                                           "number, from 1 to 1000000, not '0x10'"},
        {"timeouts: {connect: 10}\n",
         "c.yaml:1: timeouts.connect: expected a time such as 500ms, 30s, 10m or 1h, from 10ms "
         "to 24h, not '10'"},
        {"timeouts: {connect: 1.5s}\n",
         "c.yaml:1: timeouts.connect: expected a time such as 500ms, 30s, 10m or 1h, from 10ms "
         "to 24h, not '1.5s'"},
        {"timeouts: {connect: 25h}\n",
         "c.yaml:1: timeouts.connect: expected a time such as 500ms, 30s, 10m or 1h, from 10ms "
         "to 24h, not '25h'"},
        {"timeouts: {connect: ''}\n",
         "c.yaml:1: timeouts.connect: expected a time such as 500ms, 30s, 10m or 1h, from 10ms "
         "to 24h, not ''"},
        {"node: {url: http://a:1, name: 'a b'}\n",
         "c.yaml:1: node.name: expected a name of at most 64 printable ASCII characters without "
         "blanks, not 'a b'"},
        {"node: {url: http://a:1, headers: [{name: 'X Y', value: z}]}\n",
         "c.yaml:1: node.headers[0].name: expected a header's name, not 'X Y'"},
        {"node: {url: http://a:1, headers: [{name: content-LENGTH, value: 1}]}\n",
         "c.yaml:1: node.headers[0].name: the gateway sets 'content-LENGTH' itself"},
        {"node: {url: http://a:1, headers: [{name: X, value: \"a\\r\\nB: c\"}]}\n",
         "c.yaml:1: node.headers[0].value: expected a header's value, in one line"},
        {"node: {url: http://a:1, headers: [{name: X}]}\n",
         "c.yaml:1: node.headers[0]: expected a name and a value"},
        {"keys:\n  - name: a\n    key: 'pass word'\n",
         "c.yaml:3: keys[0].key: expected a key of printable ASCII characters without blanks"},
    };

    (void)state;
    ASSERT_REFUSED(cases);
}

static void test_rules(void **state)
{
    static const struct refused cases[] = {
        {"node: {url: http://a:1}\nnodes: [{url: http://b:1}]\n",
         "c.yaml:2: nodes: expected node or nodes, not both"},
        {"nodes:\n  - url: http://a:1\n  - name: x\n",
         "c.yaml:3: nodes[1]: the key 'url' is missing"},
        {"nodes:\n  - {url: http://a:1, name: x}\n  - {url: http://b:1, name: x}\n",
         "c.yaml:3: nodes[1]: a second node named 'x'"},
        {"nodes:\n  - {url: http://a:1}\n  - {url: http://a:1}\n",
         "c.yaml:3: nodes[1]: a second node named 'a:1'"},
        {"keys:\n  - {name: a, key: x}\n  - {name: a, key: y}\n",
         "c.yaml:3: keys[1]: has the name of keys[0]"},
        {"keys:\n  - {name: a, key: x}\n  - {name: b, key: x}\n",
         "c.yaml:3: keys[1]: has the key of keys[0]"},
        {"nodes:\n  - {url: a, api_key: x, api_key_file: y}\n",
         "c.yaml:2: nodes[0]: expected api_key or api_key_file, not both"},
        {"keys:\n  - {name: a, key: x, key_file: y}\n",
         "c.yaml:2: keys[0]: expected key or key_file, not both"},
        {"keys:\n  - {name: a}\n", "c.yaml:2: keys[0]: expected a name, and key or key_file"},
        {"keys:\n  - {key: a}\n", "c.yaml:2: keys[0]: expected a name, and key or key_file"},
        {"keys:\n  - {name: a, key_file: absent}\n",
         "c.yaml:2: keys[0].key_file: cannot read absent: No such file or directory"},
        {"keys:\n  - {name: a, key_file: empty}\n",
         "c.yaml:2: keys[0].key_file: empty holds no key, it is empty"},
        {"keys:\n  - {name: a, key_file: lines}\n",
         "c.yaml:2: keys[0].key_file: lines holds no key of printable ASCII without blanks"},
        {"keys:\n  - {name: a, key_file: .}\n",
         "c.yaml:2: keys[0].key_file: cannot read .: Is a directory"},
        {"keys:\n  - {name: a, key_file: big}\n",
         "c.yaml:2: keys[0].key_file: big does not hold a key"},
        {"node:\n  url: http://a:1\n  api_key_file: good\n"
         "  headers:\n    - {name: authorization, value: x}\n",
         "c.yaml:5: node.headers[0]: api_key_file sets this header already"},
        {"limits:\n  max_body: 1GiB\n  body_memory: 1MiB\n",
         "c.yaml:3: limits.body_memory: smaller than limits.max_body"},
        {"limits:\n  max_body: 2GiB\n",
         "c.yaml:1: limits.body_memory: smaller than limits.max_body"},
        /* listeners */
        {"admin: {listen: 127.0.0.1:1}\nhttp:\n  listen: 127.0.0.1:1\n",
         "c.yaml:1: admin.listen: 127.0.0.1:1 is the address of http.listen too"},
        {"http:\n  listen: 127.0.0.1:8080\n",
         "c.yaml:2: http.listen: 127.0.0.1:8080 is the address of mcp.listen too"},
        {"mcp:\n  listen: 127.0.0.1:6060\n",
         "c.yaml: admin.listen: 127.0.0.1:6060 is the address of mcp.listen too"},
        {"keys: [{name: a, key: b}]\nhttp:\n  listen: 0.0.0.0:8080\n",
         "c.yaml:3: http.listen: 0.0.0.0:8080 is the address of mcp.listen too"},
        {"http: {listen: 'unix:/a'}\nadmin: {listen: 'unix:/a'}\n",
         "c.yaml:2: admin.listen: unix:/a is the address of http.listen too"},
        {"http:\n  listen: off\nmcp: {listen: off}\n",
         "c.yaml:2: http.listen: mcp.listen and http.listen are both off"},
        {"http:\n  listen: 0.0.0.0:1\n",
         "c.yaml:2: http.listen: other machines could reach 0.0.0.0:1 without a key; expected "
         "keys in the configuration, or --insecure"},
        {"admin:\n  listen: '[::]:0'\n",
         "c.yaml:2: admin.listen: other machines could reach [::]:0 without a key; expected "
         "keys in the configuration, or --insecure"},
        /* a node that is the gateway */
        {"node:\n  url: http://127.0.0.1:11435\n",
         "c.yaml:1: node: http://127.0.0.1:11435 is this gateway itself (http.listen)"},
        {"http: {listen: 'unix:/a'}\nnodes:\n  - url: http://a:1\n  - url: unix:/a\n",
         "c.yaml:4: nodes[1]: unix:/a is this gateway itself (http.listen)"},
        {"keys: [{name: a, key: b}]\nhttp: {listen: 0.0.0.0:7}\nnode: {url: http://127.0.0.1:7}\n",
         "c.yaml:3: node: http://127.0.0.1:7 is this gateway itself (http.listen)"},
        {"http: {listen: 127.0.0.1:11434}\n",
         "c.yaml: node: http://127.0.0.1:11434 is this gateway itself (http.listen)"},
    };
    char big[4200];

    (void)state;
    write_file("empty", " \n", 0600);
    write_file("lines", "one\ntwo\n", 0600);
    write_file("good", "one\n", 0600);
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    write_file("big", big, 0600);
    ASSERT_REFUSED(cases);
}

static void test_url_errors_name_the_place(void **state)
{
    struct err e;

    (void)state;
    assert_null(load_yaml("nodes:\n  - url: https://a:1\n", &e));
    assert_memory_equal(e.text, "c.yaml:2: nodes[0].url: 'https://a:1': ", 39);
    assert_null(load_yaml("node: {url: ''}\n", &e));
    assert_memory_equal(e.text, "c.yaml:1: node.url: '': ", 24);
}

static void test_same_secret_never_shown(void **state)
{
    struct err e;

    (void)state;
    assert_null(load_yaml("keys: [{name: a, key: 'hunter2 '}]\n", &e));
    assert_null(strstr(e.text, "hunter2"));
}

static void test_options(void **state)
{
    static const struct {
        struct config_args args;
        const char *error;
    } cases[] = {
        {{.mcp_listen = "x"}, "--mcp: expected host:port, [v6]:port, unix:PATH or off, not 'x'"},
        {{.http_listen = "1"}, "--http: expected host:port, [v6]:port, unix:PATH or off, not '1'"},
        {{.admin_listen = ""}, "--admin: expected host:port, [v6]:port, unix:PATH or off, not ''"},
        {{.access_log = ""}, "--access-log: expected stderr, off or the path of a file, not ''"},
        {{.http_listen = "0.0.0.0:1"},
         "--http: other machines could reach 0.0.0.0:1 without a key; expected keys in the "
         "configuration, or --insecure"},
        {{.mcp_listen = "127.0.0.1:6060"},
         "--mcp: 127.0.0.1:6060 is the address of admin.listen too"},
        {{.path = "absent.yaml"}, "absent.yaml: No such file or directory"},
        {{.path = "."}, ".: Is a directory"},
        {{.http_listen = "127.0.0.1:11434"},
         "node: http://127.0.0.1:11434 is this gateway itself (http.listen)"},
    };
    const char *const twice[] = {"http://a:1", "http://a:1"};
    struct config_args args = {.node_urls = twice, .node_count = 2};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_null(config_load(&cases[i].args, &e));
        assert_string_equal(e.text, cases[i].error);
    }
    assert_null(config_load(&args, &e));
    assert_string_equal(e.text, "--node: a second node named 'a:1'");
}

static void test_large_file(void **state)
{
    struct config_args args = {.path = "large.yaml"};
    FILE *f = fopen("large.yaml", "w");
    struct err e;

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < 1 << 15; i++) {
        assert_true(fputs("# a comment that goes on and on\n", f) >= 0);
    }
    assert_int_equal(fclose(f), 0);
    assert_null(config_load(&args, &e));
    assert_string_equal(e.text, "large.yaml: larger than 1 MiB");
}

static void test_long_path_keeps_the_error(void **state)
{
    char path[300] = "";
    struct config_args args = {.path = path};
    struct err e;

    (void)state;
    for (int i = 0; i < 90; i++) {
        (void)strcat(path, "./");
    }
    (void)strcat(path, "long.yaml");
    write_file("long.yaml", "limits:\n  max: 1\n", 0600);
    assert_null(config_load(&args, &e));
    assert_non_null(strstr(e.text, "long.yaml:2: limits.max: unknown key; expected one of max_fr"));
}

/* Whatever is broken off, there is an error or a configuration, and never a crash. */
static void test_every_prefix(void **state)
{
    static const char text[] = "nodes:\n  - url: http://a:1\n    headers: [{name: a, value: b}]\n"
                               "mcp: {listen: 127.0.0.1:1}\nkeys:\n  - {name: a, key: b}\n"
                               "limits: {max_frame: 1MiB}\nlog:\n  level: warn\n";
    char part[sizeof(text)];

    (void)state;
    for (size_t len = 0; len < sizeof(text); len++) {
        struct err e;
        struct config *c;

        memcpy(part, text, len);
        part[len] = '\0';
        c = load_yaml(part, &e);
        if (c == NULL) {
            assert_memory_equal(e.text, "c.yaml:", 7);
        }
        config_unref(&c);
    }
}

/* --- the page --------------------------------------------------------------------------------- */

/* docs/configuration.md has one row for each key, as the table has it. */
static void test_page_is_the_table(void **state)
{
    int fd = openat(home, "docs/configuration.md", O_RDONLY);
    static char page[1 << 16];
    ssize_t len;
    size_t rows = 0;

    (void)state;
    assert_true(fd >= 0);
    len = read(fd, page, sizeof(page) - 1);
    assert_in_range(len, 1, sizeof(page) - 2);
    page[len] = '\0';
    (void)close(fd);
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        const struct config_item *item = &config_items[i];
        char name[64], expected[CONFIG_EXPECTED_MAX], row[512];

        config_item_name(item, name, sizeof(name));
        config_item_expected(item, expected);
        (void)snprintf(row, sizeof(row), "\n| `%s` | %s | %s%s%s | %s |\n", name, expected,
                       item->initial == NULL ? "" : "`", item->initial == NULL ? "" : item->initial,
                       item->initial == NULL ? "" : "`", item->help);
        if (strstr(page, row) == NULL) {
            fail_msg("docs/configuration.md lacks this line:%s", row);
        }
    }
    for (const char *row = strstr(page, "\n| `"); row != NULL; row = strstr(row + 1, "\n| `")) {
        rows++;
    }
    assert_int_equal(rows, CONFIG_ITEM_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_without_file),
        cmocka_unit_test(test_files_that_say_nothing),
        cmocka_unit_test(test_everything_given),
        cmocka_unit_test(test_single_node),
        cmocka_unit_test(test_command_line_wins),
        cmocka_unit_test(test_files_beside_the_configuration),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(the_access_log_is_beside_the_file),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_url_errors_name_the_place),
        cmocka_unit_test(test_same_secret_never_shown),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_long_path_keeps_the_error),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_page_is_the_table),
    };

    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
