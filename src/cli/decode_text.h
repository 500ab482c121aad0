/* SPDX-License-Identifier: Apache-2.0 */
/* Text in and out of mcpgate decode: bytes written as hexadecimal digits, and payloads as one short
 * line in which no key can be read. Pure. */
#ifndef MCP_CLI_DECODE_TEXT_H
#define MCP_CLI_DECODE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "cli/decode_stream.h"

/* Bytes that follow each other and went the same way. */
typedef void (*decode_bytes_cb)(void *owner, enum decode_way way, struct slice bytes);

/* Whether all of it is characters of a text. */
bool decode_is_text(struct slice input);
/* Reads hexadecimal digits, in pairs, with anything of " \t,:-" and "0x" between the pairs and '#'
 * before what is not to be read. A line that begins with '>' or '<' says who sends it and the lines
 * behind it: the client or the server. What xxd prints is read too. MCP_EARGUMENT with line and
 * column. */
int decode_hex(struct slice text, decode_bytes_cb cb, void *owner, struct err *e);

/* Appends JSON text as one line of at most about `max_chars` (0: no limit), the values of members
 * called "auth" hidden at every depth. False where it is not JSON: nothing is appended. */
bool decode_json_line(struct slice json, size_t max_chars, struct buf *out);

#endif
