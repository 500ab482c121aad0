/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "mcp/error.h"
#include "reactor/dns.h"

enum { PORT = 11434, MESSAGE_MAX = 64 * 1024 };

/* --- messages --- */

struct message {
    unsigned char bytes[MESSAGE_MAX];
    size_t len;
};

static void put(struct message *m, const void *bytes, size_t len)
{
    assert_true(m->len + len <= sizeof(m->bytes));
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void put16(struct message *m, unsigned value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 8), (unsigned char)value};

    put(m, bytes, sizeof(bytes));
}

static void put_name(struct message *m, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        unsigned char byte = (unsigned char)len;

        put(m, &byte, 1);
        put(m, name, len);
        name += len + (name[len] == '.');
    }
    put(m, "", 1);
}

/* A head for so many records, and the question. */
static void begin(struct message *m, unsigned answers, unsigned along)
{
    m->len = 0;
    put16(m, 7);
    put16(m, 0x8180);
    put16(m, 1);
    put16(m, answers);
    put16(m, 0);
    put16(m, along);
    put_name(m, "x.test");
    put16(m, 1);
    put16(m, 1);
}

static void put_record(struct message *m, const char *name, unsigned type, unsigned ttl_s,
                       const void *data, size_t len)
{
    put_name(m, name);
    put16(m, type);
    put16(m, 1);
    put16(m, 0);
    put16(m, ttl_s);
    put16(m, (unsigned)len);
    put(m, data, len);
}

static void put_a(struct message *m, const char *name, unsigned last, unsigned ttl_s)
{
    const unsigned char data[] = {10, 0, 0, (unsigned char)last};

    put_record(m, name, 1, ttl_s, data, sizeof(data));
}

static void put_srv(struct message *m, unsigned port, const char *target, unsigned ttl_s)
{
    struct message data = {.len = 0};

    put16(&data, 0);
    put16(&data, 0);
    put16(&data, port);
    put_name(&data, target);
    put_record(m, "_o._tcp.x.test", 33, ttl_s, data.bytes, data.len);
}

static struct slice text(const struct message *m)
{
    return slice_of(m->bytes, m->len);
}

static void assert_found(const struct dns_found *f, size_t i, const char *address)
{
    char out[ADDR_TEXT_MAX];

    assert_true(i < f->count);
    addr_format(&f->at[i], out);
    assert_string_equal(out, address);
}

/* --- tests --- */

static void addresses_of_both_kinds_are_read_and_others_left_out(void **state)
{
    static struct message m;
    static const unsigned char six[16] = {[15] = 1};
    struct dns_found f = {.ttl_s = UINT32_MAX};

    (void)state;
    begin(&m, 5, 1);
    put_record(&m, "x.test", 5, 300, "\1y\4test", 8); /* CNAME */
    put_a(&m, "y.test", 1, 60);
    put_record(&m, "y.test", 28, 30, six, sizeof(six));
    put_record(&m, "y.test", 1, 5, "\1\2\3", 3); /* too short for one */
    put_a(&m, "y.test", 2, 90);
    put_a(&m, "z.test", 3, 1);
    assert_int_equal(dns_read_addresses(text(&m), NULL, PORT, &f), MCP_OK);
    assert_int_equal(f.count, 3);
    assert_found(&f, 0, "10.0.0.1:11434");
    assert_found(&f, 1, "[::1]:11434");
    assert_found(&f, 2, "10.0.0.2:11434");
    assert_int_equal(f.ttl_s, 30);
    assert_int_equal(dns_read_addresses(text(&m), "Z.TEST", 80, &f), MCP_OK);
    assert_found(&f, 3, "10.0.0.3:80");
    assert_int_equal(f.ttl_s, 1);
    dns_found_fini(&f);
}

static void servers_of_a_service_are_read(void **state)
{
    static struct message m;
    struct dns_service s;
    uint32_t ttl_s = UINT32_MAX;

    (void)state;
    begin(&m, 5, 0);
    put_srv(&m, 80, "", 1); /* there is none, says the root */
    put_srv(&m, 81, "a.test", 20);
    put_record(&m, "_o._tcp.x.test", 33, 1, "\0\0\0\0\0", 5); /* too short for one */
    put_srv(&m, 0, "b.test", 1);
    put_srv(&m, 65535, "c.test", 10);
    assert_true(dns_read_service(text(&m), 0, &s, &ttl_s));
    assert_string_equal(s.target, "a.test");
    assert_int_equal(s.port, 81);
    assert_int_equal(ttl_s, 20);
    assert_true(dns_read_service(text(&m), 1, &s, &ttl_s));
    assert_string_equal(s.target, "c.test");
    assert_int_equal(s.port, 65535);
    assert_int_equal(ttl_s, 10);
    assert_false(dns_read_service(text(&m), 2, &s, &ttl_s));
}

/* Cut anywhere, and with any byte another: nothing is read that is not there. */
static void broken_messages_are_no_harm(void **state)
{
    static struct message m;
    static struct message broken;
    struct dns_service s;
    uint32_t ttl_s = UINT32_MAX;

    (void)state;
    begin(&m, 3, 1);
    put_a(&m, "x.test", 1, 60);
    put_srv(&m, 81, "a.test", 20);
    put_record(&m, "\77x", 1, 1, "\1\2\3\4", 4);
    put_a(&m, "a.test", 2, 60);
    for (size_t i = 0; i < m.len; i++) {
        for (unsigned change = 0; change < 3; change++) {
            static const unsigned char with[] = {0xff, 0xc0, 0x00};
            struct dns_found f = {.ttl_s = UINT32_MAX};
            unsigned char *copy = NULL;

            broken = m;
            broken.bytes[i] ^= with[change];
            broken.len = change == 2 ? i : m.len; /* or cut */
            copy = malloc(broken.len + 1);
            assert_non_null(copy); /* of its own, so that reading beyond it is seen */
            memcpy(copy, broken.bytes, broken.len);
            for (unsigned owned = 0; owned < 2; owned++) {
                int rv = dns_read_addresses(slice_of(copy, broken.len), owned ? "a.test" : NULL,
                                            PORT, &f);

                assert_true(rv == MCP_OK || rv == MCP_EBAD_REQUEST);
            }
            (void)dns_read_service(slice_of(copy, broken.len), 0, &s, &ttl_s);
            assert_true(f.count <= 3);
            dns_found_fini(&f);
            free(copy);
        }
    }
}

static void no_more_than_is_bounded(void **state)
{
    static struct message m;
    struct dns_found f = {.ttl_s = UINT32_MAX};

    (void)state;
    begin(&m, DNS_FOUND_MAX + 10, 0);
    for (unsigned i = 0; i < DNS_FOUND_MAX + 10; i++) {
        put_a(&m, "x", i, 60);
    }
    assert_int_equal(dns_read_addresses(text(&m), NULL, PORT, &f), MCP_OK);
    assert_int_equal(f.count, DNS_FOUND_MAX);
    dns_found_fini(&f);
}

static void memory_may_run_out_anywhere(void **state)
{
    static struct message m;
    struct dns_found f;
    int rv = MCP_ENOMEM;

    (void)state;
    begin(&m, 40, 0);
    for (unsigned i = 0; i < 40; i++) {
        put_a(&m, "x", i, 60);
    }
    for (size_t at = 1; rv != MCP_OK; at++) {
        assert_true(at < 100);
        f = (struct dns_found){.ttl_s = UINT32_MAX};
        alloc_fault_at(at);
        rv = dns_read_addresses(text(&m), NULL, PORT, &f);
        alloc_fault_at(0);
        assert_true(rv == MCP_ENOMEM || f.count == 40);
        dns_found_fini(&f);
    }
}

/* Nobody answers there: that is told, with the name. */
static void a_server_that_is_not_there(void **state)
{
    struct addr server;
    struct dns_found f;
    struct err e = {0};
    const char *const servers[] = {"127.0.0.1:1", "[::1]:1"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(addr_parse(&server, slice_str(servers[i]), &e), MCP_OK);
        assert_int_equal(
            dns_ask(&(struct dns_question){.name = "x.test", .port = PORT, .server = &server}, &f,
                    &e),
            MCP_ECONNECT);
        assert_string_equal(e.text,
                            "cannot look up \"x.test\": the server does not answer, or failed");
        assert_null(f.at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_both_kinds_are_read_and_others_left_out),
        cmocka_unit_test(servers_of_a_service_are_read),
        cmocka_unit_test(broken_messages_are_no_harm),
        cmocka_unit_test(no_more_than_is_bounded),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(a_server_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
