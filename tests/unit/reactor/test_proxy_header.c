/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "reactor/proxy_header.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\xc0\0\2\1\xc6\x33\x64\1\xdc\4\1\xbb"
#define TCP6                                                                                       \
    "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"                                                        \
    "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2"                                                        \
    "\xdc\4\1\xbb"
#define ROW(bytes, used, says)                                                                     \
    {                                                                                              \
        {"" bytes, sizeof(bytes) - 1}, used, says                                                  \
    }
#define WHOLE(bytes, says) ROW(bytes, sizeof(bytes) - 1, says)

/* `used` -1: it is refused with that text; 0: more is needed. */
static const struct {
    struct slice in;
    ptrdiff_t used;
    const char *says;
} rows[] = {
    WHOLE("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1 56324"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n", 45, "192.0.2.1 56324"),
    WHOLE("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n", "2001:db8::1 0"),
    WHOLE("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n", "192.0.2.1 1"),
    WHOLE("PROXY UNKNOWN\r\n", "itself"),
    WHOLE("PROXY UNKNOWN ffff::1 whatever 1 2\r\n", "itself"),
    WHOLE(V2 "\x21\x11\0\x0c" TCP4, "192.0.2.1 56324"),
    ROW(V2 "\x21\x11\0\x0c" TCP4 "GET", 28, "192.0.2.1 56324"),
    WHOLE(V2 "\x21\x11\0\x10" TCP4 "\4\0\1x", "192.0.2.1 56324"),
    WHOLE(V2 "\x21\x21\0\x24" TCP6, "2001:db8::1 56324"),
    WHOLE(V2 "\x20\0\0\0", "itself"),
    WHOLE(V2 "\x20\xff\0\4abcd", "itself"),
    WHOLE(V2 "\x21\0\0\0", "itself"),
    WHOLE(V2 "\x21\x12\0\x0c" TCP4, "itself"), /* datagrams do not come here */
    WHOLE(V2 "\x21\x31\0\4abcd", "itself"),
    ROW("", 0, ""),
    ROW("P", 0, ""),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r", 0, ""),
    ROW(V2 "\x21\x11\0\x0c", 0, ""),
    ROW("GET / HTTP/1.1\r\n", -1, "the connection does not begin with one"),
    ROW("PROXY\r\n", -1, "the connection does not begin with one"),
    ROW("\r\n\r\nX", -1, "the connection does not begin with one"),
    ROW("\x16\x03\x01", -1, "the connection does not begin with one"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", -1, "its line does not end with CR LF"),
    ROW("PROXY \r\n", -1, "its line has not six fields"),
    ROW("PROXY UNKNOWNS\r\n", -1, "its line has not six fields"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", -1, "its line has not six fields"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n", -1, "its line has not six fields"),
    ROW("PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n", -1, "its line has not six fields"),
    ROW("PROXY TCP5 192.0.2.1 198.51.100.1 56324 443\r\n", -1,
        "its protocol is none of TCP4, TCP6 and UNKNOWN"),
    ROW("PROXY TCP4 ::1 198.51.100.1 1 2\r\n", -1, "its addresses and ports cannot be read"),
    ROW("PROXY TCP6 192.0.2.1 ::1 1 2\r\n", -1, "its addresses and ports cannot be read"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n", -1,
        "its addresses and ports cannot be read"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 1 -2\r\n", -1, "its addresses and ports cannot be read"),
    ROW("PROXY TCP4 192.0.2.1 198.51.100.1 1 99999999999999999999\r\n", -1,
        "its addresses and ports cannot be read"),
    ROW("PROXY UNKNOWN 5678901234567890123456789012345678901234567890123456789012345678901234567890"
        "1234567890123456789012345678901234567890\r\n",
        -1, "its line does not end"),
    ROW(V2 "\x11", -1, "its version is not 2"),
    ROW(V2 "\x31", -1, "its version is not 2"),
    ROW(V2 "\x22", -1, "its command is unknown"),
    ROW(V2 "\x21\x41", -1, "its address family is unknown"),
    ROW(V2 "\x21\x13", -1, "its address family is unknown"),
    ROW(V2 "\x21\x11\x10\0", -1, "it is longer than 4096 bytes"),
    ROW(V2 "\x20\0\xff\xff", -1, "it is longer than 4096 bytes"),
    ROW(V2 "\x21\x11\0\x0b" TCP4, -1, "it is too short for its addresses"),
    ROW(V2 "\x21\x21\0\x23" TCP6, -1, "it is too short for its addresses"),
};

/* From a copy of its own, so that a read behind the end is seen. */
static ptrdiff_t read_first(struct slice in, size_t len, struct proxy_header *h, struct err *e)
{
    char *copy = malloc(len + (len == 0));
    ptrdiff_t used;

    assert_non_null(copy);
    if (len > 0) {
        memcpy(copy, in.ptr, len);
    }
    used = proxy_header_read(slice_of(copy, len), h, e);
    free(copy);
    return used;
}

static void hold_against(size_t row, ptrdiff_t used, const struct proxy_header *h,
                         const struct err *e)
{
    char said[64] = "itself", ip[IP_TEXT_MAX];

    if (used < 0) {
        assert_int_equal(used, MCP_EBAD_REQUEST);
        assert_int_equal(rows[row].used, -1);
        assert_string_equal(e->text, rows[row].says);
        return;
    }
    assert_int_equal(used, rows[row].used);
    if (used > 0) {
        if (h->names_client) {
            ip_format(&h->ip, ip);
            (void)snprintf(said, sizeof(said), "%s %u", ip, h->port);
        }
        assert_string_equal(said, rows[row].says);
    }
}

static void headers_whole_and_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy_header h;
        struct err e = {0};
        ptrdiff_t used = read_first(rows[i].in, rows[i].in.len, &h, &e);

        hold_against(i, used, &h, &e);
        /* Whatever is there first: nothing, until it is known; then what is said of the whole. */
        used = 0;
        for (size_t len = 0; used == 0 && len <= rows[i].in.len; len++) {
            used = read_first(rows[i].in, len, &h, &e);
        }
        hold_against(i, used, &h, &e);
    }
}

/* A header fills what is kept of it at most. */
static void the_longest_one(void **state)
{
    char bytes[PROXY_HEADER_BYTES_MAX] = V2 "\x21\x11\x0f\xf0" TCP4;
    struct proxy_header h;
    struct err e = {0};

    (void)state;
    assert_int_equal(read_first(slice_of(bytes, sizeof(bytes)), sizeof(bytes) - 1, &h, &e), 0);
    assert_int_equal(read_first(slice_of(bytes, sizeof(bytes)), sizeof(bytes), &h, &e),
                     sizeof(bytes));
    assert_true(h.names_client);
    bytes[15] = (char)0xf1;
    assert_true(read_first(slice_of(bytes, sizeof(bytes)), 16, &h, &e) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_whole_and_byte_by_byte),
        cmocka_unit_test(the_longest_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
