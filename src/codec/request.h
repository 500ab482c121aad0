/* SPDX-License-Identifier: Apache-2.0 */
/* The one reading of a JSON request body (protocol.md section 3): which top-level keys the gateway
 * reads or edits, where they stand, what `mcp` says; and the edited body as slices of the original.
 * Sans-IO. Everything borrows the body, which must outlive it. */
#ifndef MCP_CODEC_REQUEST_H
#define MCP_CODEC_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_scan.h"
#include "base/slice.h"
#include "codec/op.h"

/* The guarded keys by length: KEY(NAME, "text"). A top-level key that folds to one of them and is
 * not that plain, unescaped, lower-case key exactly once is bad_request. */
#define REQUEST_KEYS(KEY)                                                                          \
    KEY(MCP, "mcp")                                                                                \
    KEY(NAME, "name")                                                                              \
    KEY(FROM, "from")                                                                              \
    KEY(MODEL, "model")                                                                            \
    KEY(INPUT, "input")                                                                            \
    KEY(STREAM, "stream")                                                                          \
    KEY(PROMPT, "prompt")                                                                          \
    KEY(FORMAT, "format")                                                                          \
    KEY(SOURCE, "source")                                                                          \
    KEY(OPTIONS, "options")                                                                        \
    KEY(MESSAGES, "messages")                                                                      \
    KEY(TRUNCATE, "truncate")                                                                      \
    KEY(KEEP_ALIVE, "keep_alive")                                                                  \
    KEY(DIMENSIONS, "dimensions")                                                                  \
    KEY(DESTINATION, "destination")                                                                \
    KEY(STREAM_OPTIONS, "stream_options")

enum request_key {
#define KEY(name, text) REQUEST_##name,
    REQUEST_KEYS(KEY)
#undef KEY
        REQUEST_KEY_COUNT
};

enum priority { PRIORITY_NONE, PRIORITY_INTERACTIVE, PRIORITY_NORMAL, PRIORITY_BATCH };

/* The reserved member `mcp`. Slices are the JSON text of the value (strings with their quotes);
 * a NULL pointer means absent. */
struct request_mcp {
    enum op op;      /* OP_NONE: absent */
    bool op_unknown; /* an `op` this gateway does not know */
    bool has_deadline;
    uint64_t deadline_ms;
    enum priority priority;
    struct slice tags;
    bool continues; /* "continue": true */
    bool resume;
    struct slice idempotency_key;
    struct slice traceparent;
    struct slice auth;
    struct slice tenant;
    struct slice nodes; /* where a model is to be pulled, ... */
    bool has_hops;
    uint64_t hops;
};

struct request {
    struct slice body;
    uint32_t present;      /* bit of each key that is there */
    size_t open;           /* offset behind the object's '{' */
    size_t member_count;   /* of all top-level members */
    size_t mcp_prev_end;   /* offset behind the member before `mcp`; 0: mcp is the first */
    size_t mcp_next_start; /* offset of the member after `mcp`; 0: mcp is the last */
    struct request_mcp mcp;
    struct json_member members[REQUEST_KEY_COUNT]; /* of keys that are absent: never written */
};

static inline bool request_has(const struct request *r, enum request_key key)
{
    return (r->present >> key & 1U) != 0;
}

/* The text of its value; a NULL pointer: absent. */
static inline struct slice request_value(const struct request *r, enum request_key key)
{
    return request_has(r, key) ? r->members[key].value : (struct slice){NULL, 0};
}

enum request_source {
    REQUEST_FROM_MCP, /* `mcp` is read; in it (and in its `tags`) wrong types, null included, keys
                         that are there twice and more than 64 members are bad_request */
    REQUEST_FROM_HTTP /* `mcp` is only found, to be cut */
};

/* Reads `body`. 0, or MCP_EBAD_REQUEST with a text that names the key and the offset. */
int request_read(struct request *r, struct slice body, enum request_source source, struct err *e);

/* Below, null stands for absent, as it does in Ollama. */

/* The operation by section 3: mcp.op, else messages, input, prompt. 0, MCP_EBAD_REQUEST (cannot be
 * inferred; or show, pull, push, create, delete without a non-empty model or name, copy without
 * source and destination), MCP_EUNSUPPORTED_OP. */
int request_op(const struct request *r, enum op *op, struct err *e);

/* The text of `model`, for show, pull, push, create, delete else that of `name`, for copy only that
 * of `source`; unescaped, into `out` (may hold any byte, NUL included). 0 with out empty: absent or
 * empty. MCP_EBAD_REQUEST: not a string. MCP_ENOMEM. */
int request_model(const struct request *r, enum op op, struct buf *out, struct err *e);

/* `stream`: as given, else the operation's default. MCP_EBAD_REQUEST: not a bool. Operations that
 * do not stream by default never do, and `stream` is not looked at. */
int request_stream(const struct request *r, enum op op, bool *streams, struct err *e);

enum { REQUEST_PIECES_MAX = 12 };

/* What the forwarded body differs in: JSON texts of values. Absent slices (NULL) change nothing. */
struct request_edits {
    struct slice model;          /* set, in place of one that is there */
    struct slice options;        /* set where the body has none, or null (inherited) */
    bool options_replace;        /* set in place of those that are there, too */
    struct slice stream;         /* "true" or "false"; set, in place of one that is there */
    struct slice stream_options; /* set, in place of one that is there */
};

struct request_pieces {
    struct slice pieces[REQUEST_PIECES_MAX];
    size_t count;
    size_t len_bytes; /* sum */
};

/* The body with `mcp` cut out and the edits made, as slices of the body, of `edits` and of static
 * text, in order. Everything else is byte for byte as it came. */
void request_forward(const struct request *r, const struct request_edits *edits,
                     struct request_pieces *out);

#endif
