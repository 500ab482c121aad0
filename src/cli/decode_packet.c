/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/decode_packet.h"

#include <string.h>

#include <pcap/pcap.h>

enum {
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88a8,
    IPV4_BYTES_MIN = 20,
    IPV6_BYTES = 40,
    TCP_BYTES_MIN = 20,
    PROTOCOL_TCP = 6,
    FLAG_SYN = 0x02,
    FLAG_ACK = 0x10,
};

/* What is before the IP header. */
static const struct link {
    int link;
    uint8_t header_bytes;
    uint8_t type_at; /* offset of the two bytes of the protocol; 0: look at the IP header */
} links[] = {
    {DLT_EN10MB, 14, 12}, {DLT_LINUX_SLL, 16, 14}, {DLT_LINUX_SLL2, 20, 0}, {DLT_NULL, 4, 0},
    {DLT_LOOP, 4, 0},     {DLT_RAW, 0, 0},         {DLT_IPV4, 0, 0},        {DLT_IPV6, 0, 0},
};

static const struct link *find_link(int link)
{
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (links[i].link == link) {
            return &links[i];
        }
    }
    return NULL;
}

bool decode_link_is_known(int link)
{
    return find_link(link) != NULL;
}

static uint16_t get_u16(struct slice s, size_t at)
{
    const uint8_t *p = (const uint8_t *)s.ptr + at;

    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(struct slice s, size_t at)
{
    return (uint32_t)get_u16(s, at) << 16 | get_u16(s, at + 2);
}

/* The packet from its IP header on; empty: it has none. */
static struct slice skip_link(const struct link *link, struct slice packet)
{
    size_t header = link->header_bytes;
    size_t type_at = link->type_at;
    uint16_t type;

    if (packet.len < header) {
        return SLICE("");
    }
    if (type_at == 0) {
        return slice_skip(packet, header);
    }
    type = get_u16(packet, type_at);
    while ((type == TYPE_VLAN || type == TYPE_QINQ) && packet.len >= header + 4) {
        type_at = header + 2;
        header += 4;
        type = get_u16(packet, type_at);
    }
    return type == TYPE_IPV4 || type == TYPE_IPV6 ? slice_skip(packet, header) : SLICE("");
}

/* Each takes the IP header off. `length`: of what is behind it, as sent. */
static bool take_ipv4(struct slice *ip, struct decode_segment *out, uint32_t *length)
{
    size_t header;
    uint16_t total;

    if (ip->len < IPV4_BYTES_MIN) {
        return false;
    }
    header = ((uint8_t)ip->ptr[0] & 0x0fU) * 4;
    total = get_u16(*ip, 2);
    if (header < IPV4_BYTES_MIN || ip->len < header || (uint8_t)ip->ptr[9] != PROTOCOL_TCP ||
        (get_u16(*ip, 6) & 0x3fffU) != 0) { /* a fragment */
        return false;
    }
    /* 0: the card was to cut it into packets. */
    *length = total == 0 ? (uint32_t)(ip->len - header) : (uint32_t)(total - header);
    memcpy(out->from.address, ip->ptr + 12, 4);
    memcpy(out->to.address, ip->ptr + 16, 4);
    *ip = slice_skip(*ip, header);
    return total == 0 || total >= header;
}

static bool take_ipv6(struct slice *ip, struct decode_segment *out, uint32_t *length)
{
    uint16_t payload;

    if (ip->len < IPV6_BYTES || (uint8_t)ip->ptr[6] != PROTOCOL_TCP) {
        return false;
    }
    payload = get_u16(*ip, 4);
    *length = payload == 0 ? (uint32_t)(ip->len - IPV6_BYTES) : payload;
    memcpy(out->from.address, ip->ptr + 8, 16);
    memcpy(out->to.address, ip->ptr + 24, 16);
    *ip = slice_skip(*ip, IPV6_BYTES);
    return true;
}

static bool take_tcp(struct slice tcp, uint32_t length, struct decode_segment *out)
{
    size_t header;
    uint8_t flags;

    if (tcp.len < TCP_BYTES_MIN) {
        return false;
    }
    header = ((uint8_t)tcp.ptr[12] >> 4U) * (size_t)4;
    flags = (uint8_t)tcp.ptr[13];
    if (header < TCP_BYTES_MIN || tcp.len < header || length < header) {
        return false;
    }
    out->from.port = get_u16(tcp, 0);
    out->to.port = get_u16(tcp, 2);
    out->seq = get_u32(tcp, 4);
    out->syn = (flags & FLAG_SYN) != 0;
    out->ack = (flags & FLAG_ACK) != 0;
    out->length_bytes = length - (uint32_t)header;
    out->bytes = slice_first(slice_skip(tcp, header), out->length_bytes); /* without padding */
    return true;
}

bool decode_packet(int link, struct slice packet, struct decode_segment *out)
{
    const struct link *l = find_link(link);
    struct slice ip = l == NULL ? SLICE("") : skip_link(l, packet);
    uint32_t length;

    *out = (struct decode_segment){0};
    if (ip.len == 0) {
        return false;
    }
    switch ((uint8_t)ip.ptr[0] >> 4U) {
    case 4:
        return take_ipv4(&ip, out, &length) && take_tcp(ip, length, out);
    case 6:
        out->is_ipv6 = true;
        return take_ipv6(&ip, out, &length) && take_tcp(ip, length, out);
    default:
        return false;
    }
}
