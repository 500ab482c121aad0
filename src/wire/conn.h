/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of an MCP connection, read: bytes in, events out (protocol.md sections 1, 5, 9).
 * Sans-IO: the caller brings bytes and the time and acts on events; embedded, one thread. What
 * arrives in one piece is not copied; what arrives in several is collected in memory that grows
 * with what has arrived.
 *
 * state    entered               deadline                            left by
 * FIRST    init                  none                                its first byte
 * HEADER   a frame is over       10 s after the header's first byte  its tenth byte
 * PAYLOAD  a good header         10 s without a byte, or a window    its last byte: event, HEADER
 * SKIP     a refused header      of 30 s under 64 KiB/s              its last byte: HEADER
 * CLOSED   an event that closes  none                                never; input is swallowed
 *
 * The base profile is spoken until wire_conn_negotiated. With crc32c the CRC of each frame is
 * checked and taken off, before anything behind the length is judged. */
#ifndef MCP_WIRE_CONN_H
#define MCP_WIRE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/slice.h"
#include "wire/crc32c.h"
#include "wire/frame.h"

enum {
    WIRE_MAX_FRAME_BYTES = 16 * 1024 * 1024,
    WIRE_UNAUTHENTICATED_FRAME_BYTES = 64 * 1024,
    WIRE_REFUSALS_MAX = 16, /* one more within the span closes */
    WIRE_REFUSALS_SPAN_MS = 60 * 1000,
    WIRE_HEADER_MS = 10 * 1000, /* from a header's first byte to its last */
    WIRE_STALL_MS = 10 * 1000,  /* between two bytes of a frame */
    WIRE_RATE_SPAN_MS = 30 * 1000,
    WIRE_RATE_BYTES_PER_S = 64 * 1024, /* least average over that span */
    WIRE_TEXT_MAX = 96,
};

enum wire_role { WIRE_SERVER, WIRE_CLIENT }; /* who reads */

struct wire_config {
    enum wire_role role;
    uint32_t max_frame_bytes; /* longest payload accepted */
    uint32_t
        max_frame_unauthenticated_bytes; /* until it is authenticated; 0: it is from the start */
};

enum wire_event_kind {
    WIRE_EVENT_NONE,
    WIRE_EVENT_REQUEST,   /* server: session, payload */
    WIRE_EVENT_RESPONSE,  /* client: session, payload */
    WIRE_EVENT_HEARTBEAT, /* session, payload: to be echoed (server), an echo (client) */
    WIRE_EVENT_HELLO,     /* server: session, payload; wire_conn_negotiated or a close follows */
    WIRE_EVENT_WELCOME,   /* client: session, payload; likewise */
    WIRE_EVENT_ACK,       /* client: session, payload */
    WIRE_EVENT_CREDIT,    /* server: session, credit_bytes */
    WIRE_EVENT_CANCEL,    /* server: session */
    WIRE_EVENT_GOAWAY,    /* client: session, payload */
    WIRE_EVENT_CHUNK,     /* session, payload: a piece, not the last */
    WIRE_EVENT_REFUSE,    /* session, code, text, close: the answer to send (server) */
    WIRE_EVENT_CORRUPT,   /* a CRC is wrong, or there is none; closes */
    WIRE_EVENT_HTTP,      /* the peer speaks HTTP; closes */
    WIRE_EVENT_TLS,       /* the peer speaks TLS; closes */
    WIRE_EVENT_CLOSE,     /* too slow: nothing is sent, text says why; closes */
};

struct wire_event {
    enum wire_event_kind kind;
    uint32_t session; /* of REFUSE: what the error is about; see wire/session.h for where it goes */
    struct slice payload; /* borrowed: of the input, or of the conn until its next call */
    uint32_t credit_bytes;
    int code;                 /* MCP_E... of REFUSE */
    bool close;               /* no further frame is handled */
    bool too_many;            /* REFUSE closes as one too many in a minute */
    bool lost;                /* REFUSE drops a frame that was in order, for memory */
    char text[WIRE_TEXT_MAX]; /* of REFUSE, CORRUPT and CLOSE */
};

enum wire_state {
    WIRE_STATE_FIRST,
    WIRE_STATE_HEADER,
    WIRE_STATE_PAYLOAD,
    WIRE_STATE_SKIP,
    WIRE_STATE_CLOSED
};

struct wire_conn {
    struct wire_config config;
    uint32_t features; /* bits of enum wire_feature */
    bool authenticated;
    bool paused;
    bool refused; /* SKIP: the refusal waits for the frame's CRC */
    enum wire_state state;
    uint8_t header_bytes[WIRE_HEADER_BYTES];
    size_t header_len;
    struct mcp_header header;
    uint32_t left_bytes; /* of the frame behind its header */
    uint32_t crc;        /* of what has come of the frame */
    uint8_t crc_bytes[WIRE_CRC_BYTES];
    size_t crc_len;
    struct buf collected; /* a payload that came in pieces */
    struct slice payload; /* of the last event, until the next call */
    uint64_t paused_ms;   /* when reading stopped */
    uint64_t begun_ms;    /* header: its first byte; payload: where the rate window begins */
    uint64_t byte_ms;     /* last byte inside the frame */
    uint64_t window_bytes;
    uint32_t refused_ms[WIRE_REFUSALS_MAX]; /* ring of the last refusals, the clock's low bits: */
    uint64_t refused_last_ms;               /* a minute without one begins anew */
    size_t refused_count;
};

/* Never fails; allocates nothing. */
void wire_conn_init(struct wire_conn *c, const struct wire_config *config);
void wire_conn_fini(struct wire_conn *c);

/* Reads on in `in`. Above 0: an event; that many bytes are used, call again with the rest. 0: no
 * event, all of `in` is used (an empty frame's event uses its header, so it is never 0). Memory
 * that runs out inside a payload refuses that frame alone, as MCP_EINTERNAL to a server, MCP_ENOMEM
 * to a client. */
ptrdiff_t wire_conn_recv(struct wire_conn *c, struct slice in, uint64_t now_ms,
                         struct wire_event *ev);

/* Right after an event with a payload: moves it (copies it, where it came in one piece) into `out`,
 * which is released first. The event's slice is dead afterwards. 0, or MCP_ENOMEM. */
int wire_conn_take_payload(struct wire_conn *c, struct buf *out);

/* Client: HELLO was sent, WELCOME is known until it or another frame comes. */
void wire_conn_greeted(struct wire_conn *c);
/* Right after HELLO (server) or WELCOME (client): what was agreed on, bits of enum wire_feature,
 * counts from the next frame on. */
void wire_conn_negotiated(struct wire_conn *c, uint32_t features);

/* Memory held for a payload still to come; for limits over many connections. */
size_t wire_conn_held_bytes(const struct wire_conn *c);
/* Drops them: the frame, whose header is c->header, is skipped. */
void wire_conn_drop_held(struct wire_conn *c);

/* When wire_conn_tick has something to say; 0: nothing runs. */
uint64_t wire_conn_deadline_ms(const struct wire_conn *c);
/* True: the peer is too slow, `ev` is WIRE_EVENT_CLOSE. Ask for the deadline again after false. */
bool wire_conn_tick(struct wire_conn *c, uint64_t now_ms, struct wire_event *ev);
/* We have stopped reading, and read again: the clock stands in between. Twice the same does
 * nothing. */
void wire_conn_paused(struct wire_conn *c, uint64_t now_ms);
void wire_conn_resumed(struct wire_conn *c, uint64_t now_ms);

/* From the next header on: with a good key frames may have max_frame_bytes, without one
 * max_frame_unauthenticated_bytes. */
void wire_conn_set_authenticated(struct wire_conn *c, bool is);
/* No further frame is handled: the caller closes for a reason of its own. */
void wire_conn_close(struct wire_conn *c);
/* Inside a frame, header included: an end of the stream now cuts it off. */
bool wire_conn_in_frame(const struct wire_conn *c);

#endif
