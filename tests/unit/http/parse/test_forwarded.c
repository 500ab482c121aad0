/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/parse/forwarded.h"

/* The hops with blanks between: addresses, names, "?" for what is unknown. */
static void expect(bool (*next)(struct slice *, struct forwarded_hop *), const char *text,
                   const char *want)
{
    struct slice value = slice_str(text);
    struct forwarded_hop hop;
    struct buf got = {0};

    while (next(&value, &hop)) {
        char ip[IP_TEXT_MAX];

        ip_format(&hop.ip, ip);
        buf_printf(&got, "%s%s", buf_len(&got) == 0 ? "" : " ",
                   hop.kind == FORWARDED_IP     ? ip
                   : hop.kind == FORWARDED_NAME ? hop.name
                                                : "?");
    }
    assert_true(buf_append_byte(&got, '\0'));
    assert_int_equal(value.len, 0);
    if (strcmp(buf_slice(&got).ptr, want) != 0) {
        fail_msg("%s is %s, not %s", text, buf_slice(&got).ptr, want);
    }
    buf_fini(&got);
}

static void lists_of_addresses(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {" , ,", ""},
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1, 198.51.100.7 ,\t10.0.0.1", "192.0.2.1 198.51.100.7 10.0.0.1"},
        {"2001:db8::1,[2001:DB8::2],[2001:db8::3]:443", "2001:db8::1 2001:db8::2 2001:db8::3"},
        {"192.0.2.1:80,192.0.2.2:65535", "192.0.2.1 192.0.2.2"},
        {"::ffff:192.0.2.1,[::ffff:c000:202]", "192.0.2.1 192.0.2.2"},
        {"unknown,192.0.2.1", "? 192.0.2.1"},
        {"192.0.2.1 192.0.2.2", "?"},
        {"192.0.2.1:,192.0.2.1:x,192.0.2.1:123456,[::1]x,[::1,[192.0.2.1],[]", "? ? ? ? ? ? ?"},
        {"localhost,;,\",1.2.3,1.2.3.4.5,fe80::1%eth0", "? ? ? ? ? ?"},
        {"_proxy.1,_", "_proxy.1 ?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect(x_forwarded_for_next, rows[i][0], rows[i][1]);
    }
}

#define NAME64 "_2345678901234567890123456789012345678901234567890123456789abcde"

static void parameters_of_each_hop(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {" ,\t, ", ""},
        {"for=192.0.2.43", "192.0.2.43"},
        {"For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"},
        {"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"},
        {"for=192.0.2.43, for=198.51.100.17", "192.0.2.43 198.51.100.17"},
        {"FOR=192.0.2.43,,for=\"198.51.100.17:8\",", "192.0.2.43 198.51.100.17"},
        {"for=\"_gazonk\"", "_gazonk"},
        {"for=_hidden, for=_SEVKISEK:_80", "_hidden _SEVKISEK"},
        {"for=unknown, for=UNKNOWN;by=1.2.3.4", "? ?"},
        {"proto=https;by=_x", "?"},
        {"for=192.0.2.1:80, for=[::1]", "192.0.2.1 ::1"}, /* quotes are often left out */
        {"for=\"192.0.2.1:_obf\"", "192.0.2.1"},
        {"host=\"a,b;for=1.2.3.4\";for=192.0.2.1", "192.0.2.1"},
        {"for=\"1\\92.0.2\\.1\"", "192.0.2.1"},
        {"for=192.0.2.1 ; proto=http , for=192.0.2.2", "192.0.2.1 192.0.2.2"},
        {"for=192.0.2.1;", "192.0.2.1"},
        {";for=192.0.2.1 ;; proto=http", "192.0.2.1"},
        {";", "?"},
        {"for=" NAME64, NAME64},
        {"for=" NAME64 "f", "?"},
        {"for=\"\"", "?"},
        {"for=_", "?"},
        {"for=\"_a b\"", "?"},
        {"for=\"_a\":_80", "?"},
        /* What breaks the grammar leaves nothing to the right that could be told apart. */
        {"for=192.0.2.1, for=\"x, for=192.0.2.2", "192.0.2.1 ?"},
        {"for=\"x\\", "?"},
        {"for=\"x\\\", for=192.0.2.2", "?"},
        {"for=\"a, for=\"[::1]\"", "?"},
        {"for=192.0.2.1;for=192.0.2.2, for=192.0.2.3", "?"},
        {"192.0.2.1", "?"},
        {"for", "?"},
        {"for=", "?"},
        {"=192.0.2.1", "?"},
        {"for = 192.0.2.1", "?"},
        {"for=192.0.2.1 for=192.0.2.2", "?"},
        {"for=192.0.2.1;for", "?"},
        {"for=192.0.2.1\"", "?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect(forwarded_next, rows[i][0], rows[i][1]);
    }
}

/* A byte 0 is no letter of a name, and ends no text. */
static void zeroes(void **state)
{
    static const struct slice values[] = {SLICE("_x\0"), SLICE("_x:_\0"), SLICE("192.0.2.1\0"),
                                          SLICE("[::1]\0"), SLICE("\0")};
    struct forwarded_hop hop;

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct slice value = values[i];

        assert_true(x_forwarded_for_next(&value, &hop));
        assert_int_equal(hop.kind, FORWARDED_UNKNOWN);
    }
}

/* No byte behind the end of the value is read (which is seen by the sanitizer). */
static void every_beginning_of_a_value(void **state)
{
    static const char text[] = "for=\"[2001:db8::1]:_x\";by=\"\\\"a\", For=192.0.2.1:80;proto=h,"
                               "for=_a:99 , [::1]:80, 1.2.3.4:5";

    (void)state;
    for (size_t len = 0; len < sizeof(text); len++) {
        char *copy = malloc(len + (len == 0));
        struct slice value = slice_of(copy, len);
        struct forwarded_hop hop;

        assert_non_null(copy);
        memcpy(copy, text, len);
        while (forwarded_next(&value, &hop)) {
        }
        value = slice_of(copy, len);
        while (x_forwarded_for_next(&value, &hop)) {
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_addresses),
        cmocka_unit_test(parameters_of_each_hop),
        cmocka_unit_test(zeroes),
        cmocka_unit_test(every_beginning_of_a_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
