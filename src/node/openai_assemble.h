/* SPDX-License-Identifier: Apache-2.0 */
/* One whole answer of /v1 out of the events of a stream. llama.cpp's server generates to the end
 * for a client that left unless it streams, so who wants one answer of it has it asked for as a
 * stream and put together here, as that server would have given it at once (docs/openai-nodes.md,
 * "/v1"). Pure: events in, one JSON object out. Belongs to its exchange. */
#ifndef MCP_NODE_OPENAI_ASSEMBLE_H
#define MCP_NODE_OPENAI_ASSEMBLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

enum openai_assembled {
    OPENAI_ASSEMBLED_CHAT,        /* /v1/chat/completions */
    OPENAI_ASSEMBLED_COMPLETIONS, /* /v1/completions */
    OPENAI_ASSEMBLED_MESSAGES,    /* /v1/messages */
    OPENAI_ASSEMBLED_RESPONSES    /* /v1/responses */
};

/* Whether the stream that such a request gets holds all of the answer, `request` being a valid JSON
 * object that does not ask for one. No for what that server leaves out of streams, or refuses. */
bool openai_assembles(enum openai_assembled kind, struct slice request);

struct openai_assembly;

/* NULL: out of memory. */
struct openai_assembly *openai_assembly_new(enum openai_assembled kind, size_t max_bytes);
void openai_assembly_free(struct openai_assembly **a);

/* Takes the data of one server-sent event, "[DONE]" too. enum openai_result: OPENAI_NOTHING;
 * OPENAI_LAST with the whole answer appended to `out`; OPENAI_ERROR with the node's own error
 * object appended and the status it would have had without a stream. MCP_EUPSTREAM_ERROR: not what
 * such a node sends; MCP_ETOO_LARGE: more than `max_bytes`; MCP_ENOMEM. What follows OPENAI_LAST is
 * OPENAI_NOTHING. */
MUST_CHECK int openai_assembly_event(struct openai_assembly *a, struct slice data, struct buf *out,
                                     unsigned *status);

/* For openai_assemble.c. The whole answer of /v1/responses made of the one that its stream ends
 * with, a valid JSON object: with completed_at, and a status in every item. 0 or MCP_ENOMEM. */
MUST_CHECK int openai_response_append(struct slice response, struct buf *out);
/* The HTTP status of an error in a stream, `data` being a valid JSON object. */
unsigned openai_error_status(struct slice data);

#endif
