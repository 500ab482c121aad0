/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes to a wire_conn in every way they can be cut and writes down what comes out, one line
 * per event: "REQUEST 5 payload", "REFUSE 6 bad_request", "REFUSE 6 too_large close", "CREDIT 1
 * 65536", "HTTP". Behind a HELLO that can be read, or a WELCOME, the conn has its features. */
#ifndef MCP_TESTS_WIRE_FEED_H
#define MCP_TESTS_WIRE_FEED_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "wire/conn.h"

/* "01 0a" or "010a" as bytes, appended to `out`. */
void feed_hex(struct buf *out, const char *hex);
/* One piece, in a block of exactly its size. */
void feed_piece(struct wire_conn *c, struct slice piece, uint64_t now_ms, struct buf *log);
/* Whole, byte by byte and cut at every point, each on a new conn: the log is the same each time. It
 * is left in `log`. Above 300 bytes, only some of the points. */
void feed_all_ways(const struct wire_config *config, struct slice bytes, struct buf *log);

#endif
