/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/part.h"

#include <string.h>

#include "base/json_usual.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice skip_blanks(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s = slice_skip(s, 1);
    }
    return s;
}

static bool starts_with_error(struct slice part)
{
    part = skip_blanks(part);
    return slice_starts(part, SLICE("{")) &&
           slice_starts(skip_blanks(slice_skip(part, 1)), SLICE("\"error\""));
}

/* Whether a key done with a value that begins like true stands anywhere, a tool call's text
 * included. Inside a JSON string its quotes would be escaped, so that text which a model writes is
 * no hit. */
static bool mentions_done(struct slice part)
{
    static const struct slice key = SLICE("done\"");
    const char *found;

    /* By its first letter: memmem makes a table first, which takes longer than most parts. */
    while (part.len > 1 && (found = memchr(part.ptr + 1, key.ptr[0], part.len - 1)) != NULL) {
        bool quoted = found[-1] == '"';
        struct slice rest;

        part = slice_skip(part, (size_t)(found - part.ptr));
        if (!quoted || !slice_starts(part, key)) {
            continue;
        }
        rest = skip_blanks(slice_skip(part, key.len));
        if (slice_starts(rest, SLICE(":")) &&
            slice_starts(skip_blanks(slice_skip(rest, 1)), SLICE("t"))) {
            return true;
        }
    }
    return false;
}

/* How nearly every part of a stream ends. If it is JSON, this is its last top-level member,
 * whatever another one before it says. */
static bool ends_not_done(struct slice part)
{
    static const struct slice end = SLICE(",\"done\":false}");

    return part.len > end.len && memcmp(part.ptr + part.len - end.len, end.ptr, end.len) == 0;
}

/* An empty text is no error, as in Ollama's own client. */
static bool is_error(const struct json_member *m)
{
    struct json_member message;

    return (m->kind == JSON_STRING && m->value.len > 2) ||
           (m->kind == JSON_OBJECT && json_find(m->value, SLICE("message"), &message) == JSON_OK);
}

static bool has_braces(struct slice part)
{
    part = skip_blanks(part);
    while (part.len > 0 && is_blank(part.ptr[part.len - 1])) {
        part.len--;
    }
    return part.len >= 2 && part.ptr[0] == '{' && part.ptr[part.len - 1] == '}';
}

enum part_kind part_classify(struct slice part)
{
    if (!has_braces(part)) {
        return PART_INVALID;
    }
    if (!starts_with_error(part) && (ends_not_done(part) || !mentions_done(part))) {
        return PART_MIDDLE;
    }
    return part_classify_whole(part);
}

enum part_kind part_classify_whole(struct slice part)
{
    struct json_walk w;
    enum json_status status;
    struct json_member m;
    bool error = false;
    bool last = false;

    (void)json_walk_begin(&w, part, JSON_OBJECT); /* what it says, the walk repeats */
    while ((status = json_walk_quick(&w, &m)) == JSON_OK) {
        if (json_key_is(&m, SLICE("error"))) {
            error = error || is_error(&m);
        } else if (json_key_is(&m, SLICE("done"))) {
            last = m.kind == JSON_BOOL && m.value.ptr[0] == 't';
        }
    }
    if (status != JSON_END) {
        return PART_INVALID;
    }
    if (error) {
        return PART_ERROR;
    }
    return last ? PART_LAST : PART_MIDDLE;
}
