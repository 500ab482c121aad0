/* SPDX-License-Identifier: Apache-2.0 */
/* What was decided about recent requests, and when: a ring of records of fixed size per loop, for
 * `mcpgate why`. A record is an exchange's from its beginning to its end, then stays until its turn
 * comes again; those that still run are passed over. No prompts, answers or keys are in it. The
 * loop's thread only. */
#ifndef MCP_GATEWAY_TRACE_H
#define MCP_GATEWAY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/op.h"
#include "sched/choose.h"

struct exchange;
struct sub;

enum trace_kind {
#define TRACE_EVENT(id, name, has_node, text) TRACE_##id,
#include "gateway/trace.def"
#undef TRACE_EVENT
    TRACE_KIND_COUNT
};

enum {
    TRACE_EVENTS_MAX = 24,
    TRACE_MODEL_BYTES = 64,
    TRACE_TEXT_BYTES = 128,
    TRACE_ID_BYTES = 65,
    TRACE_CLIENT_BYTES = 48, /* an address; longer names are cut */
    TRACE_FOUND_MAX = 8
};

struct trace_event {
    uint64_t at_us : 38; /* since the record's beginning */
    uint64_t kind : 6;
    uint64_t node_id : 20; /* 0: none; or what trace_number was given */
};

struct trace_record {
    struct exchange *running; /* NULL: it has ended, or was never used */
    uint64_t number;          /* in the order of their beginnings, from 1; 0: never used */
    uint64_t begun_us;        /* loop time */
    uint64_t wall_us;
    uint64_t total_us;
    uint64_t load_us; /* that the node said it took to load the model */
    uint64_t parts;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int code;
    unsigned status;
    uint32_t pauses;
    uint16_t lost; /* events that found no room */
    uint8_t event_count;
    uint8_t op; /* enum op */
    bool is_mcp;
    char id[TRACE_ID_BYTES]; /* this and the next four: once it has ended */
    char client[TRACE_CLIENT_BYTES];
    char model[TRACE_MODEL_BYTES];
    char route[TRACE_MODEL_BYTES]; /* the model as the client named it, where that is a route */
    char text[TRACE_TEXT_BYTES];   /* of the error */
    struct trace_event events[TRACE_EVENTS_MAX];
};

struct trace_ring {
    struct trace_record *records; /* NULL: none are kept */
    size_t count;
    size_t next;
    uint64_t last_number;
};

/* Start-up: ends the process when memory is out. 0: nothing is traced. */
void trace_ring_init(struct trace_ring *r, size_t count);
void trace_ring_fini(struct trace_ring *r);

/* Of an exchange. Where there is no record for it, nothing happens. */
void trace_begin(struct exchange *x);
void trace_note(struct exchange *x, enum trace_kind kind);
/* About the arm or fallback of that number, instead of a node. */
void trace_number(struct exchange *x, enum trace_kind kind, uint64_t number);
/* Why not these. */
void trace_others(struct exchange *x, const struct choose_node *nodes, size_t count,
                  bool needs_model);
/* It was given to a node, on what connection. */
void trace_sent(struct exchange *x);
void trace_pause(struct exchange *x);
/* Looks for load_duration in the last part of an answer. */
void trace_last_part(struct exchange *x, struct slice part);
void trace_end(struct exchange *x, uint64_t now_us, unsigned status);

/* Appends a JSON object for each record of that id, oldest first and the latest ones at most, with
 * commas between. Returns how many. */
size_t trace_find(const struct sub *sub, struct slice id, struct buf *out);

#endif
