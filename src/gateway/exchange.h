/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer, from the face that read it to its end. A face makes it, fills in what
 * it read and starts it; it then runs through the steps admit -> room -> local -> queue ->
 * choose -> forward, waits for the node, and ends in exactly one way (exchange_end in exchange.c):
 * `ended` is called once, or never where the face itself cancelled. Everything on the loop's
 * thread; callbacks never come from inside a call of the face.
 *
 * answers   NATIVE: parts in Ollama's format, whatever the node speaks; RELAY: the node's own HTTP
 * answer, cut into its parts. */
#ifndef MCP_GATEWAY_EXCHANGE_H
#define MCP_GATEWAY_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "codec/op.h"
#include "codec/request.h"
#include "gateway/request_id.h"
#include "gateway/trace.h"
#include "gateway/turns.h"
#include "http/parse/message.h"
#include "http/parse/split.h"
#include "node/call.h"
#include "node/openai.h"
#include "node/openai_assemble.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct batch_member;
struct flight_member;
struct record;
struct spread;
struct sub;
struct exchange;

enum exchange_face { FACE_MCP, FACE_HTTP };

/* How a streamed answer says that it is complete. */
enum stream_end {
    STREAM_END_FRAMING,      /* the HTTP message ends: pull, push, create, and what is no stream */
    STREAM_END_DONE,         /* top-level "done": true (NDJSON) */
    STREAM_END_SSE_DONE,     /* data: [DONE] */
    STREAM_END_SSE_MESSAGE,  /* event: message_stop (Anthropic) */
    STREAM_END_SSE_RESPONSE, /* event: response.completed, .incomplete or .failed */
};

/* How an exchange ended. */
struct exchange_result {
    int code;                /* MCP_OK, or the error */
    struct slice text;       /* of the error, for people */
    struct slice node_body;  /* NATIVE: the node's own error body, where the error is one */
    uint64_t retry_after_ms; /* the gateway's own refusal: when to come again; 0: not known */
};

struct exchange_sink {
    /* Admitted: a node was chosen (x->node_id); the request is about to be sent. Again with another
     * attempt (x->attempts: how many there were). May be NULL. */
    void (*admitted)(void *owner, struct exchange *x);
    /* It waits for its turn, or stands elsewhere in the queue (x->turn). May be NULL. */
    void (*queued)(void *owner, struct exchange *x);
    /* RELAY: the node's status and headers; comes with the first bytes, or with the end. */
    void (*head)(void *owner, const struct http_head *head);
    /* RELAY: one complete part with its delimiter, or bytes of a body that has no parts. */
    void (*bytes)(void *owner, struct slice bytes);
    /* NATIVE: one object, without newline. `last`: the exchange ends well right after it. */
    void (*part)(void *owner, struct slice part, bool last);
    /* The end; the exchange is gone when this returns. */
    void (*ended)(void *owner, const struct exchange_result *result);
    /* Uploads: more of the body may come. May be NULL. */
    void (*drained)(void *owner);
};

/* What few requests have: those for a route, and those that are changed on their way. */
struct exchange_extra {
    struct buf asked_model;    /* what the client called it, where that is a route; else empty */
    struct buf routed_model;   /* then JSON text of `model` */
    struct buf pinned_options; /* JSON text that was spliced in instead of its own */
    struct buf ignored;        /* names of members that its node does not read */
    uint64_t route_id;         /* whose arm is to be told of the end; 0: none */
    uint8_t route_arm;
    uint8_t fallbacks;          /* of the route's that were tried */
    struct buf idempotency_key; /* HTTP's; MCP's is in `request` */
    struct buf wished_nodes;    /* where it is to be done (spread_plan.h); empty: not said */
    struct buf node_names;      /* where it is done, where those are several */
    uint64_t pinned_node_id;    /* no other will do; 0: any */
};

enum { EXCHANGE_MAGIC = 0x65786368, EXCHANGE_ID_MAX = REQUEST_ID_MAX };

struct exchange {
    uint32_t magic;
    struct sub *sub;
    struct list_link link;
    enum exchange_face face;
    const struct exchange_sink *sink;
    void *owner;

    /* What the face read. */
    enum op op;       /* OP_NONE: an HTTP request without a counterpart in MCP */
    bool native;      /* NATIVE answers wanted */
    bool native_only; /* Ollama's API over HTTP: RELAY from an Ollama node, NATIVE from any other */
    bool streams;     /* the client wants parts */
    bool needs_model; /* runs a model: only a node that lists it will do */
    size_t max_part_bytes;        /* a longer part is too_large */
    bool reads_little;            /* the node's answer, as exchange_read_little */
    bool has_key;                 /* a credential came */
    struct buf key;               /* the credential */
    struct buf body;              /* as it came; every change of its memory is followed by */
    size_t body_held_bytes;       /* exchange_account_body: what is taken of body_memory */
    size_t collect_held_bytes;    /* the same of an answer that is collected (answer.c) */
    bool body_is_json;            /* `request` is valid */
    bool retrieves;               /* GET /v1/models/MODEL: `model` is set */
    struct buf model;             /* unescaped; empty: none */
    uint64_t session_hash;        /* tells sessions of clients apart; 0: of none */
    struct buf inherited_model;   /* JSON text to splice in as model; empty: none */
    struct buf inherited_options; /* JSON text; empty: none */
    uint64_t prefer_node_id;      /* the session's last; 0: none */
    enum priority priority;
    bool has_deadline;
    uint64_t deadline_ms; /* after `received_us` */
    struct slice method;  /* RELAY; borrowed from `http` */
    struct slice path;
    struct http_header *headers; /* end-to-end ones; borrowed from `http` */
    size_t header_count;
    size_t headers_bytes; /* memory of `headers`, a block */
    struct buf http;      /* memory of the four above */
    bool relay_any_kind;  /* RELAY paths every node kind serves: /v1 */
    bool once;
    bool upload; /* the body is streamed through exchange_body */
    int64_t upload_length;
    bool is_head;
    bool cache_hit; /* the answer was kept from an earlier one */
    bool may_share; /* `inner`: but it may go into a call with others */
    bool inner;     /* the gateway's own, for several clients: admitted, not logged */
    enum stream_end stream_end;

    /* What happened. */
    uint64_t received_us;
    uint64_t first_part_us; /* 0: none yet */
    uint64_t parts;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t node_id; /* 0: none chosen */
    unsigned node_status;
    unsigned sent_status;       /* HTTP: what the client got; 0: nothing yet */
    uint64_t sent_us;           /* when it was given to a node; 0: it was not */
    uint64_t load_us;           /* that the node took to load the model; 0: it has not told */
    bool wants_timing;          /* the client asked for Server-Timing */
    bool text_is_nodes;         /* the error's text is the node's own */
    struct trace_record *trace; /* NULL: it is not traced */
    struct record *recorded;    /* NULL: it is not recorded */

    /* The machine. */
    uint8_t step; /* index into the steps of exchange.c */
    bool started;
    bool refused; /* its end waits for the deferred phase */
    bool over;    /* ended or cancelled */
    bool paused;
    bool waits_for_room; /* for exchange_resume */
    unsigned attempts;
    struct task run;
    struct task end_task;
    struct timer deadline;
    struct exchange_turn turn;
    struct nodes_refresh refresh;
    bool refreshing;
    bool refreshed;
    struct exchange_extra *extra; /* a block; NULL: nothing of it */
    struct node_call *call;
    struct openai_call *openai;
    struct openai_assembly *assembly;
    struct flight_member *flight; /* has what another one is answered, or has tried to */
    struct batch_member *batch;   /* shares a call, or has tried to */
    struct spread *spread;        /* is done on several nodes */
    struct health_deep *deep;     /* owned: health with "deep" runs */
    struct buf openai_path;
    struct buf openai_body;

    /* The answer. */
    uint8_t answer; /* enum answer_mode in answer.c */
    const struct http_head *held_head;
    struct splitter splitter;
    bool splitting;
    bool saw_end;   /* the stream's own end mark */
    bool saw_error; /* the node reported an error in the stream */
    struct buf collect;
    struct buf scratch;
    int result_code;
    bool result_from_node;

    /* What is large and need not be zero to begin with. */
    struct request request;       /* what the face read, where body_is_json */
    char id[EXCHANGE_ID_MAX + 1]; /* request id */
    char client[ADDR_TEXT_MAX];   /* the peer's address, for the log */
    char node_name[64];
    char key_name[64]; /* of the configured key that matched */
    char result_text[256];
};

LIST_DECLARE(exchange_list, struct exchange, link);

/* What the client called the model, and the JSON text of what is asked instead, where that is a
 * route; else empty. */
static inline struct slice exchange_asked_model(const struct exchange *x)
{
    return x->extra == NULL ? SLICE("") : buf_slice(&x->extra->asked_model);
}

static inline struct slice exchange_routed_model(const struct exchange *x)
{
    return x->extra == NULL ? SLICE("") : buf_slice(&x->extra->routed_model);
}

/* On which nodes the client wants it done; empty: it has not said. */
static inline struct slice exchange_wished_nodes(const struct exchange *x)
{
    return x->extra == NULL ? SLICE("") : buf_slice(&x->extra->wished_nodes);
}

/* The only node that it may go to; 0: any. */
static inline uint64_t exchange_pinned_node(const struct exchange *x)
{
    return x->extra == NULL ? 0 : x->extra->pinned_node_id;
}

/* Made where there is none yet; NULL: out of memory. */
struct exchange_extra *exchange_extra(struct exchange *x);

/* NULL: out of memory. Counted as running from here on. `peer` may be NULL. */
struct exchange *exchange_new(struct sub *sub, enum exchange_face face,
                              const struct exchange_sink *sink, void *owner);
/* Takes from body_memory what the body and its translation hold now, or gives back; false: there is
 * not so much, and the exchange is to be refused. */
bool exchange_account_body(struct exchange *x);
/* Runs it; the first step comes later in this turn. */
void exchange_start(struct exchange *x);
/* Whether its credential is good, or none is needed. */
bool exchange_authorized(struct exchange *x);
void exchange_refuse_unauthorized(struct exchange *x);
/* Ends it, started or not, with an error of the face's own reading; `ended` comes later in this
 * turn. */
void exchange_refuse(struct exchange *x, int code, const char *text) __attribute__((cold));
/* The client left or cancelled: the node connection closes at once, no callback comes any more.
 * Nulls the pointer. */
void exchange_cancel(struct exchange **x);
/* Ends it from outside the face (shutdown): like an error found inside. */
void exchange_abort(struct exchange *x, int code, const char *text);
/* Uploads: more body, its end. Before the call exists the face must not send (it waits for
 * `drained`). */
void exchange_body(struct exchange *x, struct slice bytes);
void exchange_body_end(struct exchange *x);
bool exchange_body_ready(const struct exchange *x);
bool exchange_body_over_high(const struct exchange *x);
/* Back-pressure: stops and restarts reading the node's answer; one that is not on its way yet waits
 * with that. */
void exchange_pause(struct exchange *x);
void exchange_resume(struct exchange *x);
/* Reading may have to stop soon: then only a few KiB are read ahead. */
void exchange_read_little(struct exchange *x, bool little);
/* HTTP: the status of the error it ended with; the node's, where that reported it. */
unsigned exchange_error_status(const struct exchange *x);
/* loop_clock_us when the bytes now handed to the sink were read from the node. */
uint64_t exchange_read_us(const struct exchange *x);

/* For answer.c. The node never saw the request: choose again, at most a few times; false: no more.
 */
bool exchange_try_again(struct exchange *x);
/* Whatever a node did for it is forgotten, and a node is chosen once more; it runs on later in this
 * turn. Only while the client has got nothing. */
void exchange_begin_anew(struct exchange *x);
/* A failure inside, and the good end. The exchange is over when these return (its memory lasts
 * until the end of the turn). */
void exchange_fail(struct exchange *x, int code, const char *text) __attribute__((cold));
void exchange_succeed(struct exchange *x);
/* One part for the client; counts, and notes the time of the first. */
void exchange_note_part(struct exchange *x, size_t bytes);
/* The same of what is no part: a comment in a stream. */
void exchange_note_bytes(struct exchange *x, size_t bytes);

#endif
