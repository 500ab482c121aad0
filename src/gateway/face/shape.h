/* SPDX-License-Identifier: Apache-2.0 */
/* The three shapes an HTTP client of ours can expect errors in: Ollama's, OpenAI's, Anthropic's; as
 * whole bodies and inside a stream that has begun. Pure. */
#ifndef MCP_GATEWAY_FACE_SHAPE_H
#define MCP_GATEWAY_FACE_SHAPE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum shape { SHAPE_OLLAMA, SHAPE_OPENAI, SHAPE_ANTHROPIC };

/* Streams whose end a client can be told in; SHAPE_STREAM_NONE: bytes without parts. */
enum shape_stream { SHAPE_STREAM_NONE, SHAPE_STREAM_NDJSON, SHAPE_STREAM_SSE };

bool shape_error(enum shape shape, unsigned status, struct slice text, struct slice request_id,
                 struct buf *out);
/* The error as one more part of the stream: an NDJSON line, an SSE event. */
bool shape_stream_error(enum shape shape, enum shape_stream stream, unsigned status,
                        struct slice text, struct slice request_id, struct buf *out);

#endif
