/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the translation of requests: native JSON (read by yyjson, numbers as text) in, members of
 * the node's request out. All append to `out`, whose failure is sticky and checked by
 * openai_request, and return 0, MCP_ENOMEM, MCP_EBAD_REQUEST or MCP_EUNSUPPORTED_OP with a text in
 * `e`. */
#ifndef MCP_NODE_OPENAI_ASK_H
#define MCP_NODE_OPENAI_ASK_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "node/openai_json.h"

/* MCP_EUNSUPPORTED_OP for `field`. */
int openai_refuse(struct err *e, const char *field);

/* The members made of `options` (NULL: none). `raw`: for /v1/completions. */
MUST_CHECK int openai_options_append(struct buf *out, yyjson_val *options, bool raw, struct err *e);

/* The member `messages` made of Ollama's. */
MUST_CHECK int openai_messages_append(struct buf *out, yyjson_val *messages, struct err *e);
/* The same for generate: `system` (may be empty) and the prompt as one user message. */
MUST_CHECK int openai_prompt_append(struct buf *out, struct slice system, struct slice prompt,
                                    yyjson_val *images, struct err *e);

#endif
