/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON value put together from the pieces of a stream: what openai_assemble.c builds the whole
 * answer from. A tree of members and elements whose leaves are JSON text; strings are held as their
 * inside, escapes included, so that a piece costs only its own bytes. Owned by the assembly. Pure.
 *
 * how             string                number, bool   array                          object
 * MERGE_LATEST    the latest            the latest     the latest                     each member
 * MERGE_FIRST     the first not empty   the latest     the latest                     each member
 * MERGE_LISTS     the latest            the latest     one behind the other           each member
 * MERGE_PIECES    one behind the other  the latest     by `index`, else behind        each member
 * Null never replaces anything. MERGE_PIECES takes role, type, id and name as MERGE_FIRST, because
 * they come whole and some nodes repeat them. */
#ifndef MCP_NODE_OPENAI_MERGE_H
#define MCP_NODE_OPENAI_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/json_scan.h"
#include "base/slice.h"

enum merge_how { MERGE_LATEST, MERGE_FIRST, MERGE_LISTS, MERGE_PIECES };

enum merged_kind {
    MERGED_NOTHING, /* nothing came yet; written as null */
    MERGED_NULL,
    MERGED_VALUE, /* number, bool, or an array taken as one: `text` is the JSON text */
    MERGED_TEXT,  /* string: `text` is its inside */
    MERGED_ARRAY, /* `text` is elements with commas between, or the elements are children */
    MERGED_OBJECT
};

enum { MERGED_CHILDREN_MAX = 16384 };

struct merged {
    enum merged_kind kind;
    struct buf key;    /* of a member: its name, still escaped */
    uint64_t index;    /* of an element; children of an array are in its order */
    uint64_t of_index; /* for openai_assemble.c: the choice this was said of */
    struct buf text;
    struct merged **children;
    size_t count;
};

/* How much may still be held. */
struct merge_room {
    size_t left_bytes;
};

void merged_fini(struct merged *m);
/* Takes one value, already known to be valid. 0; MCP_EUPSTREAM_ERROR: pieces that do not go
 * together; MCP_ETOO_LARGE; MCP_ENOMEM. */
MUST_CHECK int merged_take(struct merged *m, enum merge_how how, const struct json_member *value,
                           struct merge_room *room);
/* The member of that name, the element of that index; made where there is none. `m` becomes an
 * object (an array) if nothing came yet. 0 or as above. */
MUST_CHECK int merged_member(struct merged *m, struct slice key, struct merge_room *room,
                             struct merged **member);
MUST_CHECK int merged_element(struct merged *m, uint64_t index, struct merge_room *room,
                              struct merged **element);
/* NULL: there is none. */
struct merged *merged_find(const struct merged *m, struct slice key);
/* Makes it a MERGED_VALUE or MERGED_TEXT, whatever it was. 0, MCP_ETOO_LARGE or MCP_ENOMEM. */
MUST_CHECK int merged_set(struct merged *m, enum merged_kind kind, struct slice text,
                          struct merge_room *room);
/* Appends it as JSON. Sticky. */
void merged_append(const struct merged *m, struct buf *out);

#endif
