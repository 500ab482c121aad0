/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of a client (protocol.md sections 5 to 7 and 10). Sans-IO: told the time and
 * what the socket did; says what to write and when to connect. Embedded, one thread. core.c has its
 * life and time, send.c what leaves, receive.c what arrives.
 *
 * state      entered                              deadline            left by
 * START      init, close                          none                connect, request: CONNECT
 * CONNECT    connect, RETRY's end                 the caller's        connected: NEGOTIATE, or
 * READY in the base profile; lost NEGOTIATE  connected: HELLO is queued           negotiate_ms
 * WELCOME, or a server of the base profile: READY; lost READY      see there heartbeat, silence
 * lost, left after GOAWAY: RETRY with something to send, else FAILED RETRY      lost with attempts
 * left              back-off            its end: CONNECT FAILED     lost with none left, or for
 * good     none                connect, request: CONNECT close leads from any of them to START. */
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
#include "wire/chunk.h"
#include "wire/conn.h"
#include "wire/hello.h"
#include "wire/session.h"

enum {
    CLIENT_RECONNECTS = 5,
    CLIENT_NEGOTIATE_MS = 5 * 1000,
    CLIENT_RETURN_MS_MAX = 60 * 1000,              /* that a GOAWAY keeps us away; ours */
    CLIENT_REQUEST_BYTES_MAX = 100 * 1024 * 1024,  /* max_payload of a request */
    CLIENT_RESPONSE_BYTES_MAX = 256 * 1024 * 1024, /* of one part of a response */
    CLIENT_PIECES_BYTES_MAX = 512 * 1024 * 1024,   /* of unfinished ones, all together */
    CLIENT_OUT_BYTES = 64 * 1024, /* queued for the socket before a further piece is cut */
};

enum client_state {
    CLIENT_START,
    CLIENT_CONNECT,
    CLIENT_NEGOTIATE,
    CLIENT_READY,
    CLIENT_RETRY,
    CLIENT_FAILED
};

/* Zero means the default, but for `features`. */
struct client_config {
    unsigned retries;
    struct slice auth_json;   /* the key as a JSON string, or empty; outlives the core */
    uint64_t seed;            /* of the back-off and of the session tables */
    uint32_t features;        /* to be offered, bits of enum wire_feature; 0: no HELLO at all */
    uint32_t heartbeat_ms;    /* WIRE_HEARTBEAT_MS */
    uint32_t window_bytes;    /* WIRE_WINDOW_BYTES */
    uint32_t negotiate_ms;    /* CLIENT_NEGOTIATE_MS */
    uint32_t max_frame_bytes; /* WIRE_MAX_FRAME_BYTES */
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
    struct slice left; /* of the body, while it is being sent */
    bool streams;
    bool repeatable;
    bool sent;      /* its REQUEST, or a piece of it, is queued on this connection */
    bool cancelled; /* by the caller: never sent again */
    unsigned repeats;
    uint64_t seen_bytes; /* that the caller has, and no CREDIT was given for */
    int failure;         /* MCP_E...: ended on this side */
    struct list_link link;
    struct list_link send_link;
};

LIST_DECLARE(client_exchange_list, struct client_exchange, link);
LIST_DECLARE(client_send_list, struct client_exchange, send_link);

struct client_core {
    struct client_config config;
    enum client_state state;
    struct err err; /* the last failure */
    struct wire_conn conn;
    struct wire_session_table sessions;
    struct client_exchange_list exchanges; /* in the order they began */
    struct client_send_list sending;       /* those with a rest to be sent, in turn */
    size_t failures;                       /* exchanges with a failure nobody has seen */
    struct client_part_list kept;
    struct buf out; /* what the socket has not taken */

    struct wire_hello hello;
    struct wire_welcome agreed; /* READY; the base profile's values without a WELCOME */
    struct buf server_name;     /* WELCOME's, terminated */
    bool negotiated;            /* there was a WELCOME */
    bool going_away;            /* GOAWAY: nothing new on this connection */
    uint64_t return_ms;         /* when a new one makes sense */
    struct wire_chunks chunks;
    size_t pieces_bytes; /* held by `chunks` */
    struct buf whole;    /* the payload of the last event, where it came in pieces */

    uint64_t rng;
    unsigned attempts_left;
    unsigned attempt; /* exponent of the next back-off */
    uint64_t retry_ms;
    uint64_t connected_ms;
    uint64_t sent_ms;       /* the last frame was queued */
    uint64_t unanswered_ms; /* the first heartbeat since the last byte came; 0: none */
    uint64_t beats_sent;
    uint64_t beat_echoed; /* number of the last one that came back */
};

void client_core_init(struct client_core *c, const struct client_config *config);
void client_core_fini(struct client_core *c);

/* From START or FAILED to CONNECT, at once. `again`: the connection has stood before. */
void client_core_connect(struct client_core *c, bool again);
/* CONNECT: the socket stands. From READY on everything in flight is queued to be sent (again). */
void client_core_connected(struct client_core *c, uint64_t now_ms);
/* NEGOTIATE or READY: there is a connection to read from and to write to. */
bool client_core_is_up(const struct client_core *c);
/* CONNECT, NEGOTIATE or READY: the attempt failed, the connection broke. Only a code that is
 * retryable leads to RETRY. */
void client_core_lost(struct client_core *c, int code, const char *text, uint64_t now_ms);
/* Forgets every exchange and kept part. */
void client_core_close(struct client_core *c);

/* Starts an exchange; it leaves as soon as there is a connection (in FAILED: asks for one). 0, or
 * as mcp_client_request. */
int client_core_request(struct client_core *c, uint32_t session, struct slice json, uint64_t now_ms,
                        struct err *e);
/* Ends what runs on the session: by CANCEL, or here where nothing was sent yet. 0, MCP_EARGUMENT
 * (nothing runs there), MCP_EUNSUPPORTED_OP (not negotiated), MCP_ENOMEM. */
int client_core_cancel(struct client_core *c, uint32_t session, uint64_t now_ms, struct err *e);
size_t client_core_in_flight(const struct client_core *c);
/* READY: queues a heartbeat; its number, or 0 when out of memory. */
uint64_t client_core_heartbeat(struct client_core *c, uint64_t now_ms);

/* NEGOTIATE or READY: reads on. Above 0: that many bytes are used and `part` is filled. 0: all are
 * used. The state may be another one afterwards. */
ptrdiff_t client_core_recv(struct client_core *c, struct slice in, uint64_t now_ms,
                           struct mcp_part *part);
/* A part that needs no input: kept, or an exchange that failed here. False: none. */
bool client_core_part(struct client_core *c, struct mcp_part *part);
/* Keeps a part of client_core_recv for client_core_part; without memory its exchange fails instead.
 */
void client_core_keep(struct client_core *c, struct mcp_part *part, uint64_t now_ms);
/* The caller gets to see the part: the last one frees its session. */
void client_core_seen(struct client_core *c, const struct mcp_part *part, uint64_t now_ms);

/* The first `n` bytes of `out` were written; there may be more to write then. */
void client_core_wrote(struct client_core *c, size_t n, uint64_t now_ms);
/* When client_core_tick has something to do; 0: nothing runs. */
uint64_t client_core_deadline_ms(const struct client_core *c);
void client_core_tick(struct client_core *c, uint64_t now_ms);

#endif
