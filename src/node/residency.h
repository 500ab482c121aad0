/* SPDX-License-Identifier: Apache-2.0 */
/* The models a node has in memory, as its /api/ps says, and that answer as it came. Never changed
 * once it was read, so that threads can share one. */
#ifndef MCP_NODE_RESIDENCY_H
#define MCP_NODE_RESIDENCY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

struct resident_model {
    char *name; /* as the node writes it */
    size_t name_len;
    uint64_t context_length; /* tokens; 0: the node does not say */
    int64_t expires_us;      /* wall time; 0: the node does not say */
    uint64_t size_bytes;
    uint64_t vram_bytes;
};

struct residency {
    struct resident_model *models; /* in the node's order */
    size_t count;
    struct buf body;       /* the node's answer */
    _Atomic size_t *users; /* of what the others point to; NULL: it is not known what is loaded */
};

void residency_fini(struct residency *r);
/* `to` (empty, or finished first) shows what `from` does. */
void residency_share(struct residency *to, const struct residency *from);
/* Reads {"models":[{"name",...}]}. The old content stays when it fails: MCP_EUPSTREAM_ERROR
 * (another shape), MCP_ENOMEM; and when it is the same. */
MUST_CHECK int residency_read(struct residency *r, struct slice body);
/* By any spelling of the name; NULL where it is not loaded. Looks at one after the other: they are
 * few. */
const struct resident_model *residency_find(const struct residency *r, struct slice name);

#endif
