/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway in virtual time and one MCP client of it, which a test steers frame by frame. Nodes are
 * the test's own. */
#ifndef MCP_TEST_VIRTUAL_MCP_PEER_H
#define MCP_TEST_VIRTUAL_MCP_PEER_H

#include "wire/frame.h"
#include "world.h"

/* Where the gateway expects its node. */
#define MCP_PEER_NODE "10.0.0.1:11434"

struct mcp_peer {
    struct sock *sock;
    struct buf said; /* what came, a line for each frame, */
    size_t beats;
    bool counts_only; /* but for echoes */
    bool sips;        /* after each read it reads no more */
    bool is_closed;
};

extern struct mcp_peer peer;
/* The gateway wants a PROXY header of it. */
extern bool mcp_peer_is_proxied;

/* The gateway, and the client, which connects. */
int mcp_peer_open(const struct virtual_profile *profile);
/* Nothing may be held of any request by then. */
int mcp_peer_close(void);
/* HELLO with that payload, which offers those features: bits of enum wire_feature. */
void mcp_peer_greet(const char *hello, uint32_t features);
void mcp_peer_say(enum wire_opcode opcode, uint32_t session, struct slice payload);
void mcp_peer_run_ms(uint64_t ms);
/* Holds what came since the last time against these lines. */
void mcp_peer_expect(const char *want);

#endif
