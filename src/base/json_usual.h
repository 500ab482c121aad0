/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over an object for loops that run for every request or answer: inline as long as members
 * are written as programs mostly write them. */
#ifndef MCP_BASE_JSON_USUAL_H
#define MCP_BASE_JSON_USUAL_H

#include "base/json_bytes.h"
#include "base/json_scan.h"

/* What stands behind a string, from a byte inside it; NULL where that are less than `behind` bytes,
 * or not all of the string is plain. */
static inline const char *json_usual_string(const char *p, const char *end, ptrdiff_t behind)
{
    p = json_skip_plain(p, end);
    return end - p > behind && *p == '"' ? p + 1 : NULL;
}

/* The same of a whole number. */
static inline const char *json_usual_number(const char *p, const char *end)
{
    const char *start = p;

    p = json_skip_digits(p, end);
    return p < end && p > start && (*start != '0' || p == start + 1) ? p : NULL;
}

static inline const char *json_usual_word(const char *p, const char *end, struct slice word)
{
    return (size_t)(end - p) > word.len && memcmp(p, word.ptr, word.len) == 0 ? p + word.len : NULL;
}

/* What stands behind an array of them, from behind its bracket: as the tokens of a context are. */
static inline const char *json_usual_numbers(const char *p, const char *end)
{
    for (;;) {
        p = json_usual_number(p, end);
        if (p == NULL || *p != ',') {
            return p != NULL && *p == ']' && end - p >= 2 ? p + 1 : NULL;
        }
        p++;
    }
}

static inline const char *json_usual_value(const char *p, const char *end, enum json_kind *kind)
{
    if (*p == '"') {
        *kind = JSON_STRING;
        return json_usual_string(p + 1, end, 1);
    }
    if (*p <= '9') {
        *kind = JSON_NUMBER;
        return json_usual_number(p, end);
    }
    if (*p == '[') {
        *kind = JSON_ARRAY;
        return json_usual_numbers(p + 1, end);
    }
    *kind = JSON_BOOL;
    return *p == 't' ? json_usual_word(p, end, SLICE("true"))
                     : json_usual_word(p, end, SLICE("false"));
}

/* True: as json_walk_next() with JSON_OK. False: nothing was changed but `m`, json_walk_next() is
 * to be asked. Takes members with a plain key, a value that is a plain string, a whole number or an
 * array of them, true or false, another member or the object's end behind, and no blanks. */
static inline bool json_walk_usual(struct json_walk *w, struct json_member *m)
{
    const char *end = w->text.ptr + w->text.len;
    const char *start = w->text.ptr + w->pos;
    const char *value;
    const char *p;

    if (w->status != JSON_OK || w->kind != JSON_OBJECT || end - start < 2) {
        return false;
    }
    if (w->begun) {
        if (*start != ',') {
            return false;
        }
        start++;
    }
    p = *start == '"' ? json_usual_string(start + 1, end, 2) : NULL;
    if (p == NULL || *p != ':') {
        return false;
    }
    value = p + 1;
    p = json_usual_value(value, end, &m->kind);
    if (p == NULL || (*p != ',' && *p != '}')) {
        return false;
    }
    m->key = slice_of(start + 1, (size_t)(value - start) - 3);
    m->key_escaped = false;
    m->value = slice_of(value, (size_t)(p - value));
    m->start = (size_t)(start - w->text.ptr);
    m->end = (size_t)(p - w->text.ptr);
    w->pos = m->end;
    w->begun = true;
    return true;
}

/* As json_walk_next(). */
static inline enum json_status json_walk_quick(struct json_walk *w, struct json_member *m)
{
    struct json_member other; /* so that the caller's can live in registers */
    enum json_status status;

    if (json_walk_usual(w, m)) {
        return JSON_OK;
    }
    if (w->status == JSON_OK && w->kind == JSON_OBJECT && w->pos + 1 == w->text.len &&
        w->text.ptr[w->pos] == '}') {
        w->pos = w->error_pos = w->text.len;
        return w->status = JSON_END;
    }
    status = json_walk_next(w, &other);
    if (status == JSON_OK) {
        *m = other;
    }
    return status;
}

#endif
