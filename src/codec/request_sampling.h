/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request to generate says how to sample, so that the same comes out each time: a
 * temperature of 0, or a seed. Sans-IO, no memory of its own. */
#ifndef MCP_CODEC_REQUEST_SAMPLING_H
#define MCP_CODEC_REQUEST_SAMPLING_H

#include <stdbool.h>

#include "codec/request.h"

/* The JSON text of Ollama's `options`; empty, or no object: it does not. */
bool sampling_is_fixed_by(struct slice options);
/* A body of OpenAI's API, where they are members of their own. */
bool sampling_is_fixed(const struct request *r);

#endif
