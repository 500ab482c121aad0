/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a response body into parts: NDJSON at newlines, SSE at blank lines (\n\n, \r\n\r\n, \r\r), whatever the reads and chunks were.
 * A part inside one input is borrowed; one that spans inputs is collected in `hold`. Sans-IO. */
#ifndef MCP_HTTP_PARSE_SPLIT_H
#define MCP_HTTP_PARSE_SPLIT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

enum split_kind { SPLIT_NDJSON, SPLIT_SSE };

struct splitter {
    enum split_kind kind;
    size_t max_part_bytes; /* a longer part is MCP_ETOO_LARGE */
    struct buf hold;
    size_t scanned; /* bytes of hold known to hold no end */
    bool release;   /* hold's content was handed out: drop it at the next call */
};

void splitter_init(struct splitter *s, enum split_kind kind, size_t max_part_bytes);
void splitter_fini(struct splitter *s);
/* Consumes from `in` up to the end of the next part. `part` includes its delimiter (newline, blank line) and is valid until the next
 * call; ptr NULL: all consumed, no whole part yet. Returns bytes consumed, MCP_ETOO_LARGE or MCP_ENOMEM. */
ptrdiff_t splitter_feed(struct splitter *s, struct slice in, struct slice *part);
/* What stands there without its delimiter, at the end of the stream; empty where nothing does. Valid until the next call. */
struct slice splitter_rest(struct splitter *s);
/* Without the newline(s) and carriage returns at the end. */
struct slice part_trim(struct slice part);

#endif
