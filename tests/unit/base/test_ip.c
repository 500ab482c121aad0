/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ip.h"

static void reads_and_formats(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"::FFFF:A00:1", "10.0.0.1"},
        {"2001:DB8:0:0::1", "2001:db8::1"},
        {"::", "::"},
        {"::1", "::1"},
    };
    static const char *const bad[] = {
        "",           "1.2.3",     "1.2.3.4.5",
        "01.2.3.4",   "1.2.3.256", "localhost",
        "1.2.3.4:80", "[::1]",     "fe80::1%lo",
        " 1.2.3.4",   "::1::",     "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"};
    char text[IP_TEXT_MAX];
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(ip_read(slice_str(rows[i][0]), &ip));
        ip_format(&ip, text);
        assert_string_equal(text, rows[i][1]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ip_read(slice_str(bad[i]), &ip)) {
            fail_msg("%s is an address", bad[i]);
        }
    }
    assert_false(ip_read(slice_of("1.2.3.4\0", 8), &ip));
    assert_true(ip_read(slice_of("1.2.3.45", 7), &ip)); /* nothing behind it is looked at */
    ip_format(&ip, text);
    assert_string_equal(text, "1.2.3.4");
}

static void networks_have_what_begins_as_they_do(void **state)
{
    static const struct {
        const char *net;
        const char *in;
        const char *out;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
        {"172.16.0.0/12", "172.31.1.1", "172.32.0.0"},
        {"0.0.0.0/0", "255.255.255.255", "fd00::1"},
        {"fd00::/8", "fdff::1", "fe00::1"},
        {"2001:db8::7", "2001:db8::7", "2001:db8::6"},
        {"2001:db8:0:8000::/49", "2001:db8:0:ffff::", "2001:db8::"},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"},
    };
    struct ip_net net;
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ip_net_read(slice_str(rows[i].net), &net, NULL), MCP_OK);
        assert_true(ip_read(slice_str(rows[i].in), &ip));
        assert_true(ip_net_has(&net, &ip));
        assert_true(ip_read(slice_str(rows[i].out), &ip));
        assert_false(ip_net_has(&net, &ip));
    }
    assert_int_equal(ip_net_read(SLICE("::/0"), &net, NULL), MCP_OK);
    assert_true(ip_read(SLICE("1.2.3.4"), &ip) && ip_net_has(&net, &ip));
}

static void what_is_no_network_is_refused_with_what_is_wrong(void **state)
{
    static const char *const bad[] = {
        "",        "10.0.0.0/33", "10.0.0.0/",     "10.0.0.0/-1",
        "/8",      "::/129",      "10.0.0.0/8/8",  "10.0.0.0/255.0.0.0",
        "proxies", "10.0.0.0/ 8", "10.0.0.0/0008", "10/8"};
    struct err e = {0};
    struct ip_net net;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ip_net_read(slice_str(bad[i]), &net, &e), MCP_EARGUMENT);
        assert_non_null(strstr(e.text, "is no address or network; expected"));
    }
    assert_int_equal(ip_net_read(SLICE("10.1.2.3/8"), &net, &e), MCP_EARGUMENT);
    assert_string_equal(e.text, "the network begins at 10.0.0.0/8");
    assert_int_equal(ip_net_read(SLICE("fd00:0:1::/32"), &net, &e), MCP_EARGUMENT);
    assert_string_equal(e.text, "the network begins at fd00::/32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_formats),
        cmocka_unit_test(networks_have_what_begins_as_they_do),
        cmocka_unit_test(what_is_no_network_is_refused_with_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
