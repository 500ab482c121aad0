/* SPDX-License-Identifier: Apache-2.0 */
/* Translation between Ollama's native API and a node that speaks OpenAI's (llama.cpp server, vLLM). docs/openai-nodes.md
 * lists every field. Pure: bytes and clocks in, bytes out; one `struct openai_call` is one translated request and belongs to its exchange. */
#ifndef MCP_NODE_OPENAI_H
#define MCP_NODE_OPENAI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "codec/op.h"
#include "codec/request.h"

struct openai_clock {
    uint64_t now_us;  /* monotonic */
    uint64_t wall_us; /* since 1970, for created_at */
};

struct openai_call;

/* Translates the native request `r` of generate, chat, embed or embeddings. On success *call is the state for its response, `path` has "/v1/...",
 * `body` the JSON for the node. `model` is the text to send as model; `options` JSON inherited where the body has none (may be empty).
 * The node is always asked to stream where the client streams, with usage included. MCP_EBAD_REQUEST or MCP_EUNSUPPORTED_OP name the field that cannot
 * be carried (context, suffix, template...). */
int openai_request(struct openai_call **call, enum op op, const struct request *r, struct slice model,
                   struct slice options, struct openai_clock at, struct buf *path, struct buf *body,
                   struct err *e);
void openai_call_free(struct openai_call **call);
/* Whether the node's answer will be an SSE stream. */
bool openai_call_streams(const struct openai_call *call);

enum openai_result {
    OPENAI_NOTHING, /* nothing for the client in this event */
    OPENAI_PART,    /* one native part was appended to `out`, without newline */
    OPENAI_LAST,    /* the last part ("done": true) was appended */
    OPENAI_ERROR    /* the node reported an error; its text was appended to `out` */
};

/* The data of one server-sent event ("[DONE]" too). A negative MCP_EUPSTREAM_ERROR where it is not what the protocol says. */
int openai_event(struct openai_call *call, struct slice data, struct openai_clock at, struct buf *out);
/* The whole body of an answer with status 200 that is not a stream: one native object, or OPENAI_ERROR. */
int openai_whole(struct openai_call *call, struct slice body, struct openai_clock at, struct buf *out);

/* Native answers made from the node's /v1/models body (and /props of llama.cpp where given, else empty). */
int openai_tags(struct slice models, struct openai_clock at, struct buf *out); /* /api/tags */
int openai_ps(struct slice models, struct openai_clock at, struct buf *out);   /* /api/ps */
/* /api/show for `model`; MCP_EUNKNOWN_MODEL. */
int openai_show(struct slice models, struct slice props, struct slice model, struct buf *out);

#endif
