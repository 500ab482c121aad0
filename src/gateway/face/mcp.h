/* SPDX-License-Identifier: Apache-2.0 */
/* The MCP face (protocol.md, base profile): frames of many sessions on each connection. Owned by
 * the gateway; the loop's thread only. */
#ifndef MCP_GATEWAY_FACE_MCP_H
#define MCP_GATEWAY_FACE_MCP_H

#include <stddef.h>

#include "base/err.h"
#include "reactor/addr.h"

struct gateway;
struct mcp_face;

/* NULL with the error: the address cannot be listened on. */
struct mcp_face *mcp_face_new(struct gateway *g, const struct addr *at, struct err *e);
/* Drops what is still connected. After every exchange has ended. */
void mcp_face_free(struct mcp_face **f);
/* Stops accepting; idle connections close now, others with their last exchange. */
void mcp_face_drain(struct mcp_face *f);
size_t mcp_face_open(const struct mcp_face *f); /* connections */
const struct addr *mcp_face_addr(const struct mcp_face *f);

#endif
