/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of MCP 1 and their counterparts in Ollama's HTTP API. Pure, static data. */
#ifndef MCP_CODEC_OP_H
#define MCP_CODEC_OP_H

#include <stdbool.h>

#include "base/slice.h"

enum op {
#define OP(name, wire, method, path, streams, once) OP_##name,
#include "codec/op.def"
#undef OP
    OP_COUNT,
    OP_NONE = OP_COUNT
};

struct op_info {
    const char *name;
    const char *method; /* of Ollama's HTTP API; "" for health */
    const char *path;
    bool streams; /* answers in parts unless "stream": false */
    bool once;    /* always on a fresh node connection, never sent twice */
};

/* Not for OP_NONE. */
const struct op_info *op_info(enum op op);
/* OP_NONE for an unknown name. */
enum op op_from_name(struct slice name);
/* The operation served at exactly that method and path (no query) of Ollama's API; OP_NONE for any
 * other, HEAD included. */
enum op op_from_http(struct slice method, struct slice path);
/* generate, chat, embed, embeddings: what runs a model and continues a session. */
bool op_is_inference(enum op op);

#endif
