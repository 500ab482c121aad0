/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as JSON carries it: Ollama's images as content parts of OpenAI's, and vectors. Pure. */
#ifndef MCP_NODE_OPENAI_MEDIA_H
#define MCP_NODE_OPENAI_MEDIA_H

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

/* The content part for one entry of `images`: image_url with a data: URL whose media type is
 * sniffed from the first bytes (image/jpeg where they say nothing), or input_audio for WAV and MP3.
 * Sticky. 0, or MCP_EBAD_REQUEST where it is not base64. */
MUST_CHECK int openai_media_append(struct buf *out, struct slice base64);

/* The decoded bytes; line breaks inside are skipped, padding is needed. 0, MCP_EBAD_REQUEST (not
 * base64), MCP_ENOMEM. */
MUST_CHECK int openai_base64_decode(struct slice base64, struct buf *out);

#endif
