/* SPDX-License-Identifier: Apache-2.0 */
/* What core.c, send.c and receive.c have of each other. */
#ifndef MCP_CLIENT_CORE_INTERNAL_H
#define MCP_CLIENT_CORE_INTERNAL_H

#include "client/core.h"

enum { CLIENT_BEAT_BYTES = 8 }; /* payload of a heartbeat: its number */

/* --- core.c --------------------------------------------------------------------------------------
 */

/* NEGOTIATE or CONNECT: exchanges may be sent; what waits is. */
void client_core_ready(struct client_core *c, uint64_t now_ms);
void client_core_fail(struct client_core *c, struct client_exchange *x, int code);
/* The caller has seen its end. Frees it, and its session. */
void client_exchange_end(struct client_core *c, struct client_exchange *x, uint64_t now_ms);
bool client_may_be_sent_again(const struct client_core *c, const struct client_exchange *x);
/* The exchange of that session that has not ended; NULL: none. */
struct client_exchange *client_exchange_find(const struct client_core *c, uint32_t session,
                                             uint64_t now_ms);
static inline bool client_has(const struct client_core *c, enum wire_feature feature)
{
    return (c->agreed.features & (uint32_t)feature) != 0;
}

/* --- send.c --------------------------------------------------------------------------------------
 */

/* A whole frame, with its CRC where that was agreed on. False: out of memory, nothing has changed.
 */
bool client_send_frame(struct client_core *c, enum wire_opcode opcode, uint32_t session,
                       struct slice payload, uint64_t now_ms);
bool client_send_hello(struct client_core *c, uint64_t now_ms);
/* The longest request that can be sent on the connection there is, or on one to come. */
size_t client_send_most(const struct client_core *c);
/* Begins to send the exchange's body; false: out of memory, nothing has changed. */
bool client_send_request(struct client_core *c, struct client_exchange *x, uint64_t now_ms);
/* Further pieces, in turn, while little is queued. False: out of memory with nothing queued. */
bool client_send_fill(struct client_core *c, uint64_t now_ms);
/* The rest is not wanted any more; what was sent of it is taken back. False: out of memory. */
bool client_send_stop(struct client_core *c, struct client_exchange *x, uint64_t now_ms);
/* The caller has this part: its sender may send as much again. False: out of memory. */
bool client_send_credit(struct client_core *c, struct client_exchange *x,
                        const struct mcp_part *part, uint64_t now_ms);

#endif
