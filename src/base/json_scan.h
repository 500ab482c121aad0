/* SPDX-License-Identifier: Apache-2.0 */
/* A strict scanner of JSON text: says whether a text is one valid value, and walks the members of
 * one object or the elements of one array with their offsets, without building anything. Reads what
 * yyjson reads with numbers left as text (RFC 8259: strict UTF-8, no trailing comma, no BOM, 1e999
 * is a number), with two differences: a limit on depth, and a \u escape of half a surrogate pair is
 * read as U+FFFD, which is how Ollama's decoder reads it. Sans-IO, no memory of its own; slices
 * borrow the input. */
#ifndef MCP_BASE_JSON_SCAN_H
#define MCP_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { JSON_DEPTH_MAX = 128 }; /* arrays and objects inside each other, the outermost included */

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum json_status {
    JSON_OK = 0,
    JSON_END = 1,         /* the walk is over, the rest of the text is fine */
    JSON_INVALID = -1,    /* not JSON */
    JSON_TOO_DEEP = -2,   /* nested deeper than JSON_DEPTH_MAX */
    JSON_WRONG_KIND = -3, /* valid, but not the kind of value asked for */
};

/* One member of an object (or element of an array: then `key` is empty). */
struct json_member {
    struct slice key;   /* between the quotes, still escaped */
    bool key_escaped;   /* holds a backslash */
    struct slice value; /* the text of the value, no blanks around */
    enum json_kind kind;
    size_t
        start;  /* offset of the key's (element's) first byte in the text, a key's quote included */
    size_t end; /* offset behind the value's last byte */
};

struct json_walk {
    struct slice text;
    size_t pos;              /* after json_walk_begin: behind the opening bracket */
    size_t error_pos;        /* where JSON_INVALID or JSON_TOO_DEEP was found */
    enum json_kind kind;     /* JSON_OBJECT or JSON_ARRAY */
    enum json_status status; /* what ended the walk, else JSON_OK */
    bool begun;              /* a member was read */
};

/* Starts a walk over `text`, which must be one object or array (`kind`) with blanks around it at
 * most. */
enum json_status json_walk_begin(struct json_walk *w, struct slice text, enum json_kind kind);
/* JSON_OK and the next member, JSON_END after the last one once everything behind it was checked
 * too, or an error. The end and an error repeat. */
enum json_status json_walk_next(struct json_walk *w, struct json_member *m);

/* Whether `text` is one valid value; its kind in `kind` where that is not NULL. */
enum json_status json_validate(struct slice text, enum json_kind *kind);

/* The first member called `key` (compared after unescaping, exactly) of the object `text`; JSON_END
 * where there is none and the whole text is valid. What stands behind a member found is not
 * checked. */
enum json_status json_find(struct slice text, struct slice key, struct json_member *m);
/* The same of a key that holds a backslash. */
bool json_escaped_key_is(const struct json_member *m, struct slice name);
/* Whether the member's key, unescaped, is `name`. */
static inline bool json_key_is(const struct json_member *m, struct slice name)
{
    return m->key_escaped ? json_escaped_key_is(m, name) : slice_eq(m->key, name);
}

/* Takes the first character off the inside of a valid JSON string that is not empty, and unescapes
 * it. */
uint32_t json_take_char(struct slice *escaped);
/* Appends the unescaped string to `out`. `quoted` is a JSON string with its quotes, already known
 * to be valid. A lone surrogate becomes U+FFFD. False when an append failed; part of it may be
 * there then. */
bool json_unescape(struct slice quoted, struct buf *out);
/* Appends `text` as a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD, each of
 * them. */
bool json_append_string(struct buf *out, struct slice text);

/* The value of a JSON number that is a whole number from 0 to 2^63-1, written without sign,
 * fraction or exponent; false for any other text. */
bool json_uint(struct slice value, uint64_t *out);

#endif
