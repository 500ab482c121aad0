/* SPDX-License-Identifier: Apache-2.0 */
/* One server-sent event out of its block of lines. Sans-IO. */
#ifndef MCP_HTTP_PARSE_SSE_H
#define MCP_HTTP_PARSE_SSE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

struct sse_event {
    struct slice event; /* "" where the block names none */
    struct slice data;  /* of the only data line borrowed; of several joined with \n in `scratch` */
    bool has_data;
};

/* `block` ends with its blank line. False: out of memory. A block of comments alone has no data. */
bool sse_event_read(struct slice block, struct buf *scratch, struct sse_event *ev);

#endif
