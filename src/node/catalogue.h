/* SPDX-License-Identifier: Apache-2.0 */
/* The models a node lists, looked up by canonical name; and the node's own list as it came. Never
 * changed once it was read, so that threads can share one. */
#ifndef MCP_NODE_CATALOGUE_H
#define MCP_NODE_CATALOGUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { CATALOGUE_DIGEST_MAX = 80 };

struct catalogue_model {
    char *name; /* as the node writes it, NUL-terminated */
    size_t name_len;
    char *canonical; /* sorted by this */
    size_t canonical_len;
    bool completes; /* as far as the node says: text, here and not at somebody's it passes it to */
    uint64_t size_bytes;               /* 0: the node does not say */
    char digest[CATALOGUE_DIGEST_MAX]; /* as the node writes it; "": it does not say */
};

/* A way to write a model's name that clients use: the node's, and that without ":latest". */
struct catalogue_spelling {
    struct slice text; /* NULL: an empty slot */
    const struct catalogue_model *model;
};

struct catalogue {
    struct catalogue_model *models;
    size_t count;
    struct catalogue_spelling *spellings; /* by the hash of the text, next free slot */
    size_t spellings_mask;                /* how many slots, a power of two, less one */
    bool is_llamacpp;                     /* the list is that of llama.cpp's server */
    struct buf body;                      /* the node's answer the list was read from */
    _Atomic size_t *users;                /* of what the others point to; NULL: nothing there */
};

void catalogue_fini(struct catalogue *c);
/* `to` (empty, or finished first) shows what `from` does. */
void catalogue_share(struct catalogue *to, const struct catalogue *from);
/* Reads the answer of /api/tags ({"models":[{"name"}]}) or /v1/models ({"data":[{"id"}]}). The old
 * content stays when it fails: MCP_EUPSTREAM_ERROR (neither shape), MCP_ENOMEM; and when it is the
 * same. */
int catalogue_read(struct catalogue *c, struct slice body);
/* By any spelling of the name; NULL where it is not listed. The usual spellings cost one look. */
const struct catalogue_model *catalogue_find(const struct catalogue *c, struct slice name);

#endif
