/* SPDX-License-Identifier: Apache-2.0 */
/* struct mcp_part of mcp/client.h: one part of an answer. Embedded in the core or on its list; the
 * data is borrowed from the connection, or the part's own. */
#ifndef MCP_CLIENT_PART_H
#define MCP_CLIENT_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "mcp/client.h"

struct mcp_part {
    uint32_t session;
    struct slice data;
    bool last;
    int error; /* MCP_E... of an error part, else 0 */
    uint64_t retry_after_ms;
    bool is_ack;
    struct mcp_ack ack; /* its texts are in `text` */
    struct buf text;    /* the error's, terminated; empty: the code's own */
    struct buf own;     /* what `data` points to, where it is not borrowed */
    struct list_link link;
};

LIST_DECLARE(client_part_list, struct mcp_part, link);

void client_part_init(struct mcp_part *part);
void client_part_fini(struct mcp_part *part);

/* A payload as it came, borrowed. `whole`: the only part of its answer, so its end whatever it
 * says. */
void client_part_read(struct mcp_part *part, uint32_t session, struct slice payload, bool whole);
/* The payload of an ACK as it came, borrowed. 0, MCP_EPROTOCOL, MCP_ENOMEM. */
int client_part_read_ack(struct mcp_part *part, uint32_t session, struct slice payload,
                         struct err *e);
/* An error found on this side; always the last part. Works without memory, with a plainer text. */
void client_part_make_error(struct mcp_part *part, uint32_t session, int code, const char *text);
/* Makes the data the part's own. False: out of memory. */
bool client_part_keep(struct mcp_part *part);

#endif
