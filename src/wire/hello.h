/* SPDX-License-Identifier: Apache-2.0 */
/* What HELLO, WELCOME, ACK and GOAWAY say (protocol.md sections 6 and 7): read, written, and what
 * both sides then agree on. Pure, any thread. Members that are unknown are ignored, those that are
 * absent or null have their defaults, of two with one name the last one counts. Slices are borrowed
 * of the payload that was read. */
#ifndef MCP_WIRE_HELLO_H
#define MCP_WIRE_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "wire/frame.h"

enum {
    WIRE_HEARTBEAT_MS = 30 * 1000,
    WIRE_HEARTBEAT_LEAST_MS = 1000, /* that a client is given, unless the server's own is shorter */
    WIRE_MISSED_HEARTBEATS = 3,     /* then either side closes */
    WIRE_HELLO_FRAME_BYTES_MIN = 4 * 1024,
    WIRE_WINDOW_BYTES = 256 * 1024,
    WIRE_WINDOW_BYTES_MAX = 0x7fffffff, /* of a balance of credit, too */
};

/* Their names are in hello.c's table. */
enum wire_codec { WIRE_CODEC_JSON, WIRE_CODEC_COUNT };

/* What a client offers. */
struct wire_hello {
    bool version_1;                           /* among those it speaks */
    enum wire_codec codecs[WIRE_CODEC_COUNT]; /* those known here, each once, best first */
    size_t codec_count;
    bool only_json;    /* exactly ["json"] */
    uint32_t features; /* bits of enum wire_feature, those known here; WIRE_SINCE_BASE always */
    uint32_t heartbeat_ms;
    uint32_t max_frame_bytes; /* that it accepts */
    uint32_t window_bytes;
    struct slice auth;   /* JSON text of a string, with its quotes; NULL: none */
    struct slice client; /* likewise: what it calls itself */
};

/* What a server has. */
struct wire_offer {
    uint32_t codecs;   /* bits: 1 << enum wire_codec */
    uint32_t features; /* bits of enum wire_feature */
    uint32_t heartbeat_ms;
    uint32_t max_frame_bytes; /* that it accepts */
    uint32_t window_bytes;
    uint32_t max_sessions;
    const char *server; /* what it calls itself */
};

/* What was agreed on. */
struct wire_welcome {
    enum wire_codec codec;
    uint32_t features; /* bits of enum wire_feature, WIRE_SINCE_BASE among them */
    uint32_t heartbeat_ms;
    uint32_t max_frame_bytes; /* that the server accepts; the client's is in HELLO */
    uint32_t window_bytes;
    uint32_t max_sessions;
    struct slice server; /* written: text; read: JSON text of a string, or NULL */
    uint64_t connection; /* the server's name for the connection, in its log; 0: it gives none */
};

/* --- HELLO and WELCOME ---------------------------------------------------------------------------
 */

/* The defaults of absent members. */
void wire_hello_init(struct wire_hello *h);
/* 0, or MCP_EBAD_REQUEST with what is wrong and what was expected. */
int wire_hello_read(struct wire_hello *h, uint32_t session, struct slice payload, struct err *e);
bool wire_hello_append(struct buf *out, const struct wire_hello *h);

/* The server's answer but for `connection`. 0, MCP_EUNSUPPORTED_VERSION, MCP_EBAD_REQUEST. */
int wire_negotiate(const struct wire_hello *h, const struct wire_offer *offer,
                   struct wire_welcome *w, struct err *e);
/* Directly behind this HELLO, before WELCOME, frames may be sent. */
bool wire_hello_pipelines(const struct wire_hello *h);

bool wire_welcome_append(struct buf *out, const struct wire_welcome *w);
/* {"error","code"}: the answer to a HELLO that cannot be met. */
bool wire_welcome_append_refusal(struct buf *out, int code, struct slice text);
/* The answer to `sent`. 0; the code of a refusal with its text; MCP_EPROTOCOL: not an answer to
 * this. */
int wire_welcome_read(struct wire_welcome *w, const struct wire_hello *sent, struct slice payload,
                      struct err *e);

/* The name of a feature, one bit of enum wire_feature; "" for any other value. */
const char *wire_feature_name(uint32_t bit);
const char *wire_codec_name(enum wire_codec codec);

/* --- ACK -----------------------------------------------------------------------------------------
 */

#define WIRE_ACK_UNKNOWN UINT64_MAX

struct wire_ack {
    bool running;      /* else queued */
    uint64_t position; /* in the queue; this and the next two: WIRE_ACK_UNKNOWN is left out */
    uint64_t depth;    /* of the queue */
    uint64_t eta_ms;
    struct slice node;  /* this and the next: empty, left out */
    struct slice model; /* that is asked, where the client's name stands for several */
    uint32_t attempt;   /* 0: left out */
};

bool wire_ack_append(struct buf *out, const struct wire_ack *ack);
/* Texts go to `texts`, which is emptied first, each with a NUL behind it. 0, MCP_EPROTOCOL,
 * MCP_ENOMEM. */
int wire_ack_read(struct wire_ack *ack, struct slice payload, struct buf *texts, struct err *e);

/* --- GOAWAY --------------------------------------------------------------------------------------
 */

enum wire_goaway_reason {
    WIRE_GOAWAY_DRAIN,
    WIRE_GOAWAY_IDLE,
    WIRE_GOAWAY_CORRUPT,
    WIRE_GOAWAY_TOO_MANY_ERRORS,
    WIRE_GOAWAY_OTHER, /* read only: a reason of a later version */
};

struct wire_goaway {
    enum wire_goaway_reason reason;
    uint64_t retry_after_ms;
};

bool wire_goaway_append(struct buf *out, const struct wire_goaway *goaway);
/* 0, MCP_EPROTOCOL. */
int wire_goaway_read(struct wire_goaway *goaway, struct slice payload, struct err *e);
const char *wire_goaway_name(enum wire_goaway_reason reason);

#endif
