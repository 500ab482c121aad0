/* SPDX-License-Identifier: Apache-2.0 */
/* What one part of a node's native (Ollama) stream is. Cheap: a prefix test and one memmem, a real parse of
 * the top level only on a hit. Sans-IO. */
#ifndef MCP_CODEC_PART_H
#define MCP_CODEC_PART_H

#include "base/slice.h"

enum part_kind {
    PART_MIDDLE,
    PART_LAST,   /* top-level "done": true */
    PART_ERROR,  /* a top-level "error" (string, or object with "message"), no matter what else */
    PART_INVALID /* not one JSON object */
};

/* `part` is one object without its newline. PART_INVALID is only reported where a parse was needed. */
enum part_kind part_classify(struct slice part);
/* A real parse always: for the only part of an answer that is not a stream. */
enum part_kind part_classify_whole(struct slice part);

#endif
