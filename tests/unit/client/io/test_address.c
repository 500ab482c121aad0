/* SPDX-License-Identifier: Apache-2.0 */
#include "client/io/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text, *host, *port; /* host NULL: refused */
    bool gets_port;
} ROWS[] = {
    {"127.0.0.1:8080", "127.0.0.1", "8080", false},
    {"gateway.example:1", "gateway.example", "1", false},
    {"gateway", "gateway", "8080", true},
    {":65535", "127.0.0.1", "65535", false},
    {"[::1]:90", "::1", "90", false},
    {"[::1]", "::1", "8080", true},
    {"unix:/run/mcpgate.sock", "/run/mcpgate.sock", "", false},
    {"unix:relative", "relative", "", false},
    {"", NULL, NULL, false},
    {":", NULL, NULL, false},
    {"a:", NULL, NULL, false},
    {"a:0", NULL, NULL, false},
    {"a:65536", NULL, NULL, false},
    {"a:-1", NULL, NULL, false},
    {"a:80x", NULL, NULL, false},
    {"a:000080", NULL, NULL, false},
    {"a b:80", NULL, NULL, false},
    {"http://a:80", NULL, NULL, false},
    {"::1", NULL, NULL, false},
    {"[]:80", NULL, NULL, false},
    {"[::1", NULL, NULL, false},
    {"[::1]80", NULL, NULL, false},
    {"unix:", NULL, NULL, false},
};

static void addresses_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct client_address a = {.host = "before"};
        struct err e = {0};
        char text[100];
        int rv = client_address_parse(&a, ROWS[i].text, &e);

        print_message("  \"%s\"\n", ROWS[i].text);
        if (ROWS[i].host == NULL) {
            assert_int_equal(rv, MCP_EARGUMENT);
            assert_non_null(strstr(e.text, "host:port"));
            assert_string_equal(a.host, "before");
        } else {
            assert_int_equal(rv, 0);
            (void)snprintf(text, sizeof(text), "%s%s", ROWS[i].text,
                           ROWS[i].gets_port ? ":8080" : "");
            assert_string_equal(a.text, text);
            assert_string_equal(a.host, ROWS[i].host);
            assert_string_equal(a.port, ROWS[i].port);
        }
    }
}

static void long_ones_are_refused(void **state)
{
    char text[2000];
    struct client_address a;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(client_address_parse(&a, text, NULL), MCP_EARGUMENT);
    memcpy(text, "unix:", 5);
    text[5 + 108] = '\0'; /* a path fills sun_path, with no room for its end */
    assert_int_equal(client_address_parse(&a, text, NULL), MCP_EARGUMENT);
    text[5 + 107] = '\0';
    assert_int_equal(client_address_parse(&a, text, NULL), 0);
}

static void localhost_is_tried_over_ipv4_first(void **state)
{
    struct client_target targets[CLIENT_TARGETS_MAX];
    struct client_address a;
    struct err e;
    int count;

    (void)state;
    assert_int_equal(client_address_parse(&a, "localhost:81", NULL), 0);
    count = client_address_resolve(&a, targets, &e);
    assert_in_range(count, 1, CLIENT_TARGETS_MAX);
    assert_int_equal(targets[0].ss.ss_family, AF_INET);
    assert_int_equal(((struct sockaddr_in *)&targets[0].ss)->sin_port, htons(81));

    assert_int_equal(client_address_parse(&a, "no-such-host.invalid:81", NULL), 0);
    assert_int_equal(client_address_resolve(&a, targets, &e), MCP_ECONNECT);
    assert_non_null(strstr(e.text, "no-such-host.invalid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_or_refused),
        cmocka_unit_test(long_ones_are_refused),
        cmocka_unit_test(localhost_is_tried_over_ipv4_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
