/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks of the simulated node: routes, and the members of a body that change anything.
 * Sans-IO; slices borrow the body. */
#ifndef MCP_SIM_ASK_H
#define MCP_SIM_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json_scan.h"
#include "base/slice.h"

enum sim_op {
#define SIM_ROUTE(op, method, path) SIM_OP_##op,
#include "sim/route.def"
#undef SIM_ROUTE
};

enum sim_route { SIM_ROUTE_FOUND, SIM_ROUTE_NO_METHOD, SIM_ROUTE_NO_PATH };

/* A GET also serves HEAD. `target` may have a query. */
enum sim_route sim_route_find(struct slice method, struct slice target, enum sim_op *op);

static inline bool sim_op_embeds(enum sim_op op)
{
    return op == SIM_OP_EMBED || op == SIM_OP_EMBEDDINGS;
}

static inline bool sim_op_is_v1(enum sim_op op)
{
    return op == SIM_OP_V1_CHAT || op == SIM_OP_V1_TEXT || op == SIM_OP_V1_MODELS;
}

struct sim_ask {
    enum sim_op op;
    struct slice model; /* between the quotes, still escaped */
    bool stream;
    bool usage;            /* /v1: stream_options.include_usage */
    uint32_t tokens;       /* num_predict, max_tokens; 0: not said */
    uint32_t context;      /* num_ctx; 0: not said */
    uint32_t dimensions;   /* 0: not said */
    bool truncate;         /* an input that is too long */
    bool has_keep_alive;   /* else: the node's own */
    int64_t keep_alive_us; /* below 0: for ever */
    bool has_gap;
    uint64_t gap_us;     /* options.sim_gap_ms */
    struct slice fault;  /* options.sim_fault; empty: none */
    struct slice system; /* generate; between the quotes */
    struct slice text;   /* prompt (between the quotes); messages, or what to embed, as JSON */
    enum json_kind text_kind;
};

/* Why a request is refused. */
struct sim_refusal {
    unsigned status;
    char text[192];
};

/* False: refused. */
bool sim_ask_read(struct sim_ask *ask, enum sim_op op, struct slice body, struct sim_refusal *why);
/* No prompt and no messages: the model is loaded, or with keep_alive 0 unloaded. */
bool sim_ask_loads(const struct sim_ask *ask);

/* The name as it is listed, or without its ":latest". Other ways to write it: codec/model_name.h.
 */
bool sim_model_is(struct slice escaped, const char *listed);

#endif
