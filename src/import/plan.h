/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of ours that a converter makes, setting by setting, and what is to be said of
 * those it could not carry over. */
#ifndef MCP_IMPORT_PLAN_H
#define MCP_IMPORT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "import/tree.h"

enum { PLAN_SETTINGS_MAX = 16 };

struct plan_setting {
    const char *key; /* "limits.max_body" */
    char value[128];
};

struct plan_loss {
    unsigned line;
    char *text;
};

struct plan {
    struct buf nodes; /* YAML */
    struct buf keys;
    struct plan_loss *lost;
    size_t lost_count;
    bool failed; /* memory was out */
    struct plan_setting settings[PLAN_SETTINGS_MAX];
    size_t setting_count;
    size_t node_count;
    size_t key_count;
    struct buf seen; /* what nodes were made of, to tell repeated ones */
};

struct plan_node {
    const char *url;
    const char *kind;     /* NULL: auto */
    const char *name;     /* NULL: none */
    const char *api_key;  /* NULL: none */
    struct tree *headers; /* a map of texts; NULL: none */
};

void plan_fini(struct plan *p);

/* A node; the same once more (URL and key) is no second one. False, and told at `t`, where its URL
 * is none that we can speak to (https, variables). */
bool plan_add_node(struct plan *p, const struct tree *t, const struct plan_node *n);
/* A client's key; the name gets a number behind it from the second on. False, and told, where it is
 * taken from a variable. */
bool plan_add_key(struct plan *p, const struct tree *t, const char *name, const char *key);
/* A value; another one for the same key is told as lost. NULL does nothing. */
void plan_set(struct plan *p, const struct tree *t, const char *key, const char *value);
/* host and port as an address to listen on. */
void plan_set_listen(struct plan *p, const struct tree *t, const char *host, const char *port);
/* "1m30s", "500ms", "90" (of `unit_ms` each) as a time; what is none is told. */
void plan_set_time(struct plan *p, struct tree *t, const char *key, uint64_t unit_ms);
/* "50MB", "10m", "1048576" as a size; `binary`: K, M and G are powers of 1024 (else only Ki...). */
void plan_set_size(struct plan *p, struct tree *t, const char *key, bool binary);
/* debug, info, warn or error. */
void plan_set_level(struct plan *p, struct tree *t);
/* `t` was not carried over; `why` NULL: that it is so. */
void plan_lose(struct plan *p, const char *path, const struct tree *t, const char *why);

/* All of it. MCP_ENOMEM. */
int plan_write(struct plan *p, const char *from, const char *kind, struct buf *out, struct err *e);

#endif
