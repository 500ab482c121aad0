/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of one connection (protocol.md section 2): which have an exchange in flight, and
 * what those that are idle pass on to their next one. Sans-IO, embedded, one thread; every call is
 * O(1) (amortised; expiry per session forgotten). Memory is bounded by the limits of the config.
 *
 * state      entered                               left by
 * IN_FLIGHT  wire_session_begin                    wire_session_end
 * IDLE       wire_session_end, where something is  wire_session_begin; forgotten: idle_ms over, or
 *            worth keeping                         the oldest beyond a limit */
#ifndef MCP_WIRE_SESSION_H
#define MCP_WIRE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "mcp/error.h"

enum {
    WIRE_SESSIONS_MAX = 4096, /* max_sessions */
    WIRE_SESSIONS_REMEMBERED = 1024,
    WIRE_SESSION_IDLE_MS = 300 * 1000,
    WIRE_INHERIT_BYTES_MAX = 4 * 1024 * 1024, /* ours: the protocol names no limit */
};

struct wire_session_config {
    size_t max_in_flight;
    size_t max_idle;
    uint64_t idle_ms;
    size_t max_inherit_bytes;
    uint64_t hash_seed; /* random: peers choose the ids */
};

/* What a session passes on. Slices: a NULL pointer means nothing is there. */
struct wire_inherited {
    struct slice model;   /* the client's own text, any bytes */
    struct slice tags;    /* JSON text */
    struct slice options; /* JSON text; for "continue": true only */
    uint64_t deadline_ms; /* likewise; 0: none */
    int priority;         /* 0: none */
};

struct wire_session {
    uint32_t id;
    bool in_flight;
    /* Read these; only the calls below write them. */
    struct wire_inherited inherited;
    /* The caller's, free to write: the node that served last (0: none), and what runs here. Set to
     * NULL when an exchange begins; the table never follows it. */
    uint64_t node_id;
    void *exchange;

    size_t inherited_bytes;
    uint64_t idle_since_ms;
    struct wire_session *hash_next;
    struct list_link idle_link;
};

LIST_DECLARE(wire_session_list, struct wire_session, idle_link);

struct wire_session_table {
    struct wire_session_config config;
    struct wire_session **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t in_flight;
    size_t inherited_bytes;
    struct wire_session_list idle; /* oldest first */
    uint64_t expired;              /* forgotten so far after idle_ms */
    uint64_t evicted;              /* forgotten so far beyond a limit */
};

/* Never fails; allocates nothing. */
void wire_session_table_init(struct wire_session_table *t,
                             const struct wire_session_config *config);
/* Frees every session, those in flight too: what their `exchange` points to is the caller's. */
void wire_session_table_fini(struct wire_session_table *t);

/* An exchange begins on session `id` (> 0), new or idle. `*session` is valid until its
 * wire_session_end. MCP_ESESSION_BUSY, MCP_EQUEUE_FULL (max_in_flight), MCP_ENOMEM: nothing has
 * changed, but for sessions whose time was over. */
int wire_session_begin(struct wire_session_table *t, uint32_t id, uint64_t now_ms,
                       struct wire_session **session);
/* Its exchange is over, admitted or not. `session` may be freed. */
void wire_session_end(struct wire_session_table *t, struct wire_session *session, uint64_t now_ms);

/* The exchange of generate, chat, embed or embeddings on `session` was admitted with these values
 * of its own. What `own` does not give (NULL, 0) stays as it was inherited; an empty slice clears.
 * Slices are copied. MCP_ENOMEM, MCP_ETOO_LARGE (more than max_inherit_bytes over all sessions in
 * flight): as it was. */
int wire_session_inherit(struct wire_session_table *t, struct wire_session *session,
                         const struct wire_inherited *own);

/* The session of that id, idle or in flight; NULL: not known. One whose time is over counts as not
 * known. */
struct wire_session *wire_session_find(const struct wire_session_table *t, uint32_t id,
                                       uint64_t now_ms);

/* When the next idle session's time is over; 0: there is none. */
uint64_t wire_session_expiry_ms(const struct wire_session_table *t);
/* Forgets those whose time is over; how many. */
size_t wire_session_expire(struct wire_session_table *t, uint64_t now_ms);

/* Where an error about session `about` goes that does not end an exchange (section 4, last rule):
 * to `about` while it is idle, else to 0, and then "session": about goes into its body (where about
 * > 0). */
uint32_t wire_error_session(const struct wire_session_table *t, uint32_t about);

#endif
