/* SPDX-License-Identifier: Apache-2.0 */
#include "json_oracle.h"

#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "base/json_usual.h"

static bool is_surrogate(const char *p, const char *end, unsigned long *code)
{
    char digits[5] = {0};
    char *stop;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return false;
    }
    memcpy(digits, p + 2, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") != 4) {
        return false;
    }
    *code = strtoul(digits, &stop, 16);
    return *code >= 0xD800 && *code <= 0xDFFF;
}

/* The one difference in reading, taken away: \u escapes of half a surrogate pair become \ufffd. */
static void replace_lone_surrogates(char *p, char *end)
{
    while (p < end) {
        unsigned long first;
        unsigned long second;

        if (*p != '\\') {
            p++;
        } else if (!is_surrogate(p, end, &first)) {
            p += end - p < 2 ? 1 : 2;
        } else if (first < 0xDC00 && is_surrogate(p + 6, end, &second) && second >= 0xDC00) {
            p += 12;
        } else {
            memcpy(p + 2, "fffd", 4);
            p += 6;
        }
    }
}

static unsigned depth_of(yyjson_val *value)
{
    unsigned deepest = 0;
    yyjson_obj_iter members;
    yyjson_arr_iter elements;
    yyjson_val *inner;

    if (yyjson_obj_iter_init(value, &members)) {
        while ((inner = yyjson_obj_iter_next(&members)) != NULL) {
            unsigned depth = depth_of(yyjson_obj_iter_get_val(inner));
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    if (yyjson_arr_iter_init(value, &elements)) {
        while ((inner = yyjson_arr_iter_next(&elements)) != NULL) {
            unsigned depth = depth_of(inner);
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

static enum json_kind kind_in_yyjson(yyjson_val *value)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_OBJ:
        return JSON_OBJECT;
    case YYJSON_TYPE_ARR:
        return JSON_ARRAY;
    case YYJSON_TYPE_STR:
        return JSON_STRING;
    case YYJSON_TYPE_BOOL:
        return JSON_BOOL;
    case YYJSON_TYPE_NULL:
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static struct slice yyjson_text(yyjson_val *value)
{
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

/* Unescaping, and writing what came out of it. */
static const char *string_difference(struct slice quoted, struct slice wanted)
{
    struct buf once;
    struct buf again;
    struct buf twice;
    const char *difference = NULL;

    buf_init(&once, 0);
    buf_init(&again, 0);
    buf_init(&twice, 0);
    if (!json_unescape(quoted, &once) || !slice_eq(buf_slice(&once), wanted)) {
        difference = "unescaped string";
    } else if (!json_append_string(&again, wanted) ||
               json_validate(buf_slice(&again), NULL) != JSON_OK ||
               !json_unescape(buf_slice(&again), &twice) || !slice_eq(buf_slice(&twice), wanted)) {
        difference = "written string";
    }
    buf_fini(&once);
    buf_fini(&again);
    buf_fini(&twice);
    return difference;
}

static const char *value_difference(struct slice text, enum json_kind kind, yyjson_val *wanted);

static const char *key_difference(struct slice text, const struct json_member *m,
                                  yyjson_val *wanted)
{
    struct slice key = yyjson_text(wanted);
    struct json_member found;

    if (text.ptr + m->start + 1 != m->key.ptr ||
        m->key_escaped != (memchr(m->key.ptr, '\\', m->key.len) != NULL)) {
        return "key";
    }
    if (!json_key_is(m, key) || json_find(text, key, &found) != JSON_OK || found.start > m->start ||
        !json_key_is(&found, key)) {
        return "key found";
    }
    return string_difference(slice_of(m->key.ptr - 1, m->key.len + 2), key);
}

static const char *members_difference(struct slice text, enum json_kind kind, yyjson_val *wanted)
{
    struct json_walk w;
    struct json_member m;
    size_t count = yyjson_get_len(wanted);
    size_t last_end = 0;
    yyjson_val *next = count == 0 ? NULL : unsafe_yyjson_get_first(wanted);
    const char *difference = NULL;

    (void)json_walk_begin(&w, text, kind); /* its failure repeats */
    for (size_t i = 0; i < count && difference == NULL; i++) {
        if (json_walk_next(&w, &m) != JSON_OK) {
            return "too few members";
        }
        if (m.start <= last_end || m.end <= m.start || m.end > text.len ||
            m.value.ptr + m.value.len != text.ptr + m.end) {
            return "offsets";
        }
        last_end = m.end;
        if (kind == JSON_OBJECT) {
            difference = key_difference(text, &m, next);
            next = yyjson_obj_iter_get_val(next);
        } else if (m.key.len != 0 || text.ptr + m.start != m.value.ptr) {
            return "element";
        }
        if (difference == NULL) {
            difference = value_difference(m.value, m.kind, next);
        }
        next = unsafe_yyjson_get_next(next);
    }
    if (difference == NULL &&
        (json_walk_next(&w, &m) != JSON_END || json_walk_next(&w, &m) != JSON_END)) {
        difference = "no end";
    }
    return difference;
}

static const char *value_difference(struct slice text, enum json_kind kind, yyjson_val *wanted)
{
    if (kind != kind_in_yyjson(wanted)) {
        return "kind";
    }
    switch (kind) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return members_difference(text, kind, wanted);
    case JSON_STRING:
        return string_difference(text, yyjson_text(wanted));
    case JSON_NUMBER:
        return slice_eq(text, slice_of(yyjson_get_raw(wanted), yyjson_get_len(wanted))) ? NULL
                                                                                        : "number";
    case JSON_BOOL:
        return slice_eq(text, slice_str(yyjson_get_bool(wanted) ? "true" : "false")) ? NULL
                                                                                     : "bool";
    default:
        return slice_eq(text, SLICE("null")) ? NULL : "null";
    }
}

static bool same_member(const struct json_member *a, const struct json_member *b)
{
    return slice_eq(a->key, b->key) && a->key_escaped == b->key_escaped &&
           a->value.ptr == b->value.ptr && a->value.len == b->value.len && a->kind == b->kind &&
           a->start == b->start && a->end == b->end;
}

/* A quick walk must give the same members and the same end. */
static const char *quick_difference(struct slice text, enum json_kind kind)
{
    struct json_walk w[2];
    struct json_member m[2];
    enum json_status status;

    (void)json_walk_begin(&w[0], text, kind);
    (void)json_walk_begin(&w[1], text, kind);
    do {
        status = json_walk_next(&w[0], &m[0]);
        if (json_walk_quick(&w[1], &m[1]) != status) {
            return "verdict of a quick walk";
        }
        if (w[0].pos != w[1].pos || w[0].error_pos != w[1].error_pos ||
            w[0].status != w[1].status || (status == JSON_OK && !same_member(&m[0], &m[1]))) {
            return "a member of a quick walk";
        }
    } while (status == JSON_OK);
    return NULL;
}

/* A walk must come to the same verdict as json_validate. */
static const char *walk_difference(struct slice text, enum json_kind kind, enum json_status valid,
                                   enum json_kind valid_kind)
{
    struct json_walk w;
    struct json_member m;
    enum json_status wanted = valid == JSON_OK ? JSON_END : valid;
    enum json_status status = json_walk_begin(&w, text, kind);

    if (valid == JSON_OK && valid_kind != kind) {
        wanted = JSON_WRONG_KIND;
    }
    while (status == JSON_OK) {
        status = json_walk_next(&w, &m);
    }
    if (status != wanted || json_walk_next(&w, &m) != wanted || w.error_pos > text.len) {
        return "verdict of a walk";
    }
    return quick_difference(text, kind);
}

const char *json_oracle_difference(struct slice text)
{
    char *copy = malloc(text.len + 1);
    enum json_kind kind = JSON_NULL;
    enum json_status status = json_validate(text, &kind);
    const char *difference;
    yyjson_doc *doc;

    if (copy == NULL) {
        return "out of memory";
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    replace_lone_surrogates(copy, copy + text.len);
    doc = yyjson_read_opts(copy, text.len, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    difference = walk_difference(text, JSON_OBJECT, status, kind);
    if (difference == NULL) {
        difference = walk_difference(text, JSON_ARRAY, status, kind);
    }
    if (difference != NULL) {
        /* told below */
    } else if (status == JSON_TOO_DEEP) {
        difference = doc != NULL && depth_of(yyjson_doc_get_root(doc)) <= JSON_DEPTH_MAX
                         ? "not too deep"
                         : NULL;
    } else if ((status == JSON_OK) != (doc != NULL)) {
        difference = doc != NULL ? "refused, but valid" : "accepted, but not valid";
    } else if (doc != NULL) {
        struct slice trimmed = text;

        while (strchr(" \t\r\n", trimmed.ptr[0]) != NULL) {
            trimmed = slice_skip(trimmed, 1);
        }
        while (strchr(" \t\r\n", trimmed.ptr[trimmed.len - 1]) != NULL) {
            trimmed.len--;
        }
        difference = value_difference(trimmed, kind, yyjson_doc_get_root(doc));
    }
    yyjson_doc_free(doc);
    free(copy);
    return difference;
}
