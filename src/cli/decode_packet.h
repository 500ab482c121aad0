/* SPDX-License-Identifier: Apache-2.0 */
/* One captured packet: the TCP segment in it. Pure. */
#ifndef MCP_CLI_DECODE_PACKET_H
#define MCP_CLI_DECODE_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct decode_endpoint {
    uint8_t address[16]; /* IPv4: the first four */
    uint16_t port;
};

struct decode_segment {
    bool is_ipv6;
    struct decode_endpoint from;
    struct decode_endpoint to;
    uint32_t seq;
    bool syn;
    bool ack;
    struct slice bytes;    /* what the capture has of them */
    uint32_t length_bytes; /* what was sent */
};

/* Whether packets of that link type (pcap's DLT_...) can be read. */
bool decode_link_is_known(int link);
/* False: no TCP segment, or not all of its headers. */
bool decode_packet(int link, struct slice packet, struct decode_segment *out);

#endif
