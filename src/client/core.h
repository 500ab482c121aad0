/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of a client (protocol.md section 10), base profile: no negotiation, no ack.
 * Sans-IO: told the time and what the socket did; says what to write and when to connect. Embedded,
 * one thread.
 *
 * state    entered                          deadline              left by
 * START    init, close                      none                  connect, request: CONNECT
 * CONNECT  connect, RETRY's end             the caller's          connected: READY; lost
 * READY    connected                        heartbeat, silence    lost: RETRY with something to
 * send again, else FAILED RETRY    lost with attempts left          back-off              its end:
 * CONNECT FAILED   lost with none left, or for good none                  connect, request: CONNECT
 * close leads from any of them to START. */
#ifndef MCP_CLIENT_CORE_H
#define MCP_CLIENT_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "client/part.h"
#include "wire/conn.h"
#include "wire/session.h"

enum {
    CLIENT_RECONNECTS = 5,
    CLIENT_HEARTBEAT_MS = 30 * 1000,
    CLIENT_SILENCE_MS = 90 * 1000, /* three missed heartbeats */
};

enum client_state { CLIENT_START, CLIENT_CONNECT, CLIENT_READY, CLIENT_RETRY, CLIENT_FAILED };

struct client_config {
    unsigned retries;
    struct slice auth_json; /* the key as a JSON string, or empty; outlives the core */
    uint64_t seed;          /* of the back-off and of the session table */
};

enum client_progress {
    CLIENT_WAITING,   /* no part has come */
    CLIENT_ANSWERING, /* some have */
    CLIENT_ENDED      /* the last one has, or `failure` stands for it; the caller has not seen it */
};

struct client_exchange {
    struct wire_session *session;
    enum client_progress progress;
    struct buf body;
    bool streams;
    bool repeatable;
    unsigned repeats;
    int failure; /* MCP_E...: ended on this side */
    struct list_link link;
};

LIST_DECLARE(client_exchange_list, struct client_exchange, link);

struct client_core {
    struct client_config config;
    enum client_state state;
    struct err err; /* the last failure */
    struct wire_conn conn;
    struct wire_session_table sessions;
    struct client_exchange_list exchanges; /* in the order they began */
    size_t failures;                       /* exchanges with a failure nobody has seen */
    struct client_part_list kept;
    struct buf out; /* what the socket has not taken */
    uint64_t rng;
    unsigned attempts_left;
    unsigned attempt; /* exponent of the next back-off */
    uint64_t retry_ms;
    uint64_t sent_ms;       /* the last frame was queued */
    uint64_t unanswered_ms; /* the first heartbeat since the last byte came; 0: none */
    uint64_t beats_sent;
    uint64_t beat_echoed; /* number of the last one that came back */
};

void client_core_init(struct client_core *c, const struct client_config *config);
void client_core_fini(struct client_core *c);

/* From START or FAILED to CONNECT, at once. `again`: the connection has stood before. */
void client_core_connect(struct client_core *c, bool again);
/* CONNECT: the socket stands. Everything in flight is queued to be sent (again). */
void client_core_connected(struct client_core *c, uint64_t now_ms);
/* CONNECT or READY: the attempt failed, the connection broke. Only a code that is retryable leads
 * to RETRY. */
void client_core_lost(struct client_core *c, int code, const char *text, uint64_t now_ms);
/* Forgets every exchange and kept part. */
void client_core_close(struct client_core *c);

/* Starts an exchange; it leaves as soon as there is a connection (in FAILED: asks for one). 0, or
 * as mcp_client_request. */
int client_core_request(struct client_core *c, uint32_t session, struct slice json, uint64_t now_ms,
                        struct err *e);
size_t client_core_in_flight(const struct client_core *c);
/* READY: queues a heartbeat; its number, or 0 when out of memory. */
uint64_t client_core_heartbeat(struct client_core *c, uint64_t now_ms);

/* READY: reads on. Above 0: that many bytes are used and `part` is filled. 0: all are used. The
 * state may be another one afterwards. */
ptrdiff_t client_core_recv(struct client_core *c, struct slice in, uint64_t now_ms,
                           struct mcp_part *part);
/* A part that needs no input: kept, or an exchange that failed here. False: none. */
bool client_core_part(struct client_core *c, struct mcp_part *part);
/* Keeps a part of client_core_recv for client_core_part; without memory its exchange fails instead.
 */
void client_core_keep(struct client_core *c, struct mcp_part *part, uint64_t now_ms);
/* The caller gets to see the part: the last one frees its session. */
void client_core_seen(struct client_core *c, const struct mcp_part *part, uint64_t now_ms);

/* The first `n` bytes of `out` were written. */
void client_core_wrote(struct client_core *c, size_t n);
/* When client_core_tick has something to do; 0: nothing runs. */
uint64_t client_core_deadline_ms(const struct client_core *c);
void client_core_tick(struct client_core *c, uint64_t now_ms);

#endif
