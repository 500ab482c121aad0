/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/origin.h"

static enum origin_kind judge(const char *more, const char *host, const char *origin)
{
    struct http_header headers[] = {{SLICE("host"), slice_str(host)},
                                    {SLICE("origin"), slice_str(origin)}};
    const struct http_head head = {.headers = headers, .header_count = origin[0] == '\0' ? 1 : 2};

    return origin_judge(more, &head);
}

static void pages_of_this_machine_and_applications_may_ask(void **state)
{
    static const char *const allowed[] = {
        "http://localhost",  "https://localhost:3000", "http://127.0.0.1:8",
        "https://0.0.0.0",   "app://obsidian.md",      "file://",
        "tauri://localhost", "vscode-webview://x",     "vscode-file://vscode-app",
        "http://localhost:",
    };
    static const char *const foreign[] = {
        "http://page.example",       "null",
        "http://localhost.example",  "http://127.0.0.1.example",
        "chrome-extension://abc",    "HTTP://localhost",
        "http://page.example:11435", "localhost",
        "https://localhost.:3000",   "x",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        assert_int_equal(judge(NULL, "127.0.0.1:11435", allowed[i]), ORIGIN_ALLOWED);
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (judge(NULL, "127.0.0.1:11435", foreign[i]) != ORIGIN_FOREIGN) {
            fail_msg("%s may ask", foreign[i]);
        }
    }
}

static void pages_of_the_gateways_own_origin_are_none(void **state)
{
    (void)state;
    assert_int_equal(judge(NULL, "ai.example:11435", ""), ORIGIN_NONE);
    assert_int_equal(judge(NULL, "ai.example:11435", "http://ai.example:11435"), ORIGIN_NONE);
    assert_int_equal(judge(NULL, "ai.example", "https://ai.example"), ORIGIN_NONE);
    assert_int_equal(judge(NULL, "ai.example", "ftp://ai.example"), ORIGIN_FOREIGN);
    assert_int_equal(judge(NULL, "ai.example", "https://ai.example:1"), ORIGIN_FOREIGN);
}

static void others_are_listed(void **state)
{
    const char *more = " https://chat.example, http://*.lan chrome-extension://*";

    (void)state;
    assert_int_equal(judge(more, "h", "https://chat.example"), ORIGIN_ALLOWED);
    assert_int_equal(judge(more, "h", "http://a.b.lan"), ORIGIN_ALLOWED);
    assert_int_equal(judge(more, "h", "chrome-extension://abc"), ORIGIN_ALLOWED);
    assert_int_equal(judge(more, "h", "http://localhost"), ORIGIN_ALLOWED);
    assert_int_equal(judge(more, "h", "http://.la"), ORIGIN_FOREIGN);
    assert_int_equal(judge(more, "h", "http://lan"), ORIGIN_FOREIGN);
    assert_int_equal(judge(more, "h", "https://chat.example.org"), ORIGIN_FOREIGN);
    assert_int_equal(judge("*", "h", "null"), ORIGIN_ALLOWED);
    assert_int_equal(judge("http://*.n.n", "h", "http://.n"), ORIGIN_FOREIGN); /* they overlap */
    assert_int_equal(judge("", "h", "null"), ORIGIN_FOREIGN);
    assert_int_equal(judge(" , ", "h", "null"), ORIGIN_FOREIGN);
}

static void what_is_no_origin_is_refused(void **state)
{
    (void)state;
    assert_true(origins_are_fine("https://chat.example,http://*.lan  *"));
    assert_true(origins_are_fine("*.example"));
    assert_false(origins_are_fine("chat.example"));
    assert_false(origins_are_fine("https://chat.example, chat"));
    assert_false(origins_are_fine("http://*.*"));
    assert_false(origins_are_fine("http://**"));
}

static void headers_go_to_pages_only(void **state)
{
    struct http_header headers[ORIGIN_HEADERS];

    (void)state;
    assert_int_equal(origin_headers(SLICE(""), headers), 0);
    assert_int_equal(origin_headers(SLICE("http://localhost"), headers), ORIGIN_HEADERS);
    assert_true(slice_eq(headers[0].value, SLICE("http://localhost")));
    assert_true(slice_eq(headers[1].name, SLICE("Vary")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_this_machine_and_applications_may_ask),
        cmocka_unit_test(pages_of_the_gateways_own_origin_are_none),
        cmocka_unit_test(others_are_listed),
        cmocka_unit_test(what_is_no_origin_is_refused),
        cmocka_unit_test(headers_go_to_pages_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
