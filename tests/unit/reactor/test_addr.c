/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"

static void parses_and_formats(void **state)
{
    static const struct {
        const char *text;
        const char *formatted;
        const char *host;
        unsigned port;
        bool local;
    } rows[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1", 8080, true},
        {"127.9.9.9:1", "127.9.9.9:1", "127.9.9.9", 1, true},
        {"localhost:0", "127.0.0.1:0", "127.0.0.1", 0, true},
        {"LocalHost:65535", "127.0.0.1:65535", "127.0.0.1", 65535, true},
        {"0.0.0.0:80", "0.0.0.0:80", "0.0.0.0", 80, false},
        {"192.168.1.2:80", "192.168.1.2:80", "192.168.1.2", 80, false},
        {":80", "[::]:80", "::", 80, false},
        {"[::1]:80", "[::1]:80", "::1", 80, true},
        {"[fe80::1]:00080", "[fe80::1]:80", "fe80::1", 80, false},
        {"[::ffff:127.0.0.1]:7", "127.0.0.1:7", "127.0.0.1", 7, true},
        {"[::ffff:10.0.0.1]:7", "10.0.0.1:7", "10.0.0.1", 7, false},
        {"unix:/run/mcp.sock", "unix:/run/mcp.sock", "unix", 0, true},
        {"unix:relative", "unix:relative", "unix", 0, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr a;
        char text[ADDR_TEXT_MAX];

        assert_int_equal(addr_parse(&a, slice_str(rows[i].text), NULL), 0);
        addr_format(&a, text);
        assert_string_equal(text, rows[i].formatted);
        addr_format_host(&a, text);
        assert_string_equal(text, rows[i].host);
        assert_int_equal(addr_port(&a), rows[i].port);
        assert_int_equal(addr_is_local(&a), rows[i].local);
        assert_true(addr_same(&a, &a));
    }
}

static void refuses_with_what_was_expected(void **state)
{
    static const char *const rows[] = {"",
                                       "8080",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:x",
                                       "[::1]",
                                       "127.0.0.1:-1",
                                       "[::1:80",
                                       "::1:80",
                                       "127.0.0.1:65536",
                                       "host:80",
                                       "1.2.3.4.5:80",
                                       "[1.2.3.4]:1",
                                       "[]:80",
                                       "127.0.0.1:0000080",
                                       "[localhost]:1",
                                       "127.0.0.1: 80",
                                       " 127.0.0.1:80",
                                       "http://127.0.0.1:80"};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr a;
        struct err e = {0};

        assert_int_equal(addr_parse(&a, slice_str(rows[i]), &e), MCP_EARGUMENT);
        assert_int_equal(e.code, MCP_EARGUMENT);
        assert_non_null(strstr(e.text, "expected IP:PORT"));
        assert_non_null(strstr(e.text, rows[i]));
    }
}

static void unix_paths_have_a_limit(void **state)
{
    char path[109];
    struct addr a;
    struct err e = {0};
    char text[ADDR_TEXT_MAX];

    (void)state;
    memset(path, 'x', sizeof(path));
    path[108] = '\0';
    assert_int_equal(addr_from_unix(&a, path, &e), MCP_EARGUMENT);
    assert_non_null(strstr(e.text, "108 bytes"));
    path[107] = '\0';
    assert_int_equal(addr_from_unix(&a, path, &e), 0);
    addr_format(&a, text);
    assert_string_equal(text + 5, path);
    assert_int_equal(addr_from_unix(&a, "", &e), MCP_EARGUMENT);
    assert_int_equal(addr_parse(&a, SLICE("unix:"), &e), MCP_EARGUMENT);
    assert_int_equal(addr_parse(&a, SLICE("unix:a\0b"), &e), MCP_EARGUMENT);
    assert_int_equal(addr_parse(&a, SLICE("127.0.0.1\0:80"), &e), MCP_EARGUMENT);
}

static void different_addresses_differ(void **state)
{
    static const char *const rows[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1", "[::1]:1",
                                       "unix:a",      "unix:ab",     ":1"};

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            struct addr a;
            struct addr b;

            assert_int_equal(addr_parse(&a, slice_str(rows[i]), NULL), 0);
            assert_int_equal(addr_parse(&b, slice_str(rows[j]), NULL), 0);
            assert_int_equal(addr_same(&a, &b), i == j);
        }
    }
}

static void resolves_what_needs_no_name_server(void **state)
{
    static const struct {
        const char *host;
        const char *formatted[2];
    } rows[] = {
        {"localhost", {"127.0.0.1:80", "[::1]:80"}},
        {"LocalHost", {"127.0.0.1:80", "[::1]:80"}},
        {"127.0.0.1", {"127.0.0.1:80"}},
        {"[::1]", {"[::1]:80"}},
        {"::1", {"[::1]:80"}},
        {"10.1.2.3", {"10.1.2.3:80"}},
    };
    struct addr_list list;
    struct err e = {0};
    char text[ADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(addr_resolve(&list, rows[i].host, 80, &e), 0);
        assert_int_equal(list.count, rows[i].formatted[1] == NULL ? 1 : 2);
        for (size_t k = 0; k < list.count; k++) {
            addr_format(&list.at[k], text);
            assert_string_equal(text, rows[i].formatted[k]);
        }
    }
    assert_int_equal(addr_resolve(&list, "localhost", 65536, &e), MCP_EARGUMENT);
    assert_int_equal(addr_resolve(&list, "", 80, &e), MCP_ECONNECT);
    assert_int_equal(addr_resolve(&list, "no..such..name", 80, &e), MCP_ECONNECT);
    assert_non_null(strstr(e.text, "cannot look up \"no..such..name\": "));
}

static void an_unknown_family_is_harmless(void **state)
{
    struct addr a = {0};
    char text[ADDR_TEXT_MAX];

    (void)state;
    addr_format(&a, text);
    assert_string_equal(text, "unknown");
    assert_false(addr_is_local(&a));
    assert_int_equal(addr_port(&a), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_formats),
        cmocka_unit_test(refuses_with_what_was_expected),
        cmocka_unit_test(unix_paths_have_a_limit),
        cmocka_unit_test(different_addresses_differ),
        cmocka_unit_test(resolves_what_needs_no_name_server),
        cmocka_unit_test(an_unknown_family_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
