/* SPDX-License-Identifier: Apache-2.0 */
#include "import/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 256 };

static void free_node(struct tree *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free_node(t->items[i]);
    }
    free(t->items);
    free(t->key);
    free(t->text);
    free(t);
}

void tree_free(struct tree **t)
{
    if (*t != NULL) {
        free_node(*t);
        *t = NULL;
    }
}

static bool push(struct tree *parent, struct tree *t)
{
    struct tree **items = realloc(parent->items, (parent->count + 1) * sizeof(struct tree *));

    if (items == NULL) {
        return false;
    }
    parent->items = items;
    parent->items[parent->count++] = t;
    return true;
}

struct tree *tree_add(struct tree *parent, enum tree_kind kind, struct slice key, struct slice text,
                      unsigned line, size_t *nodes, struct err *e)
{
    struct tree *t;

    if (++*nodes > TREE_NODES_MAX) {
        (void)err_set(e, MCP_EARGUMENT, "line %u: more than %d settings", line, TREE_NODES_MAX);
        return NULL;
    }
    t = calloc(1, sizeof(*t));
    if (t != NULL) {
        t->kind = kind;
        t->line = line;
        t->key = key.ptr == NULL ? NULL : slice_dup(key);
        t->text = text.ptr == NULL ? NULL : slice_dup(text);
        if ((key.ptr == NULL || t->key != NULL) && (text.ptr == NULL || t->text != NULL) &&
            (parent == NULL || push(parent, t))) {
            return t;
        }
        free_node(t);
    }
    (void)err_set(e, MCP_ENOMEM, "out of memory");
    return NULL;
}

static struct tree *find(const struct tree *t, struct slice key)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i]->key != NULL && slice_eq(slice_str(t->items[i]->key), key)) {
            return t->items[i];
        }
    }
    return NULL;
}

struct tree *tree_get(const struct tree *t, const char *path)
{
    struct tree *at = NULL;

    while (t != NULL) {
        size_t len = strcspn(path, ".");

        at = find(t, slice_of(path, len));
        if (path[len] == '\0') {
            break;
        }
        path += len + 1;
        t = at;
    }
    return t == NULL ? NULL : at;
}

const char *tree_take(struct tree *t)
{
    if (t == NULL || t->kind != TREE_TEXT) {
        return NULL;
    }
    t->used = true;
    return t->text;
}

const char *tree_take_at(const struct tree *t, const char *path)
{
    return tree_take(tree_get(t, path));
}

void tree_use_all(struct tree *t)
{
    t->used = true;
    for (size_t i = 0; i < t->count; i++) {
        tree_use_all(t->items[i]);
    }
}

/* --- what is left ----------------------------------------------------------------------------- */

static bool any_used(const struct tree *t)
{
    bool used = t->used;

    for (size_t i = 0; !used && i < t->count; i++) {
        used = any_used(t->items[i]);
    }
    return used;
}

static void tell_unused(const struct tree *t, const char *above, size_t number, tree_cb tell,
                        void *owner)
{
    char path[PATH_BYTES]; /* a longer one is cut */

    if (t->key != NULL) {
        (void)snprintf(path, sizeof(path), "%s%s%s", above, above[0] == '\0' ? "" : ".", t->key);
    } else {
        (void)snprintf(path, sizeof(path), "%s[%zu]", above, number);
    }
    if (!any_used(t)) {
        tell(owner, path, t);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        tell_unused(t->items[i], path, i, tell, owner);
    }
}

void tree_unused(const struct tree *root, tree_cb tell, void *owner)
{
    for (size_t i = 0; i < root->count; i++) {
        tell_unused(root->items[i], "", i, tell, owner);
    }
}
