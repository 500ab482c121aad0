/* SPDX-License-Identifier: Apache-2.0 */
/* Translation between Ollama's native API and a node that speaks OpenAI's (llama.cpp's server,
 * vLLM). docs/openai-nodes.md lists every field and is tested against this. Pure: bytes and clocks
 * in, bytes out; one `struct openai_call` is one translated request and belongs to its exchange.
 * Whatever a node or client sends, a failure is a code: MCP_ENOMEM where memory is out. Where a
 * function fails, what it already appended to its bufs is of no use. */
#ifndef MCP_NODE_OPENAI_H
#define MCP_NODE_OPENAI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"
#include "codec/op.h"
#include "codec/request.h"

struct openai_clock {
    uint64_t now_us;  /* monotonic */
    uint64_t wall_us; /* since 1970, for created_at */
};

/* A native request to translate; read only during openai_request. */
struct openai_ask {
    enum op op; /* generate, chat, embed or embeddings; any other is MCP_EUNSUPPORTED_OP */
    const struct request *request;
    struct slice model;      /* the client's own text: `model` of every native part */
    struct slice node_model; /* the node's own spelling of that name, sent to it */
    struct slice options;    /* JSON object inherited where the body has no options; may be empty */
    struct openai_clock at;  /* when the client asked: durations are measured from here */
};

enum openai_asked {
    OPENAI_SEND,    /* *call, path and body are set: ask the node */
    OPENAI_ANSWERED /* nothing to ask (an empty prompt loads or unloads): `body` has the one native
                       part that is the answer, also where the client streams; *call is NULL */
};

struct openai_call;

/* enum openai_asked: `path` ("/v1/...") and `body` for a POST of JSON were appended, and *call
 * takes the answer. Or MCP_EBAD_REQUEST (what Ollama refuses too), MCP_EUNSUPPORTED_OP (names the
 * field that such a node cannot carry: context, suffix, template...), MCP_ENOMEM. Generate and chat
 * always ask the node to stream, with usage included, also where the client wants one answer:
 * llama.cpp's server goes on generating for a client that left unless it streams. The parts are
 * then put together here: OPENAI_NOTHING until OPENAI_LAST has the whole. (Tools together with
 * logprobs are the exception: llama.cpp cannot stream those.) */
MUST_CHECK int openai_request(struct openai_call **call, const struct openai_ask *ask,
                              struct buf *path, struct buf *body, struct err *e);
void openai_call_free(struct openai_call **call);
/* Whether the node was asked for a stream of server-sent events: openai_event takes them, else
 * openai_whole the body. A node that answers otherwise than asked may be given to the other one. */
bool openai_call_streams(const struct openai_call *call);

enum openai_result {
    OPENAI_NOTHING, /* nothing for the client */
    OPENAI_PART,    /* one native part was appended to `out`, without newline */
    OPENAI_LAST,    /* the last part ("done": true; embeddings: the only one) was appended */
    OPENAI_ERROR    /* the node reported an error; its text (not JSON) was appended to `out` */
};

/* enum openai_result of the data of one server-sent event, "[DONE]" too. MCP_EUPSTREAM_ERROR where
 * it is not what such a node sends, MCP_ENOMEM, MCP_ETOO_LARGE (an answer put together here grew
 * beyond its limit). What follows OPENAI_LAST is OPENAI_NOTHING. A stream that ends before
 * OPENAI_LAST was interrupted: that is for the caller to see. */
MUST_CHECK int openai_event(struct openai_call *call, struct slice data, struct openai_clock at,
                            struct buf *out);
/* The whole body of an answer with status 200 that is not a stream: OPENAI_LAST, OPENAI_ERROR or a
 * failure as above. */
MUST_CHECK int openai_whole(struct openai_call *call, struct slice body, struct openai_clock at,
                            struct buf *out);

/* Native answers made from what a node says of itself. `models` is the body of GET /v1/models,
 * `props` of llama.cpp's GET /props, empty where the node has none. 0; MCP_EUPSTREAM_ERROR: a body
 * that is not JSON of that shape; MCP_ENOMEM. */
MUST_CHECK int openai_tags(struct slice models, struct openai_clock at, struct buf *out);
MUST_CHECK int openai_ps(struct slice models, struct openai_clock at, struct buf *out);
/* `model` in any spelling; MCP_EUNKNOWN_MODEL: not listed. */
MUST_CHECK int openai_show(struct slice models, struct slice props, struct slice model,
                           struct openai_clock at, struct buf *out);
/* The node's own entry for `model`, in any spelling, as it stands in its list: what GET
 * /v1/models/ID answers, which such nodes do not serve. MCP_EUNKNOWN_MODEL: not listed. */
MUST_CHECK int openai_retrieve(struct slice models, struct slice model, struct buf *out);
/* The version of Ollama's API that the translation follows: clients decide by it what they may use.
 */
MUST_CHECK int openai_version(struct buf *out);

#endif
