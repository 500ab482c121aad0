/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/shape.h"

#include "codec/error_body.h"

bool shape_error(enum shape shape, unsigned status, struct slice text, struct slice request_id,
                 struct buf *out)
{
    switch (shape) {
    case SHAPE_OPENAI:
        return error_body_openai(out, (int)status, text);
    case SHAPE_ANTHROPIC:
        return error_body_anthropic(out, (int)status, text, request_id);
    case SHAPE_OLLAMA:
        break;
    }
    return error_body_ollama(out, text);
}

bool shape_stream_error(enum shape shape, enum shape_stream stream, unsigned status,
                        struct slice text, struct slice request_id, struct buf *out)
{
    bool sse = stream == SHAPE_STREAM_SSE;

    if (sse) {
        buf_append_str(out, shape == SHAPE_ANTHROPIC ? "event: error\ndata: " : "data: ");
    }
    (void)shape_error(shape, status, text, request_id, out); /* a failure is sticky */
    return buf_append_str(out, sse ? "\n\n" : "\n");
}
