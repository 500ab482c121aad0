/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/face/host.h"

static void names_of_this_machine(void **state)
{
    static const char *const local[] = {
        "",
        "localhost",
        "LocalHost:11435",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8080",
        "192.168.1.2:1",
        "[2001:db8::1]:80",
        "a.local",
        "x.y.internal:1",
        "b.localhost",
        "8.8.8.8",
        "host.docker.INTERNAL",
    };
    static const char *const foreign[] = {
        "evil.example",
        "evil.example:11435",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1",
        "[evil.example]",
        ".local",
        "internal",
        "notlocalhost",
        "evillocal",
        "1.2.3",
        " localhost",
        "[::1].evil.example",
    };
    char own[300] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        assert_true(host_is_local(slice_str(local[i])));
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (host_is_local(slice_str(foreign[i]))) {
            fail_msg("%s is taken for local", foreign[i]);
        }
    }
    assert_int_equal(gethostname(own, sizeof(own) - 4), 0);
    assert_true(host_is_local(slice_str(own)));
    (void)strcat(own, ":80");
    assert_true(host_is_local(slice_str(own)));
}

static bool is_foreign(const char *listener, size_t keys)
{
    const struct http_head head = {.host = SLICE("evil.example")};
    const struct config c = {.key_count = keys};
    struct addr at;

    assert_int_equal(addr_parse(&at, slice_str(listener), NULL), 0);
    return host_is_foreign(&c, &at, &head);
}

static bool is_foreign_now(const char *host, size_t keys, struct host_known *known)
{
    const struct http_head head = {.host = slice_str(host)};
    const struct config c = {.key_count = keys};
    struct addr at;

    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:1"), NULL), 0);
    return host_is_foreign_now(&c, &at, &head, known);
}

/* What was let in for another reason than its name is not known. */
static void the_last_own_name_is_known(void **state)
{
    struct host_known known = {.len = 0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(is_foreign_now("evil.example", 0, &known));
        assert_false(is_foreign_now("", 0, &known));
        assert_false(is_foreign_now("evil.example", 1, &known));
        assert_true(is_foreign_now("evil.example", 0, &known));
        assert_false(is_foreign_now("localhost:80", 0, &known));
        assert_false(is_foreign_now("localhost:80", 0, &known));
        assert_true(is_foreign_now("localhost.evil.example", 0, &known));
        assert_false(is_foreign_now("127.0.0.1", 0, &known));
        assert_false(is_foreign_now("127.0.0.1", 0, &known));
    }
    assert_int_equal(known.len, 9);
}

static void only_loopback_without_keys_asks(void **state)
{
    (void)state;
    assert_true(is_foreign("127.0.0.1:1", 0));
    assert_true(is_foreign("[::1]:1", 0));
    assert_false(is_foreign("127.0.0.1:1", 1));
    assert_false(is_foreign("0.0.0.0:1", 0));
    assert_false(is_foreign("unix:/x", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_this_machine),
        cmocka_unit_test(only_loopback_without_keys_asks),
        cmocka_unit_test(the_last_own_name_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
