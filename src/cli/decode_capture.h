/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP connections of a capture file, for mcpgate decode: bytes in the order in which they were
 * sent, as far as the capture has them in order. Repeated segments are left out; where one is
 * missing, came early, or was cut by the capture, its direction is not read on. IP fragments and
 * tunnels are not looked into. One thread. Out of memory ends the program. */
#ifndef MCP_CLI_DECODE_CAPTURE_H
#define MCP_CLI_DECODE_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "cli/decode_stream.h"

enum { DECODE_PEER_MAX = 64 };

struct decode_connection {
    size_t number; /* of those shown, from 1 */
    char client[DECODE_PEER_MAX];
    char server[DECODE_PEER_MAX];
};

struct decode_capture_ops {
    void (*began)(void *owner, const struct decode_connection *c);
    /* `us` after the capture's first packet. */
    void (*item)(void *owner, const struct decode_connection *c, uint64_t us,
                 const struct decode_item *item);
};

/* Whether it begins as pcap or pcapng does. */
bool decode_is_capture(struct slice input);
/* `port` 0: all connections that begin as MCP does; else those to that port of a server.
 * `others`: how many TCP connections were left out. MCP_EARGUMENT: what is wrong with the file;
 * what came before was shown. */
int decode_capture(struct slice input, uint16_t port, const struct decode_capture_ops *ops,
                   void *owner, size_t *others, struct err *e);

#endif
