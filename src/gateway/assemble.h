/* SPDX-License-Identifier: Apache-2.0 */
/* A request of /v1 for one answer, asked of llama.cpp's server as a stream, because that server
 * generates to the end for a client that left unless it streams (decision 11). Called by exchange.c
 * and answer.c only. */
#ifndef MCP_GATEWAY_ASSEMBLE_H
#define MCP_GATEWAY_ASSEMBLE_H

#include <stdbool.h>

#include "codec/request.h"
#include "http/parse/message.h"
#include "node/node.h"

struct exchange;

/* Whether the answer of `n` is put together here: then x->answer and x->assembly are set, and
 * `edits` ask for a stream. 0 or MCP_ENOMEM, with x->answer set either way. */
int assemble_begin(struct exchange *x, const struct node *n, struct request_edits *edits);
/* The node's head came. False: it did not stream, its answer is relayed. */
bool assemble_takes(const struct http_head *head);
/* One block of the stream. The exchange may be over afterwards. */
void assemble_block(struct exchange *x, struct slice block);

#endif
