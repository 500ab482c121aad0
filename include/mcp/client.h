/* SPDX-License-Identifier: Apache-2.0 */
/* libmcp: an MCP 1 client with blocking calls, many sessions on one connection.
 *
 * Threads: a client or an options object is used by one thread at a time; different ones are
 * independent. Only mcp_client_interrupt may be called at any time. No callbacks, no global state,
 * no signal; nothing here aborts, prints or exits. Errors: 0 or a negative code of mcp/error.h.
 * Every call on a client may return MCP_ENOMEM, and MCP_EARGUMENT for a wrong argument; what else
 * it may return stands with it. mcp_client_error has the words.
 *
 * A connection that breaks is made anew inside the next mcp_client_receive or mcp_client_heartbeat:
 * after 2^i s + U(0,1) s, at most 5 times. A request is then sent again by itself, at most
 * `retries` times, if no part of its answer has come, its operation may be repeated (push, create,
 * copy, delete may not) and it needs nothing its session knew (own model, no "continue"). Any other
 * exchange ends with an error part. A server that says GOAWAY gets no new requests there: they wait
 * for the answers that still come, and leave on a new connection.
 *
 * Only these calls read and write the socket. A client that waits for answers and makes none of
 * them for three times heartbeat_ms is closed by the server, as one that is gone. */
#ifndef MCP_CLIENT_H
#define MCP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcp/error.h"

/* Settings. The strings given are copied; a client copies all of it when it is made. */
struct mcp_options;

/* NULL: out of memory. */
struct mcp_options *mcp_options_new(void);
/* Nulls the pointer; NULL inside is fine. */
void mcp_options_free(struct mcp_options **options);
/* "host:port", "[v6]:port", "host" (port 8080) or "unix:PATH". Default: 127.0.0.1:8080.
 * MCP_EARGUMENT, MCP_ENOMEM: the old value stays. */
int mcp_options_set_address(struct mcp_options *options, const char *address);
/* For one attempt to connect, all addresses of the name together (the look-up itself cannot be
 * timed); and as long again for the answer to HELLO. Default: 5000. MCP_EARGUMENT: 0. */
int mcp_options_set_timeout_ms(struct mcp_options *options, unsigned timeout_ms);
/* How often connecting and sending are tried again; 0: nothing is repeated, and a lost connection
 * is tried once, when there is something to send. Default: 3. MCP_EARGUMENT: over 30. */
int mcp_options_set_retries(struct mcp_options *options, unsigned retries);
/* The key put into HELLO, and into each request that brings no "mcp":{"auth"} of its own; NULL:
 * none (default). MCP_ENOMEM, or MCP_EARGUMENT where it is not UTF-8. */
int mcp_options_set_auth(struct mcp_options *options, const char *key);

/* What a connection may do beyond the base profile (protocol, section 6), as bits. */
enum mcp_feature {
    MCP_FEATURE_ACK = 1 << 1,    /* mcp_client_receive returns ACKs too: see mcp_part_ack */
    MCP_FEATURE_CANCEL = 1 << 2, /* mcp_client_cancel */
    MCP_FEATURE_CREDIT = 1 << 3, /* of each answer at most the window waits here to be received */
    MCP_FEATURE_CRC32C = 1 << 4, /* a damaged frame is found out */
    MCP_FEATURE_GOAWAY = 1 << 5, /* the server says when it is about to end */
    MCP_FEATURE_CHUNK = 1 << 6,  /* requests to 100 MiB, parts to 256 MiB; large ones delay none */
    MCP_FEATURES_DEFAULT = MCP_FEATURE_CANCEL | MCP_FEATURE_CREDIT | MCP_FEATURE_CRC32C |
                           MCP_FEATURE_GOAWAY | MCP_FEATURE_CHUNK,
};

/* What to offer the server, bits of enum mcp_feature; it takes those it knows. 0: nothing is
 * offered, not even HELLO: the base profile, which a server that does not know HELLO gets anyway.
 * Default: MCP_FEATURES_DEFAULT. MCP_EARGUMENT: another bit. */
int mcp_options_set_features(struct mcp_options *options, unsigned features);
/* Bytes of each answer that may be under way; the server may make it less. Default: 262144.
 * MCP_EARGUMENT: 0, over 2^31-1. */
int mcp_options_set_window_bytes(struct mcp_options *options, uint32_t window_bytes);
/* A HEARTBEAT leaves after so long without sending; the server may make it less. Default: 30000.
 * MCP_EARGUMENT: 0. */
int mcp_options_set_heartbeat_ms(struct mcp_options *options, uint32_t heartbeat_ms);

struct mcp_client;

/* A client, not yet connected; NULL: out of memory or descriptors. `options` may be NULL: the
 * defaults. */
struct mcp_client *mcp_client_new(const struct mcp_options *options);
/* Closes first. Nulls the pointer; NULL inside is fine. */
void mcp_client_free(struct mcp_client **client);

/* Connects and negotiates, with retries; returns when the connection stands. On a connected client:
 * nothing. MCP_ECONNECT, MCP_ETIMEOUT, MCP_ECLOSED, MCP_EPROTOCOL, MCP_ECANCELLED (interrupted), or
 * the server's refusal: MCP_EUNAUTHORIZED (a wrong key), MCP_EUNSUPPORTED_VERSION,
 * MCP_EBAD_REQUEST. */
int mcp_client_connect(struct mcp_client *client);

/* What was agreed on with the server. */
struct mcp_agreement {
    unsigned features; /* bits of enum mcp_feature */
    const char *codec; /* "json"; static */
    uint32_t heartbeat_ms;
    uint32_t max_frame_bytes; /* that the server accepts */
    uint32_t window_bytes;
    uint32_t max_sessions; /* in flight at once */
    const char *server;    /* what it calls itself, or "" */
    uint64_t connection;   /* its name for this connection, as in its log; 0: it gives none */
};

/* False: not connected, or the base profile. The texts are valid until the next call that gets the
 * client, but for the const ones. */
bool mcp_client_agreement(const struct mcp_client *client, struct mcp_agreement *agreement);

/* Drops the connection and every exchange without a word (the server cancels them); sessions are
 * forgotten. The client may connect again. */
void mcp_client_close(struct mcp_client *client);

/* Starts an exchange: `json` is a request object (protocol, section 3), copied. Does not wait: what
 * the socket does not take at once leaves during mcp_client_receive. `session` > 0, chosen by the
 * caller. MCP_ECLOSED: never connected, or closed by mcp_client_close. MCP_ESESSION_BUSY: its
 * exchange runs. MCP_EQUEUE_FULL: as many as the server wants are in flight. MCP_EBAD_REQUEST,
 * MCP_EUNSUPPORTED_OP, MCP_ETOO_LARGE (over what the server accepts; with MCP_FEATURE_CHUNK over
 * 100 MiB): nothing was sent. */
int mcp_client_request(struct mcp_client *client, uint32_t session, const void *json, size_t len);
/* Asks for the end of what runs on `session`. It still ends with its last part, which is to be
 * received: an error part MCP_ECANCELLED, or its own where that was on its way already.
 * MCP_EARGUMENT: nothing runs there. MCP_EUNSUPPORTED_OP: the server does not know
 * MCP_FEATURE_CANCEL; only mcp_client_close ends it. */
int mcp_client_cancel(struct mcp_client *client, uint32_t session);
/* Exchanges whose last part has not been received. */
size_t mcp_client_in_flight(const struct mcp_client *client);

/* One part of an answer (or an ACK), in the order of arrival over all sessions. It belongs to the
 * client and is valid until the next call that gets the client, but for the const ones. */
struct mcp_part;

/* Waits up to `timeout_ms` (-1: for ever, 0: not at all) for the next part. MCP_ETIMEOUT: none yet,
 * call again. MCP_ECANCELLED: interrupted, call again. MCP_EARGUMENT: no exchange in flight. What
 * ends an exchange, a lost connection too, comes as an error part, not as a code. */
int mcp_client_receive(struct mcp_client *client, int timeout_ms, const struct mcp_part **part);

/* 0: an error that concerns no running exchange. It is never the last part of one. */
uint32_t mcp_part_session(const struct mcp_part *part);
/* The JSON object as it came; not terminated. For an error found here, one of the same shape. */
const char *mcp_part_data(const struct mcp_part *part, size_t *len);
/* The exchange is over, the session is free. */
bool mcp_part_last(const struct mcp_part *part);
/* 0, or the code of an error part: the server's, or one found here: MCP_ECLOSED, MCP_ECONNECT,
 * MCP_ETIMEOUT, MCP_EPROTOCOL, MCP_ETOO_LARGE, MCP_ECANCELLED, MCP_ENOMEM. */
int mcp_part_error(const struct mcp_part *part);
/* The error's text, terminated; "" where there is none. */
const char *mcp_part_error_text(const struct mcp_part *part);
/* When the server says a retry makes sense; 0: it does not say. */
uint64_t mcp_part_retry_after_ms(const struct mcp_part *part);

/* Where a request stands, with MCP_FEATURE_ACK: once it was admitted, and when that changes, before
 * the first part of its answer. */
struct mcp_ack {
    bool running;      /* else it is queued */
    uint64_t position; /* in the queue, from 1; this and the next two: MCP_ACK_UNKNOWN */
    uint64_t depth;    /* of the queue */
    uint64_t eta_ms;   /* until it runs, estimated */
    const char *node;  /* the one that runs it, or "" */
    const char *model; /* that is asked, where the request's name stands for several; or "" */
    uint32_t attempt;  /* on a node, from 1; 0: the server does not say */
};
#define MCP_ACK_UNKNOWN UINT64_MAX

/* NULL: a part of an answer. Else the part is no part of it, and never the last. Valid as long as
 * the part. */
const struct mcp_ack *mcp_part_ack(const struct mcp_part *part);

/* Sends a HEARTBEAT and waits for its echo; parts that arrive meanwhile are kept for
 * mcp_client_receive. The round trip goes to `round_trip_us` (may be NULL). MCP_ETIMEOUT,
 * MCP_ECANCELLED, MCP_ECLOSED, MCP_ECONNECT. */
int mcp_client_heartbeat(struct mcp_client *client, int timeout_ms, uint64_t *round_trip_us);

/* Makes the call that waits now, or else the next one that would, return MCP_ECANCELLED. From any
 * thread and from a signal handler. */
void mcp_client_interrupt(struct mcp_client *client);

/* The last failure in words, an error part's too; "" when there was none. Valid until the next call
 * on the client. */
const char *mcp_client_error(const struct mcp_client *client);
/* The address the client talks to, as it was set. */
const char *mcp_client_address(const struct mcp_client *client);

#endif
