/* SPDX-License-Identifier: Apache-2.0 */
/* One MCP connection: its socket, its frames, its sessions, its timers (mcp_conn.c); and the
 * exchanges on it (mcp_exchange.c). Belongs to the face.
 *
 * state     entered                                       left by
 * OPEN      accepted                                      drain, close
 * DRAINING  mcp_conn_drain with exchanges in flight        their last end: closed
 * closed    error of the connection, FIN, RST, silence    gone at the end of the turn; the loop
 * writes out what is queued */
#ifndef MCP_GATEWAY_FACE_MCP_CONN_H
#define MCP_GATEWAY_FACE_MCP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "reactor/addr.h"
#include "reactor/loop.h"
#include "reactor/sock.h"
#include "wire/conn.h"
#include "wire/session.h"

struct sub;
struct mcp_conn;

enum { MCP_CONN_MAGIC = 0x6d637063 };

/* One exchange in flight on a session of the connection. */
struct mcp_exchange {
    struct list_link link;
    struct mcp_conn *conn;
    struct wire_session *session;
    struct exchange *exchange;
};

LIST_DECLARE(mcp_exchange_list, struct mcp_exchange, link);

struct mcp_conn {
    uint32_t magic;
    struct list_link link;
    struct sub *sub;
    void (*closed)(void *owner, struct mcp_conn *c);
    void *owner;
    struct sock *sock; /* NULL: closed */
    char client[ADDR_TEXT_MAX];
    struct wire_conn wire;
    struct wire_session_table sessions;
    struct mcp_exchange_list running;
    bool draining;
    bool over_high;      /* exchanges are paused until output drains */
    bool reading_paused; /* too many unsent control frames */
    size_t control_bytes;
    size_t held_bytes;  /* of an unfinished frame, taken from the memory for request bodies */
    uint64_t heard_ms;  /* last byte from the client */
    uint64_t unsent_us; /* when the oldest bytes not yet written were read from a node; 0: none */
    int64_t stall_delivered; /* sock_delivered when the stall timer was armed */
    uint64_t expired_counted;
    uint64_t evicted_counted;
    struct timer frame_limit; /* wire_conn_deadline_ms */
    struct timer silence;
    struct timer stall;
    struct timer expiry;
};

LIST_DECLARE(mcp_conn_list, struct mcp_conn, link);

/* Takes the descriptor. NULL: out of memory, closed. `closed` is called once, then the connection
 * is gone. */
struct mcp_conn *mcp_conn_new(struct sub *sub, int fd, const struct addr *peer,
                              void (*closed)(void *owner, struct mcp_conn *c), void *owner);
/* Section 5's close: exchanges are cancelled without a part, what is queued is still written. */
void mcp_conn_close(struct mcp_conn *c);
void mcp_conn_drain(struct mcp_conn *c);

/* One RESPONSE frame of an exchange. */
void mcp_conn_part(struct mcp_conn *c, uint32_t session, struct slice payload, uint64_t read_us);
/* An error that ends the exchange on `session`, or one about it that does not (then it goes where
 * section 4 says). */
void mcp_conn_error(struct mcp_conn *c, uint32_t session, int code, struct slice text);
void mcp_conn_error_body(struct mcp_conn *c, uint32_t session, struct slice body);
void mcp_conn_stray_error(struct mcp_conn *c, uint32_t about, int code, struct slice text);
/* An exchange ended: a draining connection may close now. */
void mcp_conn_exchange_ended(struct mcp_conn *c);

/* A REQUEST frame came (mcp_exchange.c). */
void mcp_exchange_begin(struct mcp_conn *c, uint32_t session, struct slice payload);
/* Cancels it without a word; the session is idle again. */
void mcp_exchange_cancel(struct mcp_exchange *m);

#endif
