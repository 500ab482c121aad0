/* SPDX-License-Identifier: Apache-2.0 */
/* Model names as Ollama reads them: [scheme://][host/][namespace/]model[:tag], with the defaults
 * registry.ollama.ai, library, latest. ":local" at the end says nothing; of a model that runs in
 * Ollama's cloud, "m:cloud" and "m:8b-cloud" (also written "m:8b:cloud") are the names. Only for
 * comparing; the client's own text is what is forwarded. */
#ifndef MCP_CODEC_MODEL_NAME_H
#define MCP_CODEC_MODEL_NAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Appends the canonical name, "registry.ollama.ai/library/llama3:latest", ASCII letters in lower
 * case as Ollama compares them. Any bytes are allowed in: a name Ollama would refuse comes out so
 * that it equals only itself. */
bool model_name_canonical(struct slice name, struct buf *out);
/* Whether two names are the same model. */
bool model_name_same(struct slice a, struct slice b);

/* Whether Ollama takes it for a model of its cloud, which a node serves without listing it. */
bool model_name_is_cloud(struct slice name);

#endif
