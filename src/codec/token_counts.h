/* SPDX-License-Identifier: Apache-2.0 */
/* How many tokens an answer says that it cost, in Ollama's words or OpenAI's. */
#ifndef MCP_CODEC_TOKEN_COUNTS_H
#define MCP_CODEC_TOKEN_COUNTS_H

#include <stdint.h>

#include "base/slice.h"

struct token_counts {
    uint32_t prompt, answer; /* 0: it does not say */
};

/* Of an answer's last part, or of all of it: numbers come last, so only its end is looked at, and a
 * text that holds their names escapes the quotes. */
struct token_counts token_counts_of(struct slice part);

#endif
