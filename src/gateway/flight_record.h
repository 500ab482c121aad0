/* SPDX-License-Identifier: Apache-2.0 */
/* An answer as it comes, for several to read: a chain of pieces to which one loop appends and from
 * which readers on any loop read at their own pace. A piece goes when the last reader is past it
 * and nobody else may begin any more. */
#ifndef MCP_GATEWAY_FLIGHT_RECORD_H
#define MCP_GATEWAY_FLIGHT_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct http_head;

enum flight_kind {
    FLIGHT_START,  /* says nothing: readers begin there */
    FLIGHT_QUEUED, /* struct flight_place: where it stands */
    FLIGHT_NODE,   /* `number` and text: the node that was chosen; `also`: how long it waited, us */
    FLIGHT_HEAD,   /* flight_head_read */
    FLIGHT_BYTES,
    FLIGHT_PART,
    FLIGHT_LAST_PART,
    FLIGHT_END, /* `number`: the code; `status`; the error's text up to `split`, then the node's
                   body; `also`: when to come again, us */
};

struct flight_place {
    uint64_t position;
    uint64_t depth;
    uint64_t eta_us;
};

struct flight_piece {
    _Atomic unsigned users;
    struct flight_piece *_Atomic next;
    enum flight_kind kind;
    unsigned status;
    uint64_t number;
    uint64_t also;
    size_t split;
    size_t len;
    char bytes[];
};

static inline struct slice flight_piece_bytes(const struct flight_piece *p)
{
    return slice_of(p->bytes, p->len);
}

struct flight_record {
    struct flight_piece *first; /* the appender's; NULL: nobody may begin any more */
    struct flight_piece *last;
    _Atomic uint64_t bytes; /* of all pieces */
    _Atomic bool done;
    _Atomic bool crowded; /* several read it */
    _Atomic unsigned users;
};

/* NULL: out of memory. */
struct flight_record *flight_record_new(void);
void flight_record_unref(struct flight_record **r);
/* The appender's thread. NULL: out of memory; the caller may still set what is not in bytes. */
struct flight_piece *flight_piece_new(enum flight_kind kind, struct slice bytes);
struct flight_piece *flight_piece_of_head(const struct http_head *head);
void flight_append(struct flight_record *r, struct flight_piece *p);
/* Nobody begins to read from here on. */
void flight_close(struct flight_record *r);
/* Where a reader begins; on the appender's thread, not after flight_close. */
struct flight_piece *flight_begin(struct flight_record *r);

/* Any thread: the piece behind *at, which it moves to; NULL: there is none yet. */
const struct flight_piece *flight_next(struct flight_piece **at);
void flight_leave_at(struct flight_piece **at);
/* There is one behind it already. */
static inline bool flight_is_old(struct flight_piece *p)
{
    return atomic_load(&p->next) != NULL;
}

#define FLIGHT_IGNORED "X-Mcpgate-Ignored"
enum { FLIGHT_HEADERS_MAX = 129 };
struct http_header;
/* The headers of a piece of kind HEAD. */
size_t flight_head_read(const struct flight_piece *p, struct http_header *headers);

#endif
