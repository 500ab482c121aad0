/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <yaml.h>

#include "import/tree.h"

struct reader {
    yaml_document_t *document;
    size_t nodes;
    struct err *e;
};

static struct slice scalar(const yaml_node_t *n)
{
    return slice_of(n->data.scalar.value, n->data.scalar.length);
}

static bool add(struct reader *r, struct tree *parent, struct slice key, int index, unsigned depth);

static bool add_items(struct reader *r, struct tree *t, const yaml_node_t *n, unsigned depth)
{
    for (const yaml_node_item_t *i = n->data.sequence.items.start;
         n->type == YAML_SEQUENCE_NODE && i < n->data.sequence.items.top; i++) {
        if (!add(r, t, (struct slice){0}, *i, depth)) {
            return false;
        }
    }
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start;
         n->type == YAML_MAPPING_NODE && p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key);
        bool plain = key != NULL && key->type == YAML_SCALAR_NODE;

        if (!add(r, t, plain ? scalar(key) : SLICE("?"), p->value, depth)) {
            return false;
        }
    }
    return true;
}

/* `parent` NULL is not for this: the root is made by the caller. */
static bool add(struct reader *r, struct tree *parent, struct slice key, int index, unsigned depth)
{
    const yaml_node_t *n = yaml_document_get_node(r->document, index);
    unsigned line = n == NULL ? 0 : (unsigned)n->start_mark.line + 1;
    bool is_text = n == NULL || n->type == YAML_SCALAR_NODE;
    enum tree_kind kind = is_text                         ? TREE_TEXT
                          : n->type == YAML_SEQUENCE_NODE ? TREE_LIST
                                                          : TREE_MAP;
    struct tree *t;

    if (depth > TREE_DEPTH_MAX) { /* an alias may stand within its own anchor */
        (void)err_set(r->e, MCP_EARGUMENT, "line %u: more than %d levels", line, TREE_DEPTH_MAX);
        return false;
    }
    t = tree_add(parent, kind, key, n == NULL || !is_text ? (struct slice){0} : scalar(n), line,
                 &r->nodes, r->e);
    return t != NULL && (is_text || add_items(r, t, n, depth + 1));
}

static struct tree *read_document(yaml_document_t *document, struct err *e)
{
    struct reader r = {.document = document, .e = e};
    yaml_node_t *root = yaml_document_get_root_node(document);
    struct tree *t;

    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        (void)err_set(e, MCP_EARGUMENT, "line 1: expected a mapping (key: value)");
        return NULL;
    }
    t = tree_add(NULL, TREE_MAP, (struct slice){0}, (struct slice){0}, 1, &r.nodes, e);
    if (t != NULL && !add_items(&r, t, root, 1)) {
        tree_free(&t);
    }
    return t;
}

struct tree *tree_read_yaml(struct slice text, struct err *e)
{
    yaml_parser_t parser;
    yaml_document_t document;
    struct tree *t = NULL;

    if (!yaml_parser_initialize(&parser)) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    if (yaml_parser_load(&parser, &document)) {
        t = read_document(&document, e);
        yaml_document_delete(&document);
    } else {
        (void)err_set(
            e, MCP_EARGUMENT, "line %zu: not YAML: %s",
            (parser.problem_mark.line > 0 ? parser.problem_mark.line : parser.context_mark.line) +
                1,
            parser.problem == NULL ? "out of memory" : parser.problem);
    }
    yaml_parser_delete(&parser);
    return t;
}
