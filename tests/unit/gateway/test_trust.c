/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/counter.h"
#include "gateway/trust.h"
#include "http/parse/message.h"

enum { HEADERS_MAX = 4 };

static struct counters counters;

static int begin(void **state)
{
    (void)state;
    counters_attach(&counters);
    return 0;
}

static int end(void **state)
{
    (void)state;
    counters_attach(NULL);
    return 0;
}

static int64_t unclear(void)
{
    return counter_get(&counters, COUNTER_FORWARDED_UNCLEAR);
}

static void add(struct trust *t, const char *text)
{
    assert_int_equal(trust_add(t, slice_str(text), NULL), MCP_OK);
}

/* Of headers, whose first letter says whether it is X-Forwarded-For or Forwarded. */
static const char *client(const struct trust *t, const char *peer, const char *const *lines)
{
    static char out[ADDR_TEXT_MAX];
    struct http_header headers[HEADERS_MAX];
    struct http_head head = {.headers = headers};
    struct addr at;

    assert_int_equal(addr_parse(&at, slice_str(peer), NULL), 0);
    for (; lines[head.header_count] != NULL; head.header_count++) {
        const char *line = lines[head.header_count];

        headers[head.header_count] = (struct http_header){
            line[0] == 'x' ? SLICE("x-Forwarded-For") : SLICE("Forwarded"), slice_str(line + 1)};
    }
    trust_client(t, &at, &head, out);
    return out;
}

#define CLIENT(peer, ...) client(&t, peer, (const char *const[]){__VA_ARGS__, NULL})

static void the_hop_nearest_to_us_that_is_not_trusted(void **state)
{
    struct trust t = {0};

    (void)state;
    add(&t, "10.0.0.0/8");
    add(&t, "fd00::/8");
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1"), "192.0.2.1");
    assert_string_equal(CLIENT("[::ffff:10.0.0.1]:5", "x192.0.2.1"), "192.0.2.1");
    assert_string_equal(CLIENT("[fd00::9]:5", "x2001:DB8::1"), "2001:db8::1");
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1, 10.0.0.2, 10.0.0.3"), "192.0.2.1");
    /* What stands before it may be invented. */
    assert_string_equal(CLIENT("10.0.0.1:5", "x1.1.1.1, 192.0.2.1, 10.0.0.2"), "192.0.2.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "xrubbish, 192.0.2.1"), "192.0.2.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "x1.1.1.1", "x192.0.2.1,10.0.0.2"), "192.0.2.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "x10.0.0.9, 10.0.0.8"), "10.0.0.9");
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1, unknown, 10.0.0.8"), "10.0.0.8");
    assert_string_equal(CLIENT("10.0.0.1:5", "f for=192.0.2.1;proto=https"), "192.0.2.1");
    assert_string_equal(
        CLIENT("10.0.0.1:5", "ffor=1.1.1.1, for=\"[2001:db8::1]:8\"", "ffor=10.2.2.2"),
        "2001:db8::1");
    assert_string_equal(CLIENT("10.0.0.1:5", "ffor=1.1.1.1, for=_secret"), "_secret");
    assert_string_equal(CLIENT("10.0.0.1:5", "fproto=\"", "ffor=192.0.2.1"), "192.0.2.1");
    assert_int_equal(unclear(), 0);
    trust_fini(&t);
}

static void of_others_headers_change_nothing(void **state)
{
    struct trust t = {0};

    (void)state;
    assert_string_equal(CLIENT("127.0.0.1:5", "x192.0.2.1"), "127.0.0.1"); /* nobody is trusted */
    add(&t, "10.0.0.1");
    assert_string_equal(CLIENT("10.0.0.2:5", "x192.0.2.1", "ffor=192.0.2.1"), "10.0.0.2");
    assert_string_equal(CLIENT("unix:/run/x", "x192.0.2.1"), "unix");
    add(&t, "unix");
    assert_string_equal(CLIENT("unix:/run/x", "x192.0.2.1"), "192.0.2.1");
    assert_int_equal(unclear(), 0);
    trust_fini(&t);
}

static void what_is_not_clear_is_the_proxys(void **state)
{
    struct trust t = {0};

    (void)state;
    add(&t, "10.0.0.0/8");
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1, unknown"), "10.0.0.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "ffor=192.0.2.1, proto=http"), "10.0.0.1");
    /* A client cannot swallow what its proxy wrote behind it. */
    assert_string_equal(CLIENT("10.0.0.1:5", "ffor=1.1.1.1;x=\", for=192.0.2.1"), "10.0.0.1");
    /* Nor invent the header that its proxy does not write. */
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1", "ffor=1.1.1.1"), "10.0.0.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1", "ffor=unknown"), "10.0.0.1");
    assert_int_equal(unclear(), 5);
    assert_string_equal(CLIENT("10.0.0.1:5", "x192.0.2.1", "f1.1.1.1,for=192.0.2.1"), "10.0.0.1");
    assert_string_equal(CLIENT("10.0.0.1:5", "x2001:DB8::1", "ffor=\"[2001:db8:0::1]\""),
                        "2001:db8::1");
    assert_int_equal(unclear(), 6);
    /* The proxy asks for itself. */
    assert_string_equal(CLIENT("10.0.0.1:5", "x", "f ,"), "10.0.0.1");
    assert_int_equal(unclear(), 6);
    trust_fini(&t);
}

static void sets_of_them(void **state)
{
    struct trust a = {0}, b = {0};
    struct err e = {0};
    struct addr at;

    (void)state;
    assert_true(trust_is_empty(&a) && trust_same(&a, &b));
    add(&a, "unix");
    assert_false(trust_is_empty(&a) || trust_same(&a, &b));
    add(&b, "unix");
    add(&a, "10.0.0.0/8");
    assert_false(trust_same(&a, &b));
    add(&b, "10.0.0.0/9");
    assert_false(trust_same(&a, &b));
    trust_fini(&b);
    add(&b, "10.0.0.0/8");
    add(&b, "unix");
    assert_true(trust_same(&a, &b));
    assert_false(trust_has_all(&a));
    add(&b, "0.0.0.0/0");
    assert_true(trust_has_all(&b));
    assert_int_equal(addr_parse(&at, SLICE("[::1]:9"), NULL), 0);
    assert_false(trust_has(&b, &at));
    add(&b, "::/0");
    assert_true(trust_has(&b, &at) && trust_has_all(&b));
    assert_int_equal(trust_add(&b, SLICE("unix:"), &e), MCP_EARGUMENT);
    alloc_fault_at(1);
    assert_int_equal(trust_add(&b, SLICE("10.0.0.1"), &e), MCP_ENOMEM);
    alloc_fault_at(0);
    trust_fini(&a);
    trust_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hop_nearest_to_us_that_is_not_trusted),
        cmocka_unit_test(of_others_headers_change_nothing),
        cmocka_unit_test(what_is_not_clear_is_the_proxys),
        cmocka_unit_test(sets_of_them),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
