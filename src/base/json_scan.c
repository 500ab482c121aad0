/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar half of the scanner; strings are unescaped and written in json_text.c. */
#include "base/json_scan.h"

#include <string.h>

#include "base/utf8.h"

/* What is left of the text. On failure `p` is where it stopped. */
struct cursor {
    const char *p;
    const char *end;
};

/* The arrays and objects that are open, outermost first. */
struct nesting {
    uint64_t is_object[JSON_DEPTH_MAX / 64];
    unsigned depth;
};

static struct cursor cursor_of(struct slice text)
{
    const char *start = text.ptr == NULL ? "" : text.ptr;

    return (struct cursor){start, start + text.len};
}

#define ONES (UINT64_MAX / 0xFF)
#define HIGHS (ONES * 0x80)

/* Skips bytes that stand for themselves in a string: looks at eight at once for a quote, a
 * backslash, a control character or anything that is not ASCII, and stops there or with fewer than
 * eight left. */
static const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word;
        uint64_t special;

        memcpy(&word, p, sizeof(word));
        /* Sets the high bit of each special byte; a borrow spoils only the bytes above one. */
        special = ((word ^ (ONES * '"')) - ONES) | ((word ^ (ONES * '\\')) - ONES) |
                  (word - ONES * 0x20) | word;
        if ((special & HIGHS) != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            p += __builtin_ctzll(special & HIGHS) / 8;
#endif
            break;
        }
        p += 8;
    }
    return p;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* At a backslash. */
static bool scan_escape(struct cursor *c)
{
    if (c->end - c->p < 2) {
        return false;
    }
    if (c->p[1] != 'u') {
        if (c->p[1] == '\0' || strchr("\"\\/bfnrt", c->p[1]) == NULL) {
            return false;
        }
        c->p += 2;
        return true;
    }
    if (c->end - c->p < 6) {
        return false;
    }
    for (int i = 2; i < 6; i++) {
        if (!is_hex(c->p[i])) {
            return false;
        }
    }
    c->p += 6;
    return true;
}

/* At the opening quote; afterwards behind the closing one. */
static bool scan_string(struct cursor *c, bool *escaped)
{
    if (c->p == c->end || *c->p != '"') {
        return false;
    }
    c->p++;
    for (;;) {
        unsigned char byte;

        c->p = skip_plain(c->p, c->end);
        if (c->p == c->end) {
            return false;
        }
        byte = (unsigned char)*c->p;
        if (byte == '"') {
            c->p++;
            return true;
        }
        if (byte == '\\') {
            *escaped = true;
            if (!scan_escape(c)) {
                return false;
            }
        } else if (byte >= 0x80) {
            size_t len = utf8_sequence(c->p, (size_t)(c->end - c->p));

            if (len == 0) {
                return false;
            }
            c->p += len;
        } else if (byte < 0x20) {
            return false;
        } else {
            c->p++;
        }
    }
}

static bool scan_digits(struct cursor *c)
{
    const char *start = c->p;

    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        c->p++;
    }
    return c->p > start;
}

static bool scan_number(struct cursor *c)
{
    if (*c->p == '-') {
        c->p++;
    }
    if (c->p < c->end && *c->p == '0') {
        c->p++;
    } else if (!scan_digits(c)) {
        return false;
    }
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!scan_digits(c)) {
            return false;
        }
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-')) {
            c->p++;
        }
        return scan_digits(c);
    }
    return true;
}

static bool scan_word(struct cursor *c, struct slice word)
{
    if (!slice_starts(slice_of(c->p, (size_t)(c->end - c->p)), word)) {
        return false;
    }
    c->p += word.len;
    return true;
}

static bool scan_scalar(struct cursor *c)
{
    bool escaped;

    switch (*c->p) {
    case '"':
        return scan_string(c, &escaped);
    case 't':
        return scan_word(c, SLICE("true"));
    case 'f':
        return scan_word(c, SLICE("false"));
    case 'n':
        return scan_word(c, SLICE("null"));
    default:
        return scan_number(c);
    }
}

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t')) {
        c->p++;
    }
}

static bool at(const struct cursor *c, char wanted)
{
    return c->p < c->end && *c->p == wanted;
}

/* A key, its colon and the blanks up to the value. */
static bool scan_key(struct cursor *c, struct slice *key, bool *escaped)
{
    const char *start = c->p;

    if (!scan_string(c, escaped)) {
        return false;
    }
    *key = slice_of(start + 1, (size_t)(c->p - start) - 2);
    skip_blanks(c);
    if (!at(c, ':')) {
        return false;
    }
    c->p++;
    skip_blanks(c);
    return true;
}

static void nesting_push(struct nesting *n, bool is_object)
{
    uint64_t bit = (uint64_t)1 << n->depth % 64;

    if (is_object) {
        n->is_object[n->depth / 64] |= bit;
    } else {
        n->is_object[n->depth / 64] &= ~bit;
    }
    n->depth++;
}

static bool nesting_in_object(const struct nesting *n)
{
    return (n->is_object[(n->depth - 1) / 64] >> (n->depth - 1) % 64 & 1) != 0;
}

static bool scan_inner_key(struct cursor *c, const struct nesting *n)
{
    struct slice key;
    bool escaped;

    return !nesting_in_object(n) || scan_key(c, &key, &escaped);
}

/* At an opening bracket: goes to the first value inside, or behind an empty pair. */
static enum json_status open_value(struct cursor *c, struct nesting *n, bool *inside)
{
    bool is_object = *c->p == '{';

    if (n->depth == JSON_DEPTH_MAX) {
        return JSON_TOO_DEEP;
    }
    nesting_push(n, is_object);
    c->p++;
    skip_blanks(c);
    *inside = !at(c, is_object ? '}' : ']');
    if (*inside) {
        return scan_inner_key(c, n) ? JSON_OK : JSON_INVALID;
    }
    c->p++;
    n->depth--;
    return JSON_OK;
}

/* Behind a value: closes what ends here down to depth `base`, else goes to the next value. */
static bool leave_value(struct cursor *c, struct nesting *n, unsigned base)
{
    while (n->depth > base) {
        skip_blanks(c);
        if (at(c, ',')) {
            c->p++;
            skip_blanks(c);
            return scan_inner_key(c, n);
        }
        if (!at(c, nesting_in_object(n) ? '}' : ']')) {
            return false;
        }
        c->p++;
        n->depth--;
    }
    return true;
}

/* One value from its first byte to behind its last one, inside `base` open arrays and objects. */
static enum json_status scan_value(struct cursor *c, unsigned base)
{
    struct nesting n = {.depth = base};

    do {
        if (c->p == c->end) {
            return JSON_INVALID;
        }
        if (*c->p == '{' || *c->p == '[') {
            bool inside;
            enum json_status status = open_value(c, &n, &inside);

            if (status != JSON_OK) {
                return status;
            }
            if (inside) {
                continue;
            }
        } else if (!scan_scalar(c)) {
            return JSON_INVALID;
        }
        if (!leave_value(c, &n, base)) {
            return JSON_INVALID;
        }
    } while (n.depth > base);
    return JSON_OK;
}

/* The kind a value with that first byte has if it is one. */
static enum json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static enum json_status validate(struct cursor *c, enum json_kind *kind)
{
    enum json_status status;

    skip_blanks(c);
    if (c->p == c->end) {
        return JSON_INVALID;
    }
    *kind = kind_of(*c->p);
    status = scan_value(c, 0);
    skip_blanks(c);
    return status == JSON_OK && c->p < c->end ? JSON_INVALID : status;
}

enum json_status json_validate(struct slice text, enum json_kind *kind)
{
    struct cursor c = cursor_of(text);
    enum json_kind found = JSON_NULL;
    enum json_status status = validate(&c, &found);

    if (kind != NULL && status == JSON_OK) {
        *kind = found;
    }
    return status;
}

/* --- walking --- */

static enum json_status walk_stop(struct json_walk *w, const struct cursor *c,
                                  enum json_status status)
{
    w->error_pos = (size_t)(c->p - w->text.ptr);
    w->pos = w->error_pos;
    w->status = status;
    return status;
}

enum json_status json_walk_begin(struct json_walk *w, struct slice text, enum json_kind kind)
{
    struct cursor c = cursor_of(text);

    text.ptr = c.p;
    *w = (struct json_walk){.text = text, .kind = kind};
    skip_blanks(&c);
    if (!at(&c, kind == JSON_OBJECT ? '{' : '[')) {
        enum json_kind found;
        enum json_status status = validate(&c, &found);

        return walk_stop(w, &c, status == JSON_OK ? JSON_WRONG_KIND : status);
    }
    w->pos = (size_t)(c.p + 1 - text.ptr);
    return JSON_OK;
}

/* At the bracket that closes the walk's value. */
static enum json_status walk_end(struct json_walk *w, struct cursor *c)
{
    c->p++;
    skip_blanks(c);
    return walk_stop(w, c, c->p == c->end ? JSON_END : JSON_INVALID);
}

enum json_status json_walk_next(struct json_walk *w, struct json_member *m)
{
    struct cursor c = {w->text.ptr + w->pos, w->text.ptr + w->text.len};
    const char *start;
    const char *value;
    enum json_status status;

    if (w->status != JSON_OK) {
        return w->status;
    }
    skip_blanks(&c);
    if (at(&c, w->kind == JSON_OBJECT ? '}' : ']')) {
        return walk_end(w, &c);
    }
    if (w->begun) {
        if (!at(&c, ',')) {
            return walk_stop(w, &c, JSON_INVALID);
        }
        c.p++;
        skip_blanks(&c);
    }
    w->begun = true;
    start = c.p;
    *m = (struct json_member){.key = slice_of(start, 0)};
    if (w->kind == JSON_OBJECT && !scan_key(&c, &m->key, &m->key_escaped)) {
        return walk_stop(w, &c, JSON_INVALID);
    }
    value = c.p;
    status = scan_value(&c, 1);
    if (status != JSON_OK) {
        return walk_stop(w, &c, status);
    }
    m->value = slice_of(value, (size_t)(c.p - value));
    m->kind = kind_of(*value);
    m->start = (size_t)(start - w->text.ptr);
    m->end = (size_t)(c.p - w->text.ptr);
    w->pos = m->end;
    return JSON_OK;
}

enum json_status json_find(struct slice text, struct slice key, struct json_member *m)
{
    struct json_walk w;
    enum json_status status = json_walk_begin(&w, text, JSON_OBJECT);

    while (status == JSON_OK) {
        status = json_walk_next(&w, m);
        if (status == JSON_OK && json_key_is(m, key)) {
            return JSON_OK;
        }
    }
    return status;
}
