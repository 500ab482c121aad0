/* SPDX-License-Identifier: Apache-2.0 */
/* The reserved member `mcp` of a request, for request.c. Sans-IO. */
#ifndef MCP_CODEC_REQUEST_MCP_H
#define MCP_CODEC_REQUEST_MCP_H

#include "codec/request.h"

/* Reads r->members[REQUEST_MCP] into r->mcp. 0 or MCP_EBAD_REQUEST. */
int request_mcp_read(struct request *r, struct err *e);

#endif
