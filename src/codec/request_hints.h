/* SPDX-License-Identifier: Apache-2.0 */
/* What a request tells whoever chooses a node: the options for which Ollama loads a model anew, and
 * hashes of the beginnings of its prompt. Sans-IO, no memory of its own. */
#ifndef MCP_CODEC_REQUEST_HINTS_H
#define MCP_CODEC_REQUEST_HINTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "codec/request.h"

struct runner_options {
    uint64_t hash;    /* of all that are given, in any order; 0: none is */
    uint64_t context; /* num_ctx, where that is the only one; else 0 */
};

/* `options` is the JSON text of the request's options; empty, or no object: none are given. */
struct runner_options runner_options_of(struct slice options);

enum { PROMPT_HASHES_MAX = 32 };

/* Hashes of ever longer beginnings: of `messages` one behind each of the first, of `prompt` one at
 * 256 bytes, 512, and so on, and at its end. Equal beginnings of equal requests, as they are
 * written, have equal hashes. How many were written to `hashes`, of PROMPT_HASHES_MAX; and to
 * `bytes`, unless it is NULL, how long those beginnings are. */
size_t prompt_hashes(const struct request *r, uint64_t *hashes, uint64_t *bytes);

#endif
