/* SPDX-License-Identifier: Apache-2.0 */
#include "reactor/proxy_header.h"

#include <string.h>

enum { V1_BYTES_MAX = 107, V1_FIELDS = 6, V2_FIXED_BYTES = 16, IP4_AT = 12 };

/* The second byte of those behind the signature of version 2. */
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21, FAMILY_LAST = 0x32, PROTOCOL_LAST = 2 };

static const struct slice v1_begin = {"PROXY ", 6};
static const struct slice v2_begin = {"\r\n\r\n\0\r\nQUIT\n", 12};

static ptrdiff_t bad(struct err *e, const char *text)
{
    return err_set(e, MCP_EBAD_REQUEST, "%s", text);
}

/* Whether `in`, as far as it goes, is how `begin` begins. */
static bool may_begin(struct slice in, struct slice begin)
{
    return slice_starts(begin, slice_first(in, begin.len));
}

/* --- version 1 -------------------------------------------------------------------------------- */

/* Fields between single blanks; false: there are not so many. */
static bool split(struct slice line, struct slice *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *blank = line.len == 0 ? NULL : memchr(line.ptr, ' ', line.len);
        size_t len = blank == NULL ? line.len : (size_t)(blank - line.ptr);

        if (len == 0 || (blank == NULL) != (i + 1 == count)) {
            return false;
        }
        fields[i] = slice_first(line, len);
        line = slice_skip(line, blank == NULL ? len : len + 1);
    }
    return true;
}

static bool read_port(struct slice text, unsigned *port)
{
    *port = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        *port = *port * 10 + (unsigned)(text.ptr[i] - '0');
        if (*port > 65535) {
            return false;
        }
    }
    return text.len > 0;
}

static bool read_ip(struct slice text, bool is_v6, struct ip *ip)
{
    return (memchr(text.ptr, ':', text.len) != NULL) == is_v6 && ip_read(text, ip);
}

static ptrdiff_t read_v1(struct slice in, struct proxy_header *h, struct err *e)
{
    struct slice begin = slice_first(in, V1_BYTES_MAX);
    const char *end = memchr(begin.ptr, '\n', begin.len);
    struct slice line, fields[V1_FIELDS];
    unsigned to_port;
    struct ip to;
    bool is_v6;

    if (end == NULL) {
        return in.len < V1_BYTES_MAX ? 0 : bad(e, "its line does not end");
    }
    line = slice_first(in, (size_t)(end - in.ptr));
    if (line.ptr[line.len - 1] != '\r') {
        return bad(e, "its line does not end with CR LF");
    }
    line.len--;
    if (slice_eq(line, SLICE("PROXY UNKNOWN")) || slice_starts(line, SLICE("PROXY UNKNOWN "))) {
        return end + 1 - in.ptr;
    }
    if (!split(line, fields, V1_FIELDS)) {
        return bad(e, "its line has not six fields");
    }
    is_v6 = slice_eq(fields[1], SLICE("TCP6"));
    if (!is_v6 && !slice_eq(fields[1], SLICE("TCP4"))) {
        return bad(e, "its protocol is none of TCP4, TCP6 and UNKNOWN");
    }
    if (!read_ip(fields[2], is_v6, &h->ip) || !read_ip(fields[3], is_v6, &to) ||
        !read_port(fields[4], &h->port) || !read_port(fields[5], &to_port)) {
        return bad(e, "its addresses and ports cannot be read");
    }
    h->names_client = true;
    return end + 1 - in.ptr;
}

/* --- version 2 -------------------------------------------------------------------------------- */

static unsigned number(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* The addresses, of which `len` bytes are there. */
static bool read_addresses(const unsigned char *at, unsigned len, unsigned family,
                           struct proxy_header *h)
{
    if (family == FAMILY_TCP4 && len >= 12) {
        h->ip = (struct ip){{[10] = 0xff, [11] = 0xff}};
        memcpy(h->ip.bytes + IP4_AT, at, 4);
        h->port = number(at + 8);
    } else if (family == FAMILY_TCP6 && len >= 36) {
        memcpy(h->ip.bytes, at, IP_BYTES);
        h->port = number(at + 32);
    } else {
        return false;
    }
    h->names_client = true;
    return true;
}

static ptrdiff_t read_v2(struct slice in, struct proxy_header *h, struct err *e)
{
    unsigned char fixed[V2_FIXED_BYTES] = {0};
    unsigned command, family, len;

    memcpy(fixed, in.ptr, in.len < sizeof(fixed) ? in.len : sizeof(fixed));
    command = fixed[12];
    family = fixed[13];
    len = number(fixed + 14);
    if (in.len > 12 && command != COMMAND_LOCAL && command != COMMAND_PROXY) {
        return bad(e, command >> 4 != 2 ? "its version is not 2" : "its command is unknown");
    }
    if (in.len > 13 && command == COMMAND_PROXY &&
        (family > FAMILY_LAST || (family & 0xf) > PROTOCOL_LAST)) {
        return bad(e, "its address family is unknown");
    }
    if (in.len < V2_FIXED_BYTES) {
        return 0;
    }
    if (len > PROXY_HEADER_BYTES_MAX - V2_FIXED_BYTES) {
        return bad(e, "it is longer than 4096 bytes");
    }
    if (in.len < V2_FIXED_BYTES + len) {
        return 0;
    }
    if (command == COMMAND_PROXY && (family == FAMILY_TCP4 || family == FAMILY_TCP6) &&
        !read_addresses((const unsigned char *)in.ptr + V2_FIXED_BYTES, len, family, h)) {
        return bad(e, "it is too short for its addresses");
    }
    return (ptrdiff_t)(V2_FIXED_BYTES + len);
}

ptrdiff_t proxy_header_read(struct slice in, struct proxy_header *h, struct err *e)
{
    *h = (struct proxy_header){0};
    if (in.len == 0) {
        return 0;
    }
    if (may_begin(in, v1_begin)) {
        return in.len < v1_begin.len ? 0 : read_v1(in, h, e);
    }
    if (may_begin(in, v2_begin)) {
        return in.len < v2_begin.len ? 0 : read_v2(in, h, e);
    }
    return bad(e, "the connection does not begin with one");
}
