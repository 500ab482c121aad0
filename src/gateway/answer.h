/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back from the node, turned into what the exchange's sink wants: relayed part by part,
 * collected, or translated; and the finding of the stream's end. Called by exchange.c only. */
#ifndef MCP_GATEWAY_ANSWER_H
#define MCP_GATEWAY_ANSWER_H

#include "node/call.h"

struct exchange;

enum answer_mode {
    ANSWER_RELAY,         /* status, headers and body as they are */
    ANSWER_ASSEMBLED,     /* SSE, put together to one JSON object */
    ANSWER_NATIVE_STREAM, /* NDJSON lines of an Ollama node */
    ANSWER_NATIVE_WHOLE,  /* one JSON object of an Ollama node */
    ANSWER_OPENAI_STREAM, /* SSE, translated */
    ANSWER_OPENAI_WHOLE,  /* one JSON object, translated */
    ANSWER_HELD_ERROR,    /* a node's error that another model may not have, to be relayed else */
    ANSWER_NODE_ERROR,    /* a status >= 400 for a sink that wants parts */
};

/* The owner of the call is the exchange. */
extern const struct node_call_ops answer_ops;

/* Whoever waits for the answer to be complete is told so by exchange_succeed or exchange_fail. */
void answer_fini(struct exchange *x);
/* What was taken of the memory for bodies. */
void answer_give_back(struct exchange *x);

#endif
