/* SPDX-License-Identifier: Apache-2.0 */
/* What flight.c (the home of a request) and flight_table.c (the owner of the call) both know. */
#ifndef MCP_GATEWAY_FLIGHT_INTERNAL_H
#define MCP_GATEWAY_FLIGHT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "codec/op.h"
#include "gateway/exchange.h"
#include "gateway/flight_record.h"
#include "gateway/post_box.h"

struct flight;
struct sub;

/* The request, for whoever sends it; nobody changes it. */
struct flight_ask {
    enum op op;
    bool native;
    bool native_only;
    bool streams;
    bool once;
    bool needs_model;
    bool relay_any_kind;
    enum stream_end stream_end;
    uint64_t prefer_node_id;
    uint64_t session_hash;
    enum priority priority;
    char id[EXCHANGE_ID_MAX + 1];
    char client[ADDR_TEXT_MAX]; /* whose turn it is, where requests wait */
    char key_name[64];
    struct buf model;
    struct buf body; /* as the node gets it */
    struct buf text; /* memory of method, path, headers and traceparent */
    struct slice method;
    struct slice path;
    struct slice traceparent; /* MCP: with its quotes; empty: none */
    struct buf headers;       /* of struct http_header */
    size_t header_count;
};

enum flight_outcome {
    FLIGHT_SHARED, /* `at` is where it reads */
    FLIGHT_ALONE,
    FLIGHT_REFUSED, /* its idempotency key stands for another request */
};

struct flight_member {
    uint32_t magic;
    _Atomic unsigned users; /* the owner until `over`; a kick on its way */
    struct sub *home;
    struct sub *owner;
    struct post_message join;
    struct post_message over;
    struct post_message kick; /* there is more to read */
    _Atomic bool kicked;
    struct post_message go;      /* it has read on: the call may */
    _Atomic bool going;          /* that is on its way */
    _Atomic bool held;           /* the call stands still until it has read on */
    _Atomic uint64_t read_bytes; /* of the record */
    struct flight_ask ask;
    struct buf key;
    bool idempotent; /* the key is the client's: the body is compared */
    bool cacheable;
    size_t held_bytes; /* of body_memory */
    /* The owner's. */
    struct flight *flight;
    struct list_link link;
    /* The owner's until the first kick, then the home's. */
    enum flight_outcome outcome;
    bool hit; /* of a finished one */
    struct flight_record *record;
    struct flight_piece *at;
    /* The home's. */
    struct exchange *exchange; /* NULL: it has ended */
    bool begun;
};

LIST_DECLARE(flight_members, struct flight_member, link);

/* What a call may be ahead of the only one who reads it. */
enum { FLIGHT_AHEAD_BYTES = 256 * 1024 };
enum { FLIGHT_MEMBER_MAGIC = 0x666c6d62, FLIGHT_REPLAY_BYTES_MAX = 8 * 1024 * 1024 };

void flight_member_unref(struct flight_member *m);

/* --- flight_table.c: on the owner's loop */
void flight_on_join(struct post_message *join);
void flight_on_over(struct post_message *over);
void flight_on_go(struct post_message *go);

static inline uint64_t flight_behind(const struct flight_member *m)
{
    return atomic_load(&m->record->bytes) - atomic_load(&m->read_bytes);
}

/* --- flight.c: on the home's loop */
void flight_on_kick(struct post_message *kick);

#endif
