/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's own errors, and a node's errors passed on, as JSON in the shape of each face.
 * Sans-IO; all append to a buf, without a newline, and return false when that fails. */
#ifndef MCP_CODEC_ERROR_BODY_H
#define MCP_CODEC_ERROR_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "mcp/error.h"

enum { ERROR_NO_SESSION = 0 };

/* {"error":"text","code":"...","retryable":bool[,"retry_after_ms":N][,"session":N],"done":true};
 * retry_after_ms 0: left out; session ERROR_NO_SESSION: left out. */
bool error_body_mcp(struct buf *out, int code, struct slice text, uint64_t retry_after_ms,
                    uint32_t session);
/* A node's error object for MCP: its `error` text (a string, or the `message` of an object, or the
 * whole body as text where it is not JSON; cut at 8 KiB on a UTF-8 boundary; the code's own text
 * where it is empty) with the other members of error_body_mcp. */
bool error_body_mcp_from_node(struct buf *out, int code, struct slice node_body);
/* {"error":"text"} */
bool error_body_ollama(struct buf *out, struct slice text);
/* {"error":{"message","type","param":null,"code":null}}; type by HTTP status as Ollama has it. */
bool error_body_openai(struct buf *out, int http_status, struct slice text);
/* {"type":"error","error":{"type","message"},"request_id":"..."}; type as Ollama has it; an empty
 * request_id is left out. */
bool error_body_anthropic(struct buf *out, int http_status, struct slice text,
                          struct slice request_id);

/* The error code of a node's HTTP status >= 400 (protocol.md section 4). */
int error_code_from_status(int http_status);
/* The text of a node's error body in any of the three shapes, unescaped, else the body as it is but
 * for line ends behind it, into `out`. */
bool error_text_from_node(struct slice node_body, struct buf *out);

#endif
