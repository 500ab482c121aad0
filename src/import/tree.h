/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as read, whatever its syntax. What a converter takes is marked as used; what is
 * left can be told. Owned as a whole by its root. */
#ifndef MCP_IMPORT_TREE_H
#define MCP_IMPORT_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAP };

struct tree {
    enum tree_kind kind;
    char *key; /* in a map; NULL in a list */
    unsigned line;
    char *text; /* of TEXT; of a block of nginx what stands before its brace; else NULL */
    struct tree **items;
    size_t count;
    bool used;
};

enum { TREE_DEPTH_MAX = 64, TREE_NODES_MAX = 100000 };

/* NULL with "line N: ..." in `e`. A document of YAML; aliases are copies. */
struct tree *tree_read_yaml(struct slice text, struct err *e);
/* nginx's directives; those with a block are maps. One directive may stand several times. */
struct tree *tree_read_nginx(struct slice text, struct err *e);
void tree_free(struct tree **t);

/* For readers. `key` and `text` are copied; NULL: memory is out, or there are too many (in `e`). */
struct tree *tree_add(struct tree *parent, enum tree_kind kind, struct slice key, struct slice text,
                      unsigned line, size_t *nodes, struct err *e);

/* The first item of that key; NULL: none. `t` may be NULL. Paths have dots between keys. */
struct tree *tree_get(const struct tree *t, const char *path);
/* Its text, and it is used; NULL where there is none. */
const char *tree_take(struct tree *t);
/* The same for what is found at `path`. */
const char *tree_take_at(const struct tree *t, const char *path);
void tree_use_all(struct tree *t);

/* Calls `tell` for all that is not used: of a branch with nothing used once, for the branch. */
typedef void (*tree_cb)(void *owner, const char *path, const struct tree *t);
void tree_unused(const struct tree *root, tree_cb tell, void *owner);

#endif
