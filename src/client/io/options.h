/* SPDX-License-Identifier: Apache-2.0 */
/* struct mcp_options of mcp/client.h, as the client copies it. */
#ifndef MCP_CLIENT_IO_OPTIONS_H
#define MCP_CLIENT_IO_OPTIONS_H

#include <stdint.h>

#include "base/buf.h"
#include "client/io/address.h"
#include "mcp/client.h"

struct mcp_options {
    struct client_address address;
    unsigned timeout_ms;
    unsigned retries;
    unsigned features;
    uint32_t window_bytes;
    uint32_t heartbeat_ms;
    struct buf auth_json; /* the key as a JSON string; empty: none */
};

void client_options_init(struct mcp_options *o);
void client_options_fini(struct mcp_options *o);
/* `to` is initialised. False: out of memory, `to` as it was. */
bool client_options_copy(struct mcp_options *to, const struct mcp_options *from);

#endif
