/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a decoder of http/parse over an input cut into pieces and writes down what it said, so that
 * runs over different cuts can be compared as text. Used by the tests and the fuzz targets. */
#ifndef MCP_TESTS_HTTP_TRACE_H
#define MCP_TESTS_HTTP_TRACE_H

#include "base/buf.h"
#include "http/parse/message.h"
#include "http/parse/split.h"

/* The first piece has `first` bytes, the others `step` bytes each (0: one piece of all the rest).
 */
struct cuts {
    size_t first;
    size_t step;
};

/* One line for each head, header, body (its pieces put together), end and error. A third run of
 * `no_body` says that the first response answers a HEAD. Ends the process where the parser breaks
 * its contract. */
void http_trace(struct buf *out, enum http_role role, bool no_body, struct slice in,
                struct cuts cuts);
/* One line for each part, and the rest or the error. */
void split_trace(struct buf *out, enum split_kind kind, size_t max_part_bytes, struct slice in,
                 struct cuts cuts);

#endif
