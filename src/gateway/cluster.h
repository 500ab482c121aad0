/* SPDX-License-Identifier: Apache-2.0 */
/* What all nodes together have, from what is known of them: nothing is asked. A model that several
 * nodes list stands there once, as the first of them says; nodes that are not up say nothing. What
 * one node alone says is passed on in its own words. A sub reactor's or the main one's registry, on
 * its thread. */
#ifndef MCP_GATEWAY_CLUSTER_H
#define MCP_GATEWAY_CLUSTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"
#include "node/openai.h"
#include "node/registry.h"

/* Ollama's /api/tags and /api/ps, OpenAI's /v1/models. 0 or MCP_ENOMEM; what a node lists in
 * another shape is left out. */
MUST_CHECK int cluster_tags(struct nodes *nodes, struct openai_clock at, struct buf *out);
MUST_CHECK int cluster_ps(struct nodes *nodes, struct openai_clock at, struct buf *out);
MUST_CHECK int cluster_models(struct nodes *nodes, struct buf *out);

/* Appends [{"model":...,"digests":[{"node":...,"digest":...}]}]: models of one name that are not
 * the same everywhere. A failure is sticky. */
void cluster_drift(struct nodes *nodes, struct buf *out);
/* How many models that are. False: out of memory. */
MUST_CHECK bool cluster_drift_count(struct nodes *nodes, size_t *count);

#endif
