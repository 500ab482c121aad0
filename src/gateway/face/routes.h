/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's HTTP surface, native and /v1, as one table: what each method and path is, and how it is
 * handled. Pure, static data. */
#ifndef MCP_GATEWAY_FACE_ROUTES_H
#define MCP_GATEWAY_FACE_ROUTES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/op.h"
#include "gateway/exchange.h"
#include "gateway/face/shape.h"

#define ROUTE_RETRIEVE "/v1/models/"
#define ROUTE_LIVENESS "/" /* the gateway speaks for itself */

enum route_body {
    ROUTE_BODY_NONE,
    ROUTE_BODY_JSON,   /* read whole, once */
    ROUTE_BODY_RAW,    /* read whole, passed on as it is */
    ROUTE_BODY_UPLOAD, /* streamed */
};

struct route {
    const char *method;
    struct slice path; /* a segment ":x" stands for any one, "*x" at the end for any rest */
    enum op op;        /* whose counterpart it is; OP_NONE */
    enum shape shape;
    enum route_body body;
    enum stream_end end;
    bool translated;  /* nodes of kind openai are asked through the translation */
    bool any_kind;    /* relayed to every kind of node */
    bool needs_model; /* runs a model */
    bool once;        /* never sent twice */
    bool retrieves;   /* the rest of the path is the model */
};

enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/* `path` without its query. OPTIONS is served wherever the path is. */
enum route_match route_find(struct slice method, struct slice path, const struct route **route);
/* Appends the methods of a path as the header Allow lists them. False: out of memory. */
bool route_allow(struct slice path, struct buf *out);
/* Appends the path of a route that was written with slashes too many ("//api/tags", "/api/tags/").
 * False: it is none, it has none too many, or out of memory. */
bool route_tidy(struct slice path, struct buf *out);

#endif
