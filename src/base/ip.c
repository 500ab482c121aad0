/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { IP4_AT = 12, IP4_BITS = 32, IP_BITS = 128, TEXT_SHOWN = 50 };

static const unsigned char mapped[IP4_AT] = {[10] = 0xff, [11] = 0xff};

static bool is_ip4(const struct ip *ip)
{
    return memcmp(ip->bytes, mapped, IP4_AT) == 0;
}

bool ip_read(struct slice text, struct ip *ip)
{
    char copy[IP_TEXT_MAX];

    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    slice_copy(text, copy, sizeof(copy));
    if (inet_pton(AF_INET6, copy, ip->bytes) == 1) {
        return true;
    }
    memcpy(ip->bytes, mapped, IP4_AT);
    return inet_pton(AF_INET, copy, ip->bytes + IP4_AT) == 1;
}

void ip_format(const struct ip *ip, char out[IP_TEXT_MAX])
{
    bool short_form = is_ip4(ip);

    /* Cannot fail: both families are known, and there is room. */
    (void)inet_ntop(short_form ? AF_INET : AF_INET6, ip->bytes + (short_form ? IP4_AT : 0), out,
                    IP_TEXT_MAX);
}

/* The number behind the slash; false: it is none up to `most`. */
static bool read_bits(struct slice text, unsigned most, unsigned *bits)
{
    *bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        *bits = *bits * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return text.len > 0 && text.len <= 3 && *bits <= most;
}

static struct ip masked(const struct ip *ip, unsigned bits)
{
    struct ip out = {{0}};

    memcpy(out.bytes, ip->bytes, bits / 8);
    if (bits % 8 != 0) {
        out.bytes[bits / 8] = (unsigned char)(ip->bytes[bits / 8] & (0xff00U >> bits % 8));
    }
    return out;
}

int ip_net_read(struct slice text, struct ip_net *net, struct err *e)
{
    const char *slash = text.len == 0 ? NULL : memchr(text.ptr, '/', text.len);
    struct slice host = slash == NULL ? text : slice_first(text, (size_t)(slash - text.ptr));
    bool by_four = host.len == 0 || memchr(host.ptr, ':', host.len) == NULL;
    unsigned bits = by_four ? IP4_BITS : IP_BITS;
    char base[IP_TEXT_MAX];
    struct ip first;

    if (!ip_read(host, &net->base) ||
        (slash != NULL && !read_bits(slice_skip(text, host.len + 1), bits, &bits))) {
        return err_set(e, MCP_EARGUMENT,
                       "'%.*s' is no address or network; expected 192.0.2.7, 10.0.0.0/8, "
                       "2001:db8::7 or fd00::/8",
                       text.len > TEXT_SHOWN ? TEXT_SHOWN : (int)text.len, text.ptr);
    }
    net->bits = by_four ? bits + IP_BITS - IP4_BITS : bits;
    first = masked(&net->base, net->bits);
    if (memcmp(first.bytes, net->base.bytes, IP_BYTES) != 0) {
        ip_format(&first, base);
        return err_set(e, MCP_EARGUMENT, "the network begins at %s/%u", base, bits);
    }
    return MCP_OK;
}

bool ip_net_has(const struct ip_net *net, const struct ip *ip)
{
    struct ip base = masked(ip, net->bits);

    return memcmp(base.bytes, net->base.bytes, IP_BYTES) == 0;
}
