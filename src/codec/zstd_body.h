/* SPDX-License-Identifier: Apache-2.0 */
/* A request body with Content-Encoding: zstd (RFC 8878), decoded to find the model's name in it; it
 * is forwarded as it came. Sans-IO. */
#ifndef MCP_CODEC_ZSTD_BODY_H
#define MCP_CODEC_ZSTD_BODY_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Appends what `body` holds to `out`: all frames, in all at most `max_bytes`. Besides, memory for
 * the decoder's window is used meanwhile, 32 MiB at most. 0; MCP_EBAD_REQUEST (it is no zstd, or
 * cut short), MCP_ETOO_LARGE (the content, or its window), MCP_ENOMEM. */
int zstd_body_read(struct slice body, size_t max_bytes, struct buf *out, struct err *e);

#endif
