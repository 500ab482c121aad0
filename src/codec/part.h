/* SPDX-License-Identifier: Apache-2.0 */
/* What one part of a node's native (Ollama) stream is. Sans-IO. */
#ifndef MCP_CODEC_PART_H
#define MCP_CODEC_PART_H

#include "base/slice.h"

enum part_kind {
    PART_MIDDLE,
    PART_LAST,   /* top-level "done": true */
    PART_ERROR,  /* a top-level "error" (string that is not empty, or object with "message"), no
                    matter what else is there */
    PART_INVALID /* not one JSON object */
};

/* `part` is one object without its newline. Cheap: a prefix test for an error, a look at the end,
 * else a search for "done"; a real parse only on a hit, so that an error that is not the first
 * member, and PART_INVALID of what stands between braces, are only reported where a parse was
 * needed. */
enum part_kind part_classify(struct slice part);
/* A real parse always: for the only part of an answer that is not a stream. */
enum part_kind part_classify_whole(struct slice part);

#endif
