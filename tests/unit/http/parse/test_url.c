/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/parse/status.h"
#include "http/parse/url.h"

static const struct {
    const char *text;
    const char *host;
    unsigned port;
    const char *path;
    bool ipv6;
} good[] = {
    {"http://127.0.0.1:11434", "127.0.0.1", 11434, "", false},
    {"http://node-1.example", "node-1.example", 80, "", false},
    {"HTTP://Node/", "Node", 80, "", false},
    {"http://node:8000/v1/", "node", 8000, "/v1", false},
    {"http://node//", "node", 80, "", false},
    {"http://[::1]:8080/a/b", "::1", 8080, "/a/b", true},
    {"http://[fe80::1%eth0]", "fe80::1%eth0", 80, "", true},
    {"localhost", "localhost", 11434, "", false},
    {"localhost:1", "localhost", 1, "", false},
    {"127.0.0.1/base", "127.0.0.1", 11434, "/base", false},
    {":8080", "127.0.0.1", 8080, "", false},
    {"http://:8080", "127.0.0.1", 8080, "", false},
    {"[::1]", "::1", 11434, "", true},
    {"::1", "::1", 11434, "", true},
    {"[::]:65535", "::", 65535, "", true},
    {" \"example.com:56789\" ", "example.com", 56789, "", false},
    {"my_gpu-box", "my_gpu-box", 11434, "", false},
};

static const struct {
    const char *text;
    const char *says;
} bad[] = {
    {"", "expected http://host:port or unix:PATH"},
    {"  ", "expected http://host:port or unix:PATH"},
    {"https://x", "https is not supported"},
    {"ftp://x", "unknown scheme \"ftp\""},
    {"http://", "no host"},
    {"http://user:pass@x", "user:password@"},
    {"user@x", "user:password@"},
    {"http://x?y", "query"},
    {"http://x/#y", "fragment"},
    {"http://x:0", "bad port \"0\""},
    {"http://x:65536", "bad port \"65536\""},
    {"http://x:99999999999999999999", "bad port"},
    {"http://x:", "bad port \"\""},
    {"http://x:8o", "bad port \"8o\""},
    {"http://x:-1", "bad port \"-1\""},
    {"http://[::1", "missing ']'"},
    {"http://[::1]8", "expected a port behind ']'"},
    {"http://[]", "bad host"},
    {"http://[xyz]", "bad host"},
    {"a:b:c:g", "bad host"},
    {"http://a b", "space"},
    {"http://a\tb", "space"},
    {"http://a_$", "bad host"},
    {"unix:", "no path"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct url u;
        struct err e = {0};
        int rv = url_parse(&u, slice_str(good[i].text), &e);

        if (rv != 0) {
            print_error("%s: %s\n", good[i].text, e.text);
        }
        assert_int_equal(rv, 0);
        assert_true(slice_eq(u.host, slice_str(good[i].host)));
        assert_int_equal(u.port, good[i].port);
        assert_true(slice_eq(u.path, slice_str(good[i].path)));
        assert_int_equal(u.is_ipv6, good[i].ipv6);
        assert_false(u.is_unix);
    }
}

static void test_unix(void **state)
{
    struct url u;

    (void)state;
    assert_int_equal(url_parse(&u, SLICE("unix:/run/x y.sock"), NULL), 0);
    assert_true(u.is_unix);
    assert_true(slice_eq(u.host, SLICE("/run/x y.sock")));
    assert_true(slice_eq(u.path, SLICE("")));
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct url u;
        struct err e = {0};
        int rv = url_parse(&u, slice_str(bad[i].text), &e);

        if (rv != MCP_EARGUMENT || strstr(e.text, bad[i].says) == NULL) {
            print_error("%s: %s\n", bad[i].text, e.text);
        }
        assert_int_equal(rv, MCP_EARGUMENT);
        assert_non_null(strstr(e.text, bad[i].says));
    }
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(http_status_reason(200), "OK");
    assert_string_equal(http_status_reason(404), "Not Found");
    assert_string_equal(http_status_reason(299), "");
}

static void test_target_path(void **state)
{
    (void)state;
    assert_true(slice_eq(url_target_path(SLICE("/api/ps?x=1?y")), SLICE("/api/ps")));
    assert_true(slice_eq(url_target_path(SLICE("/api/ps")), SLICE("/api/ps")));
    assert_true(slice_eq(url_target_path(SLICE("?x")), SLICE("")));
    assert_int_equal(url_target_path((struct slice){NULL, 0}).len, 0);
}

static void test_unescape(void **state)
{
    static const char *const cases[][2] = {
        {"gemma3%3A270m", "gemma3:270m"},
        {"a%2fb%2FC", "a/b/C"},
        {"plain", "plain"},
        {"", ""},
        {"100%", "100%"},
        {"%4", "%4"},
        {"%zz%41", "%zzA"},
        {"%25%", "%%"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};

        assert_true(url_unescape(slice_str(cases[i][0]), &out));
        assert_true(slice_eq(buf_slice(&out), slice_str(cases[i][1])));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_unix),
        cmocka_unit_test(test_bad),      cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_unescape), cmocka_unit_test(test_target_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
