/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the translation: one translated request and what was seen of its answer. openai_request.c
 * makes it; openai_stream.c (events), openai_embed.c (embeddings) read the answer into it;
 * openai_part.c writes native parts from it. */
#ifndef MCP_NODE_OPENAI_CALL_H
#define MCP_NODE_OPENAI_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"
#include "codec/op.h"
#include "node/openai.h"

enum {
    OPENAI_TOOL_CALLS_MAX = 128,
    OPENAI_TOP_LOGPROBS_MAX = 20 /* Ollama's own limit */
};
/* Of text, thinking, logprobs and tool calls held here for one answer. */
#define OPENAI_HELD_MAX_BYTES ((size_t)64 << 20)

enum openai_finish { OPENAI_RUNNING, OPENAI_STOP, OPENAI_LENGTH };

/* Streamed in pieces, sent to the client whole. */
struct openai_tool_call {
    struct buf id;        /* JSON string; empty: the node gave none */
    struct buf name;      /* JSON string */
    struct buf arguments; /* JSON text, unescaped */
};

struct openai_tool_calls {
    struct openai_tool_call *calls;
    size_t count;
};

/* What the node reports of its work; durations are from llama.cpp's `timings` only. */
struct openai_usage {
    bool has_usage; /* `usage` came: with a finish reason, the answer is over */
    bool has_counts;
    uint64_t prompt_tokens;
    uint64_t tokens;
    bool has_durations;
    uint64_t prompt_ns;
    uint64_t tokens_ns;
};

enum { OPENAI_CALL_MAGIC = 0x6f616963 };

struct openai_call {
    uint32_t magic;
    enum op op;
    bool client_streams;
    bool node_streams;
    bool wants_logprobs;
    bool top_logprobs; /* and alternatives */
    bool finished;     /* the last part was made */
    struct buf model;  /* JSON string, the client's own text */

    size_t inputs;       /* embed: how many vectors must come */
    uint64_t dimensions; /* embed: to cut to; 0: as they come */

    uint64_t start_us;
    uint64_t first_us; /* the first and the latest piece; 0: none yet */
    uint64_t latest_us;
    uint64_t pieces;
    enum openai_finish finish;
    struct openai_usage usage;
    struct openai_tool_calls tools;

    /* Text and thinking as the inside of a JSON string, logprobs as elements with commas between;
     * of one event where the client streams, else of all so far. */
    struct buf text;
    struct buf thinking;
    struct buf logprobs;
    size_t held_bytes;
};

/* Appends the native part for what is held, and lets go of it. With `last` also the end: finish
 * reason, counts, durations. enum openai_result, or a failure. */
MUST_CHECK int openai_part(struct openai_call *call, bool last, struct openai_clock at,
                           struct buf *out);
/* The answer to an empty prompt: nothing was asked of a node. */
MUST_CHECK int openai_part_loaded(const struct openai_call *call, bool unload,
                                  struct openai_clock at, struct buf *out);
/* The whole answer of embed or embeddings. */
MUST_CHECK int openai_embed_whole(struct openai_call *call, struct slice body,
                                  struct openai_clock at, struct buf *out);

/* Takes `tool_calls` of a delta or message, a JSON array already known to be valid. */
MUST_CHECK int openai_tools_take(struct openai_call *call, struct slice tool_calls);
/* 0; OPENAI_ERROR with a text appended where one has arguments that are no JSON object; MCP_ENOMEM.
 */
MUST_CHECK int openai_tools_check(const struct openai_tool_calls *tools, struct buf *out);
/* Appends them, checked before, as Ollama's array. Sticky. */
void openai_tools_append(const struct openai_tool_calls *tools, struct buf *out);
void openai_tools_fini(struct openai_tool_calls *tools);

/* Takes `logprobs` of a choice, in the shape of chat or of OpenAI's completions. */
MUST_CHECK int openai_logprobs_take(struct openai_call *call, struct slice logprobs);

/* Counts what is held. 0 or MCP_ETOO_LARGE. */
MUST_CHECK int openai_hold(struct openai_call *call, size_t more_bytes);

#endif
