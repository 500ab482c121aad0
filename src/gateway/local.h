/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway answers itself: health for every node; list, ps and GET /v1/models where there
 * are several, from what is known of them (cluster.h); and for nodes that speak OpenAI's API
 * Ollama's list, ps, show and version, and OpenAI's GET /v1/models/MODEL. */
#ifndef MCP_GATEWAY_LOCAL_H
#define MCP_GATEWAY_LOCAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "codec/op.h"

struct exchange;
struct node;

/* Whether `op` can be served, by translation or from here, where the node speaks OpenAI's API. */
bool local_translates(enum op op);
/* True: it needs no node, was answered, and is over. */
bool local_answers(struct exchange *x);
/* The same once the node, of kind openai, is known. */
bool local_answers_for(struct exchange *x, struct node *n);
/* Ends `x` with `answer` as its one part, or with internal where it could not be written. */
void local_give(struct exchange *x, const struct buf *answer);

#endif
