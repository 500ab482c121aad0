/* SPDX-License-Identifier: Apache-2.0 */
/* nginx's syntax: words, strings in quotes, `;`, blocks in braces, comments to the end of a line.
 */
#include <string.h>

#include "base/buf.h"
#include "import/tree.h"

struct reader {
    struct slice in;
    unsigned line;
    size_t nodes;
    struct err *e;
};

static bool fail(struct reader *r, const char *text)
{
    (void)err_set(r->e, MCP_EARGUMENT, "line %u: %s", r->line, text);
    return false;
}

static char peek(const struct reader *r)
{
    return r->in.len == 0 ? '\0' : r->in.ptr[0];
}

static char next(struct reader *r)
{
    char c = peek(r);

    r->line += c == '\n';
    r->in = slice_skip(r->in, 1);
    return c;
}

static void skip_blanks(struct reader *r)
{
    bool comment = false;

    while (r->in.len > 0 && (comment || strchr(" \t\r\n#", peek(r)) != NULL)) {
        char c = next(r);

        comment = c == '#' || (comment && c != '\n');
    }
}

/* Appends it without quotes and escapes. */
static bool read_word(struct reader *r, struct buf *word)
{
    char quote = peek(r) == '"' || peek(r) == '\'' ? next(r) : '\0';

    for (;;) {
        if (r->in.len == 0) {
            return quote == '\0' || fail(r, "a string in quotes does not end");
        }
        if (quote != '\0' ? peek(r) == quote : strchr(" \t\r\n;{}", peek(r)) != NULL) {
            break;
        }
        if (peek(r) == '$' && r->in.len > 1 && r->in.ptr[1] == '{') { /* ${name} is no block */
            buf_append_byte(word, next(r));
            buf_append_byte(word, next(r));
            while (r->in.len > 0 && peek(r) != '}' && peek(r) != '\n') {
                buf_append_byte(word, next(r));
            }
            if (peek(r) != '}') {
                return fail(r, "expected } behind ${");
            }
        } else if (peek(r) == '\\' && r->in.len > 1) {
            (void)next(r);
        }
        buf_append_byte(word, next(r));
    }
    if (quote != '\0') {
        (void)next(r);
    }
    return true;
}

/* A directive's name, and its further words with a blank between them, up to `;` or `{`. */
static bool read_words(struct reader *r, struct buf *name, struct buf *words)
{
    bool ok = read_word(r, name);

    for (skip_blanks(r); ok && r->in.len > 0 && strchr(";{}", peek(r)) == NULL; skip_blanks(r)) {
        if (buf_len(words) > 0) {
            buf_append_byte(words, ' ');
        }
        ok = read_word(r, words);
    }
    if (!ok) {
        return false;
    }
    if (buf_failed(name) || buf_failed(words)) {
        (void)err_set(r->e, MCP_ENOMEM, "out of memory");
        return false;
    }
    return peek(r) == ';' || peek(r) == '{' || fail(r, "expected ; or { behind a directive");
}

static bool read_block(struct reader *r, struct tree *t, unsigned depth);

static bool read_directive(struct reader *r, struct tree *parent, unsigned depth)
{
    unsigned line = r->line;
    struct buf name = {0};
    struct buf words = {0};
    struct tree *t = NULL;
    bool ok = read_words(r, &name, &words);

    if (ok) {
        t = tree_add(parent, peek(r) == '{' ? TREE_MAP : TREE_TEXT, buf_slice(&name),
                     buf_slice(&words), line, &r->nodes, r->e);
        ok = t != NULL && (next(r) == ';' || read_block(r, t, depth + 1));
    }
    buf_fini(&name);
    buf_fini(&words);
    return ok;
}

/* Up to its brace, or at depth 0 to the end. */
static bool read_block(struct reader *r, struct tree *t, unsigned depth)
{
    if (depth > TREE_DEPTH_MAX) {
        return fail(r, "too many blocks within each other");
    }
    for (skip_blanks(r); r->in.len > 0; skip_blanks(r)) {
        if (peek(r) == '}') {
            (void)next(r);
            return depth > 0 || fail(r, "a } without its {");
        }
        if (peek(r) == ';' || peek(r) == '{') {
            return fail(r, "expected a directive");
        }
        if (!read_directive(r, t, depth)) {
            return false;
        }
    }
    return depth == 0 || fail(r, "a block does not end: expected }");
}

struct tree *tree_read_nginx(struct slice text, struct err *e)
{
    struct reader r = {.in = text, .line = 1, .e = e};
    struct tree *t = tree_add(NULL, TREE_MAP, (struct slice){0}, (struct slice){0}, 1, &r.nodes, e);

    if (t != NULL && !read_block(&r, t, 0)) {
        tree_free(&t);
    }
    return t;
}
