/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/multipart.h"

#include <string.h>

enum { BOUNDARY_MAX = 70 }; /* RFC 2046 5.1.1 */

/* The value of `key` among the parameters behind the first ';'. Quotes are taken off; no escapes,
 * which names and boundaries do not need. */
static struct slice parameter(struct slice header, struct slice key)
{
    const char *at = header.len == 0 ? NULL : memchr(header.ptr, ';', header.len);

    while (at != NULL) {
        struct slice rest = slice_trim(slice_skip(header, (size_t)(at + 1 - header.ptr)));
        struct slice value;
        const char *end;

        if (rest.len > key.len && slice_eq_case(slice_first(rest, key.len), key) &&
            rest.ptr[key.len] == '=') {
            value = slice_skip(rest, key.len + 1);
            if (value.len > 0 && value.ptr[0] == '"') {
                value = slice_skip(value, 1);
                end = value.len == 0 ? NULL : memchr(value.ptr, '"', value.len);
                return end == NULL ? SLICE("") : slice_first(value, (size_t)(end - value.ptr));
            }
            end = value.len == 0 ? NULL : memchr(value.ptr, ';', value.len);
            return slice_trim(end == NULL ? value : slice_first(value, (size_t)(end - value.ptr)));
        }
        at = rest.len == 0 ? NULL : memchr(rest.ptr, ';', rest.len);
    }
    return SLICE("");
}

struct slice multipart_boundary(struct slice content_type)
{
    static const struct slice type = {"multipart/form-data", 19};
    struct slice boundary;

    if (!slice_eq_case(slice_first(content_type, type.len), type)) {
        return SLICE("");
    }
    boundary = parameter(content_type, SLICE("boundary"));
    return boundary.len > BOUNDARY_MAX ? SLICE("") : boundary;
}

/* Where the next delimiter line ("--boundary" at the start of a line) begins; NULL: nowhere. */
static const char *next_delimiter(struct slice body, struct slice boundary)
{
    char dashed[2 + BOUNDARY_MAX];
    const char *at = body.ptr;
    const char *end = body.ptr + body.len;

    memcpy(dashed, "--", 2);
    memcpy(dashed + 2, boundary.ptr, boundary.len);
    while (at < end && (at = memmem(at, (size_t)(end - at), dashed, boundary.len + 2)) != NULL) {
        if (at == body.ptr || at[-1] == '\n') {
            return at;
        }
        at++;
    }
    return NULL;
}

/* Takes one line off `rest`, without its line end. */
static bool take_line(struct slice *rest, struct slice *line)
{
    const char *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

    if (end == NULL) {
        return false;
    }
    *line = slice_first(*rest, (size_t)(end - rest->ptr));
    *rest = slice_skip(*rest, line->len + 1);
    if (line->len > 0 && line->ptr[line->len - 1] == '\r') {
        line->len--;
    }
    return true;
}

/* Reads a part's headers off `rest`; whether they name `field` and no file. */
static bool names_field(struct slice *rest, struct slice field, bool *well_formed)
{
    static const struct slice disposition = {"content-disposition:", 20};
    bool named = false;
    struct slice line;

    while ((*well_formed = take_line(rest, &line)) && line.len > 0) {
        if (slice_eq_case(slice_first(line, disposition.len), disposition)) {
            named = slice_eq(parameter(line, SLICE("name")), field) &&
                    parameter(line, SLICE("filename")).len == 0;
        }
    }
    return named;
}

bool multipart_find(struct slice body, struct slice boundary, struct slice field,
                    struct slice *value)
{
    struct slice rest = body;
    const char *at = boundary.len == 0 ? NULL : next_delimiter(rest, boundary);

    while (at != NULL) {
        struct slice line;
        bool well_formed;
        bool named;

        rest = slice_skip(rest, (size_t)(at - rest.ptr));
        if (!take_line(&rest, &line)) {
            return false;
        }
        named = names_field(&rest, field, &well_formed);
        at = well_formed ? next_delimiter(rest, boundary) : NULL;
        if (named && at != NULL) {
            size_t len = (size_t)(at - rest.ptr);

            len -= len > 0 && rest.ptr[len - 1] == '\n';
            len -= len > 0 && rest.ptr[len - 1] == '\r';
            *value = slice_first(rest, len);
            return true;
        }
    }
    return false;
}
