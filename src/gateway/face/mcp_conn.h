/* SPDX-License-Identifier: Apache-2.0 */
/* One MCP connection: its socket, its sessions, its timers (mcp_conn.c); what comes in
 * (mcp_input.c, mcp_hello.c); the exchanges on it (mcp_request.c, mcp_exchange.c); what goes out
 * (mcp_out.c); its end when the gateway ends (mcp_drain.c).
 * Belongs to the face.
 *
 * state     entered                                       left by
 * OPEN      accepted                                      drain, close
 * DRAINING  mcp_conn_drain with sessions in flight        their last end: closed
 * closed    error of the connection, FIN, RST, silence    gone at the end of the turn; the loop
 * writes out what is queued */
#ifndef MCP_GATEWAY_FACE_MCP_CONN_H
#define MCP_GATEWAY_FACE_MCP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "gateway/face/mcp_out.h"
#include "reactor/addr.h"
#include "reactor/loop.h"
#include "reactor/sock.h"
#include "wire/chunk.h"
#include "wire/conn.h"
#include "wire/hello.h"
#include "wire/session.h"

struct sub;
struct mcp_conn;

enum { MCP_CONN_MAGIC = 0x6d637063 };

/* What is in flight on a session of the connection.
 *
 * state     exchange  entered                           left by
 * ARRIVING  NULL      its first CHUNK                   REQUEST, refused, dropped
 * RUNNING   set       REQUEST                           the exchange's end, CANCEL
 * LEAVING   NULL      output waits when it has ended    the last of it went to the socket */
enum mcp_exchange_state { MCP_ARRIVING, MCP_RUNNING, MCP_LEAVING };

struct mcp_exchange {
    struct list_link link;
    enum mcp_exchange_state state;
    struct mcp_conn *conn;
    struct wire_session *session;
    struct exchange *exchange;
    struct mcp_lane lane;
    bool acked;
    bool answered;      /* a part of its answer went: no ACK may follow */
    bool was_stopped;   /* as the client did not read */
    struct timer stall; /* without credit */
};

LIST_DECLARE(mcp_exchange_list, struct mcp_exchange, link);

/* What only a connection has that negotiated. */
struct mcp_terms {
    uint32_t window_bytes;
    struct buf key; /* of HELLO; for requests without one */
    struct wire_chunks chunks;
    size_t unshared_bytes;    /* of unfinished requests, from before it was authenticated */
    struct timer chunk_limit; /* wire_chunks_deadline_ms */
};

struct mcp_conn {
    uint32_t magic;
    struct list_link link;
    struct sub *sub;
    void (*closed)(void *owner, struct mcp_conn *c);
    void *owner;
    struct sock *sock;       /* NULL: closed */
    uint64_t number;         /* in WELCOME and the log */
    char *client;            /* its address */
    struct buf lifted_by;    /* the key of a REQUEST that lifted the limits; empty: another did */
    struct mcp_terms *terms; /* NULL: the base profile */
    struct wire_conn wire;
    struct wire_session_table sessions;
    struct mcp_exchange_list running;
    struct mcp_out out;
    uint32_t features; /* bits of enum wire_feature */
    bool draining;
    bool over_high;      /* exchanges are paused until output drains */
    bool reading_paused; /* too many unsent control frames */
    size_t held_bytes;   /* of an unfinished frame, taken from the memory for request bodies */
    uint64_t heard_ms;   /* last byte from the client */
    uint64_t silence_ms; /* without one it is closed */
    uint64_t unsent_us;  /* when the oldest bytes not yet written were read from a node; 0: none */
    int64_t stall_delivered; /* sock_delivered when the stall timer was armed */
    uint64_t expired_counted;
    uint64_t evicted_counted;
    struct timer frame_limit; /* wire_conn_deadline_ms */
    struct timer silence;
    struct timer stall;
    struct timer expiry;
};

LIST_DECLARE(mcp_conn_list, struct mcp_conn, link);

/* --- mcp_conn.c */

/* Takes the socket. NULL: out of memory, closed. `closed` is called once, then the connection
 * is gone. */
struct mcp_conn *mcp_conn_new(struct sub *sub, struct sock *sock, uint64_t number,
                              const struct addr *peer,
                              void (*closed)(void *owner, struct mcp_conn *c), void *owner);
/* Section 5's close: exchanges are cancelled without a part, what is queued is still written. */
void mcp_conn_close(struct mcp_conn *c);
/* Why it is closed, in the log. */
void mcp_conn_log_close(const struct mcp_conn *c, const char *reason, const char *text);

static inline bool mcp_conn_has(const struct mcp_conn *c, enum wire_feature feature)
{
    return (c->features & (uint32_t)feature) != 0;
}

/* A frame about the connection: ahead of data. */
void mcp_conn_control(struct mcp_conn *c, enum wire_opcode opcode, uint32_t session,
                      struct slice payload);
/* An error about the session that ends no exchange; it goes where section 4 says. */
void mcp_conn_stray_error(struct mcp_conn *c, uint32_t about, int code, struct slice text);
/* After output, credit and ends of exchanges: what they change for the connection, which may close
 * by that. False: it has. */
bool mcp_conn_settle(struct mcp_conn *c);
/* What came of a part was read then. */
void mcp_conn_note_read(struct mcp_conn *c, uint64_t read_us);
void mcp_conn_arm_limits(struct mcp_conn *c);
void mcp_conn_arm_silence(struct mcp_conn *c);
/* A REQUEST's key was good, which is moved; NULL: that of HELLO, or none is needed. */
void mcp_conn_authenticated(struct mcp_conn *c, struct buf *key);
/* Other keys are configured: whether what was good still is. */
void mcp_conn_judge_again(struct mcp_conn *c);

/* --- mcp_drain.c */

/* As mcp_conn_close, saying why where that was negotiated. */
void mcp_conn_go_away(struct mcp_conn *c, enum wire_goaway_reason reason);
void mcp_conn_drain(struct mcp_conn *c);
/* Ends as shutting_down the answers that are over but for parts without credit. */
void mcp_conn_drain_over(struct mcp_conn *c);
/* How many of those there are. */
size_t mcp_conn_held(const struct mcp_conn *c);

/* --- mcp_input.c */

void mcp_input_init(struct mcp_conn *c);
/* Gives back what is held of shared memory. */
void mcp_input_fini(struct mcp_conn *c);
/* Makes room for what is to be negotiated. False: out of memory. */
bool mcp_input_negotiates(struct mcp_conn *c);
/* An unfinished REQUEST is answered so, the rest of it discarded. */
void mcp_input_refuse_arriving(struct mcp_conn *c, uint32_t session, int code);
/* Bytes came. */
void mcp_input_data(struct mcp_conn *c, struct slice in);
/* The time of a frame is over. */
void mcp_input_frame_limit(struct mcp_conn *c);

/* --- mcp_hello.c */

/* False: it cannot be met, the connection is gone. */
bool mcp_hello(struct mcp_conn *c, uint32_t session, struct slice payload);

/* --- mcp_request.c */

struct exchange;
struct request;

/* Everything the payload says, which is in the exchange. 0, or the error that refuses it. */
int mcp_request_read(const struct mcp_conn *c, const struct wire_session *session,
                     struct exchange *x, struct err *e);
bool mcp_request_gives_options(const struct request *r);

/* --- mcp_exchange.c */

/* A REQUEST frame came alone; its payload is the connection's last one. */
void mcp_exchange_begin(struct mcp_conn *c, uint32_t session);
/* The first CHUNK of one occupies the session. MCP_OK, or what refuses it. */
int mcp_exchange_arrive(struct mcp_conn *c, uint32_t session);
/* It is whole; moves `body`. */
void mcp_exchange_arrived(struct mcp_conn *c, uint32_t session, struct buf *body);
/* It will not be: the session is free. */
void mcp_exchange_not_arriving(struct mcp_conn *c, uint32_t session);
void mcp_exchange_on_cancel(struct mcp_conn *c, uint32_t session);
void mcp_exchange_on_credit(struct mcp_conn *c, uint32_t session, uint32_t bytes);
/* Its output moved or may not move: pauses or resumes reading from the node. */
void mcp_exchange_update(struct mcp_exchange *m);
/* Everything of its lane has gone. */
void mcp_exchange_emptied(struct mcp_exchange *m);
/* Ends with that error, and without what was not sent. */
void mcp_exchange_end(struct mcp_exchange *m, int code, const char *text);
/* The node need not go on: for a connection that closes. */
void mcp_exchange_stop(struct mcp_exchange *m);
/* The session is idle again; nothing more is said. */
void mcp_exchange_release(struct mcp_exchange *m);

#endif
