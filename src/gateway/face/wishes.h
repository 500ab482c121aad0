/* SPDX-License-Identifier: Apache-2.0 */
/* What an HTTP client wishes for its request's turn: X-Mcpgate-Priority, X-Mcpgate-Deadline (ms,
 * from the complete request), X-Mcpgate-Nodes (where a model is to be pulled, ...) and
 * X-Mcpgate-Session (its requests go to one node, if that is as good as another). What it may wish
 * is for its key to say (turns.c). */
#ifndef MCP_GATEWAY_FACE_WISHES_H
#define MCP_GATEWAY_FACE_WISHES_H

#include "base/err.h"
#include "http/parse/message.h"

struct exchange;

/* 0, or MCP_EBAD_REQUEST with a text that names the header. */
int wishes_read(struct exchange *x, const struct http_head *head, struct err *e);

#endif
