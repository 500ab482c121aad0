/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/parse/target.h"

static void forms(void **state)
{
    static const struct {
        const char *method;
        const char *target;
        const char *path; /* NULL: refused */
        const char *host;
    } cases[] = {
        {"GET", "/", "/", "asked"},
        {"GET", "/a?b=http://c/", "/a?b=http://c/", "asked"},
        {"GET", "//a/b", "//a/b", "asked"},
        {"OPTIONS", "*", "*", "asked"},
        {"GET", "*", NULL, NULL},
        {"GET", "http://a", "/", "a"},
        {"GET", "HTTP://a:80/", "/", "a:80"},
        {"POST", "http://[::1]:1/b/c?d#e", "/b/c?d#e", "[::1]:1"},
        {"GET", "http://a/b//c/", "/b//c/", "a"},
        {"GET", "http://", NULL, NULL},
        {"GET", "http:///a", NULL, NULL},
        {"GET", "http://a?b", NULL, NULL},
        {"GET", "http://a?b/c", NULL, NULL},
        {"GET", "http://a#b/c", NULL, NULL},
        {"GET", "http://127.0.0.1:80@evil.example/", NULL, NULL},
        {"GET", "https://a/", NULL, NULL},
        {"GET", "http:/a", NULL, NULL},
        {"GET", "a:80", NULL, NULL},
        {"GET", "", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_head head = {.method = slice_str(cases[i].method),
                                 .target = slice_str(cases[i].target),
                                 .host = SLICE("asked")};
        const char *fault = http_target_read(&head);

        if (cases[i].path == NULL) {
            assert_non_null(fault);
            assert_true(slice_eq(head.host, SLICE("asked")));
            continue;
        }
        assert_null(fault);
        assert_true(slice_eq(head.target, slice_str(cases[i].path)));
        assert_true(slice_eq(head.host, slice_str(cases[i].host)));
    }
}

static void characters(void **state)
{
    static const char token[] = "!#$%&'*+-.^_`|~";
    static const char host[] = "!$%&'()*+,-.:;=[]_~";

    (void)state;
    for (int c = 0; c < 256; c++) {
        const char byte = (char)c;
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        assert_int_equal(http_is_token_char(byte),
                         word || (c != 0 && memchr(token, c, sizeof(token) - 1) != NULL));
        assert_int_equal(http_host_is_plain(slice_of(&byte, 1)),
                         word || (c != 0 && memchr(host, c, sizeof(host) - 1) != NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
