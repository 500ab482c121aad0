/* SPDX-License-Identifier: Apache-2.0 */
/* The recording that runs, if one does: lines from all loops (record.h) on their way to the one who
 * asked for it (docs/recording.md). Nothing is locked while none runs; while one does, the lock is
 * held to copy a line. What waits is bounded: beyond that lines are dropped, and counted. */
#ifndef MCP_GATEWAY_RECORDER_H
#define MCP_GATEWAY_RECORDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/siphash.h"
#include "base/slice.h"
#include "reactor/loop.h"

enum { RECORDER_LINES_MAX = 1024 * 1024 }; /* bytes that wait */

struct recorder {
    struct loop *loop; /* the main reactor's */
    loop_cb ready;
    void *owner;
    uint64_t last;
    _Atomic uint64_t running; /* its number; 0: none */

    pthread_mutex_t lock; /* guards the rest */
    struct siphash_key key;
    uint64_t begun_us;
    struct buf lines;
    uint64_t dropped; /* since the lines were last taken */
    bool posted;
};

/* The main reactor's thread. */
void recorder_init(struct recorder *r, struct loop *loop);
/* When no loop runs any more. */
void recorder_fini(struct recorder *r);
/* `ready` is called, later and from the loop, when there are lines to take. False: one runs. */
bool recorder_begin(struct recorder *r, loop_cb ready, void *owner);
/* Moves what waits to `out`, a line about what was dropped behind it. */
void recorder_take(struct recorder *r, struct buf *out);
void recorder_end(struct recorder *r);

/* --- any thread --- */

/* The number of the recording that runs; 0: none. */
static inline uint64_t recorder_running(const struct recorder *r)
{
    return atomic_load_explicit(&r->running, memory_order_relaxed);
}

/* What that one's hashes are keyed with, and when it began. False: it is over. */
bool recorder_terms(struct recorder *r, uint64_t recording, struct siphash_key *key,
                    uint64_t *begun_us);
/* A whole line for it. */
void recorder_put(struct recorder *r, uint64_t recording, struct slice line);

#endif
