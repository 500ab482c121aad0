/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar half of the scanner; strings are unescaped and written in json_text.c. */
#include "base/json_scan.h"

#include <string.h>

#include "base/json_bytes.h"
#include "base/utf8.h"

/* A scanning function takes where it begins, at or before `end`, and returns where it is done; NULL
 * where the text is refused. Locations are not kept in here, so that they stay in registers. */
struct scan {
    const char *end;
    const char *stop;        /* what it was refused for, and where */
    enum json_status status; /* JSON_OK as long as it is not */
    bool escaped;            /* a string held a backslash */
};

/* The arrays and objects that are open, outermost first. */
struct nesting {
    uint64_t is_object[JSON_DEPTH_MAX / 64];
    unsigned depth;
};

static const char *refuse(struct scan *s, const char *at)
{
    s->stop = at;
    s->status = JSON_INVALID;
    return NULL;
}

/* --- strings --- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The length of the escape at `p`, a backslash; 0: it is none. */
static size_t escape_len(const char *p, const char *end)
{
    if (end - p < 2) {
        return 0;
    }
    if (p[1] != 'u') {
        return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? 2 : 0;
    }
    if (end - p < 6) {
        return 0;
    }
    for (int i = 2; i < 6; i++) {
        if (!is_hex(p[i])) {
            return 0;
        }
    }
    return 6;
}

/* From a byte of a string that does not stand for itself. */
static const char *scan_string_rest(struct scan *s, const char *p)
{
    while (p < s->end && *p != '"') {
        size_t len = 0;

        if (*p == '\\') {
            s->escaped = true;
            len = escape_len(p, s->end);
        } else if ((unsigned char)*p >= 0x80) {
            len = utf8_sequence(p, (size_t)(s->end - p));
        }
        if (len == 0) {
            return refuse(s, p);
        }
        p += len;
        if (p < s->end && json_byte_is_plain(*p)) { /* letters of a script come in runs */
            p = json_skip_plain(p, s->end);
        }
    }
    return p < s->end ? p + 1 : refuse(s, p);
}

/* From the opening quote to behind the closing one. */
static inline const char *scan_string(struct scan *s, const char *p)
{
    if (p == s->end || *p != '"') {
        return refuse(s, p);
    }
    p = json_skip_plain(p + 1, s->end);
    return p < s->end && *p == '"' ? p + 1 : scan_string_rest(s, p);
}

/* --- other scalars --- */

static inline const char *scan_digits(struct scan *s, const char *p)
{
    const char *start = p;

    p = json_skip_digits(p, s->end);
    return p > start ? p : refuse(s, p);
}

/* From behind the digits of the whole part, where something follows. */
static const char *scan_fraction(struct scan *s, const char *p)
{
    if (*p == '.') {
        p = scan_digits(s, p + 1);
        if (p == NULL) {
            return NULL;
        }
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < s->end && (*p == '+' || *p == '-')) {
            p++;
        }
        return scan_digits(s, p);
    }
    return p;
}

static inline const char *scan_number(struct scan *s, const char *p)
{
    if (*p == '-') {
        p++;
    }
    if (p < s->end && *p == '0') {
        p++;
    } else {
        p = scan_digits(s, p);
        if (p == NULL) {
            return NULL;
        }
    }
    return p == s->end || *p == ',' ? p : scan_fraction(s, p);
}

static inline const char *scan_word(struct scan *s, const char *p, struct slice word)
{
    return slice_starts(slice_of(p, (size_t)(s->end - p)), word) ? p + word.len : refuse(s, p);
}

/* The kind is what a value with that first byte has if it is one. */
static inline const char *scan_scalar(struct scan *s, const char *p, enum json_kind *kind)
{
    switch (*p) {
    case '"':
        *kind = JSON_STRING;
        return scan_string(s, p);
    case 't':
        *kind = JSON_BOOL;
        return scan_word(s, p, SLICE("true"));
    case 'f':
        *kind = JSON_BOOL;
        return scan_word(s, p, SLICE("false"));
    case 'n':
        *kind = JSON_NULL;
        return scan_word(s, p, SLICE("null"));
    default:
        *kind = JSON_NUMBER;
        return scan_number(s, p);
    }
}

/* --- what is between them --- */

/* Mostly there are none. */
static inline const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

static inline bool is_at(const struct scan *s, const char *p, char wanted)
{
    return p < s->end && *p == wanted;
}

/* From behind a key to its value. */
static inline const char *scan_colon(struct scan *s, const char *p)
{
    p = skip_blanks(p, s->end);
    return is_at(s, p, ':') ? skip_blanks(p + 1, s->end) : refuse(s, p);
}

/* --- arrays and objects --- */

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

static inline bool nesting_in_object(const struct nesting *n)
{
    return (n->is_object[(n->depth - 1) / 64] >> (n->depth - 1) % 64 & 1) != 0;
}

static const char *scan_inner_key(struct scan *s, const struct nesting *n, const char *p)
{
    if (!nesting_in_object(n)) {
        return p;
    }
    p = scan_string(s, p);
    return p == NULL ? NULL : scan_colon(s, p);
}

/* From an opening bracket to the first value inside, or behind an empty pair. */
static const char *open_value(struct scan *s, struct nesting *n, const char *p, bool *inside)
{
    bool is_object = *p == '{';

    if (n->depth == JSON_DEPTH_MAX) {
        (void)refuse(s, p);
        s->status = JSON_TOO_DEEP;
        return NULL;
    }
    nesting_push(n, is_object);
    p = skip_blanks(p + 1, s->end);
    *inside = !is_at(s, p, is_object ? '}' : ']');
    if (*inside) {
        return scan_inner_key(s, n, p);
    }
    n->depth--;
    return p + 1;
}

/* From behind a value: closes what ends here down to depth `base`, else goes to the next value. */
static inline const char *leave_value(struct scan *s, struct nesting *n, unsigned base,
                                      const char *p)
{
    while (n->depth > base) {
        p = skip_blanks(p, s->end);
        if (is_at(s, p, ',')) {
            return scan_inner_key(s, n, skip_blanks(p + 1, s->end));
        }
        if (!is_at(s, p, nesting_in_object(n) ? '}' : ']')) {
            return refuse(s, p);
        }
        p++;
        n->depth--;
    }
    return p;
}

/* A scalar; in an array also those behind it, as long as nothing but commas is between them. */
static inline const char *scan_scalars(struct scan *s, const struct nesting *n, const char *p)
{
    bool in_array = !nesting_in_object(n);
    enum json_kind kind;

    for (;;) {
        p = scan_scalar(s, p, &kind);
        if (p == NULL || !in_array || s->end - p < 2 || *p != ',' || p[1] <= ' ' || p[1] == '[' ||
            p[1] == '{') {
            return p;
        }
        p++;
    }
}

/* An array or object from its first byte to behind its last one, inside `base` open ones. */
static const char *scan_nested(struct scan *s, const char *p, unsigned base)
{
    struct nesting n = {.depth = base};

    do {
        if (p == s->end) {
            return refuse(s, p);
        }
        if (*p == '{' || *p == '[') {
            bool inside;

            p = open_value(s, &n, p, &inside);
            if (p == NULL) {
                return NULL;
            }
            if (inside) {
                continue;
            }
        } else {
            p = scan_scalars(s, &n, p);
            if (p == NULL) {
                return NULL;
            }
        }
        p = leave_value(s, &n, base, p);
        if (p == NULL) {
            return NULL;
        }
    } while (n.depth > base);
    return p;
}

/* One value, likewise. */
static inline const char *scan_value(struct scan *s, const char *p, unsigned base,
                                     enum json_kind *kind)
{
    if (p == s->end) {
        return refuse(s, p);
    }
    if (*p == '{' || *p == '[') {
        *kind = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
        return scan_nested(s, p, base);
    }
    return scan_scalar(s, p, kind);
}

/* From the start of the text to its end. */
static const char *scan_text(struct scan *s, const char *p, enum json_kind *kind)
{
    p = scan_value(s, skip_blanks(p, s->end), 0, kind);
    if (p == NULL) {
        return NULL;
    }
    p = skip_blanks(p, s->end);
    return p < s->end ? refuse(s, p) : p;
}

/* Never NULL. */
static const char *start_of(struct slice text)
{
    return text.ptr == NULL ? "" : text.ptr;
}

enum json_status json_validate(struct slice text, enum json_kind *kind)
{
    const char *start = start_of(text);
    struct scan s = {.end = start + text.len};
    enum json_kind found = JSON_NULL;

    if (scan_text(&s, start, &found) != NULL && kind != NULL) {
        *kind = found;
    }
    return s.status;
}

/* --- walking --- */

static enum json_status walk_stop(struct json_walk *w, const char *at, enum json_status status)
{
    w->error_pos = (size_t)(at - w->text.ptr);
    w->pos = w->error_pos;
    w->status = status;
    return status;
}

/* The text does not begin as it must. */
static enum json_status walk_refuse(struct json_walk *w)
{
    struct scan s = {.end = w->text.ptr + w->text.len};
    enum json_kind found;
    const char *p = scan_text(&s, w->text.ptr, &found);

    return p != NULL ? walk_stop(w, p, JSON_WRONG_KIND) : walk_stop(w, s.stop, s.status);
}

enum json_status json_walk_begin(struct json_walk *w, struct slice text, enum json_kind kind)
{
    const char *start = start_of(text);
    const char *end = start + text.len;
    const char *p = skip_blanks(start, end);

    *w = (struct json_walk){
        .text = slice_of(start, text.len),
        .pos = (size_t)(p + 1 - start),
        .kind = kind,
    };
    return p < end && *p == (kind == JSON_OBJECT ? '{' : '[') ? JSON_OK : walk_refuse(w);
}

/* At the bracket that closes the walk's value. */
static enum json_status walk_end(struct json_walk *w, const char *p)
{
    const char *end = w->text.ptr + w->text.len;

    p = skip_blanks(p + 1, end);
    return walk_stop(w, p, p == end ? JSON_END : JSON_INVALID);
}

enum json_status json_walk_next(struct json_walk *w, struct json_member *m)
{
    const char *p = w->text.ptr + w->pos;
    struct scan s = {.end = w->text.ptr + w->text.len};
    bool is_object = w->kind == JSON_OBJECT;
    const char *start;
    const char *value;

    if (w->status != JSON_OK) {
        return w->status;
    }
    p = skip_blanks(p, s.end);
    if (is_at(&s, p, is_object ? '}' : ']')) {
        return walk_end(w, p);
    }
    if (w->begun) {
        if (!is_at(&s, p, ',')) {
            return walk_stop(w, p, JSON_INVALID);
        }
        p = skip_blanks(p + 1, s.end);
    }
    w->begun = true;
    start = p;
    m->key = slice_of(p, 0);
    m->key_escaped = false;
    if (is_object) {
        p = scan_string(&s, p);
        if (p == NULL) {
            return walk_stop(w, s.stop, s.status);
        }
        m->key = slice_of(start + 1, (size_t)(p - start) - 2);
        m->key_escaped = s.escaped;
        p = scan_colon(&s, p);
        if (p == NULL) {
            return walk_stop(w, s.stop, s.status);
        }
    }
    value = p;
    p = scan_value(&s, p, 1, &m->kind);
    if (p == NULL) {
        return walk_stop(w, s.stop, s.status);
    }
    w->pos = (size_t)(p - w->text.ptr);
    m->value = slice_of(value, (size_t)(p - value));
    m->start = (size_t)(start - w->text.ptr);
    m->end = w->pos;
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
