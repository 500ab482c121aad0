/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a response body into parts, whatever the reads and chunks were: NDJSON behind each newline,
 * SSE behind each blank line, where a line ends with \n, \r\n or \r (a blank line on its own is a
 * part too, so that the parts put together are the stream). A part inside one input is borrowed;
 * one that spans inputs is collected in `hold`. Every byte is looked at once. Sans-IO. */
#ifndef MCP_HTTP_PARSE_SPLIT_H
#define MCP_HTTP_PARSE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

enum split_kind { SPLIT_NDJSON, SPLIT_SSE };

/* Where the part stands behind the bytes seen so far (SSE). */
enum split_line {
    SPLIT_LINE_START,
    SPLIT_LINE_INSIDE,
    SPLIT_LINE_CR, /* a line ended with \r; an \n would still belong to it */
    SPLIT_BLANK_CR /* a blank line ended with \r; an \n would still belong to it */
};

struct splitter {
    enum split_kind kind;
    enum split_line line;
    size_t max_part_bytes; /* a longer part is MCP_ETOO_LARGE */
    struct buf hold;
    bool release; /* hold's content was handed out: drop it at the next call */
};

void splitter_init(struct splitter *s, enum split_kind kind, size_t max_part_bytes);
void splitter_fini(struct splitter *s);
/* Consumes from `in` up to the end of the next part. `part` includes its delimiter (newline, blank
 * line) and is valid until the next call, as long as `in` is; ptr NULL: all consumed, no whole part
 * yet. Returns bytes consumed (0 with a part is possible: the first byte told that the part had
 * ended), MCP_ETOO_LARGE or MCP_ENOMEM. */
MUST_CHECK ptrdiff_t splitter_feed(struct splitter *s, struct slice in, struct slice *part);
/* What stands there without its delimiter, at the end of the stream; empty where nothing does.
 * Valid until the next call. */
struct slice splitter_rest(struct splitter *s);
/* Without the newlines and carriage returns at the end. */
struct slice part_trim(struct slice part);

#endif
