/* SPDX-License-Identifier: Apache-2.0 */
/* On which nodes a model is pulled, created, copied, deleted or pushed: what the client wishes
 * (X-Mcpgate-Nodes, mcp.nodes), else what the operation means. Pure.
 *
 * operation     no wish                        all              a number n        names
 * pull, create  as placement.replicas says     every node       see below         those
 * copy          all that have the source       the same         n of those        those
 * delete        all that have the model        the same         refused           those
 * push          one that has the model         refused          refused           one
 *
 * n nodes are those that have the model already, all of them, as they would differ else; where that
 * is too few, more are added: of a create those with the model that it is made from first, then
 * those whose models take the fewest bytes, then those with the fewest models, then in the order of
 * the configuration. So the same request finds the same nodes again. A node that is down or
 * cordoned is never added, but it is part of "every" and "all that have it": what cannot be done
 * there is an error. Files that a create is made from are on one node alone: the first in order,
 * where uploads go too, or the one that is named. */
#ifndef MCP_GATEWAY_SPREAD_PLAN_H
#define MCP_GATEWAY_SPREAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"
#include "codec/op.h"

struct spread_ask {
    enum op op;        /* OP_NONE: an upload of a file to create from */
    struct slice wish; /* empty: none */
    uint64_t replicas; /* of the configuration; 0: every node */
    bool has_files;    /* a create from files */
};

struct spread_node {
    const char *name;
    bool suits;  /* can manage models, as far as is known: kind ollama */
    bool serves; /* takes work */
    bool has_model;
    bool has_base; /* that a create is made from */
    size_t models;
    uint64_t models_bytes;
    bool chosen; /* the answer */
};

/* Marks the nodes that are chosen and says how many; 0: as if nothing had been wished, any node may
 * say what is wrong. MCP_EBAD_REQUEST: the wish cannot be meant so; MCP_ENODE_UNAVAILABLE: there
 * are not so many nodes. */
MUST_CHECK int spread_plan(const struct spread_ask *ask, struct spread_node *nodes, size_t count,
                           size_t *chosen, struct err *e);

#endif
