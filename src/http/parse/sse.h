/* SPDX-License-Identifier: Apache-2.0 */
/* One server-sent event out of its block of lines, as the HTML standard reads it. Sans-IO. */
#ifndef MCP_HTTP_PARSE_SSE_H
#define MCP_HTTP_PARSE_SSE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

struct sse_event {
    struct slice event; /* "" where the block names none */
    struct slice data;  /* of the only data line borrowed; of several joined with \n in `scratch` */
    bool has_data;
};

/* `block` is a part of a SPLIT_SSE splitter (its blank line may be missing). `scratch` is emptied
 * first. False: out of memory. A block of comments alone has no data; id and retry are not read. */
MUST_CHECK bool sse_event_read(struct slice block, struct buf *scratch, struct sse_event *ev);

#endif
