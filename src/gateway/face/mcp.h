/* SPDX-License-Identifier: Apache-2.0 */
/* The MCP face (protocol.md): frames of many sessions on each connection of one sub
 * reactor. Owned by it; the loop's thread only. */
#ifndef MCP_GATEWAY_FACE_MCP_H
#define MCP_GATEWAY_FACE_MCP_H

#include <stdbool.h>
#include <stddef.h>

#include "reactor/addr.h"

struct mcp_conn;
struct mcp_face;
struct sock;
struct sub;

struct mcp_face *mcp_face_new(struct sub *sub);
/* Drops what is still connected. After every exchange has ended. */
void mcp_face_free(struct mcp_face **f);
/* Takes the descriptor. */
void mcp_face_accept(struct mcp_face *f, int fd, const struct addr *peer);
/* The same for one whose first bytes were read already. False: it is closed. */
bool mcp_face_take(struct mcp_face *f, struct sock *sock, const struct addr *client);
/* The sub reactor's configuration is another one. */
void mcp_face_reconfigured(struct mcp_face *f);
/* Idle connections close now, others with their last exchange, new ones at once. */
void mcp_face_drain(struct mcp_face *f);
/* Connections that are not closed yet. */
size_t mcp_face_open(const struct mcp_face *f);
void mcp_face_walk(const struct mcp_face *f, void (*cb)(void *owner, const struct mcp_conn *c),
                   void *owner);
/* How many answers are over but for parts without credit. */
size_t mcp_face_held(const struct mcp_face *f);
/* The time for draining is over: those end as shutting_down. */
void mcp_face_drain_over(struct mcp_face *f);

#endif
