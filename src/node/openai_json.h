/* SPDX-License-Identifier: Apache-2.0 */
/* JSON helpers of the translation: yyjson with our own allocator, look-up as Go's decoder does it,
 * and values appended to a buf. A buf's failure is sticky: writers append and check once at the end
 * (openai_written). Pure. */
#ifndef MCP_NODE_OPENAI_JSON_H
#define MCP_NODE_OPENAI_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <yyjson.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"
#include "mcp/error.h"

/* NUMBERS_AS_TEXT keeps every number as it was written (yyjson_is_raw). */
enum openai_numbers { OPENAI_NUMBERS_AS_TEXT, OPENAI_NUMBERS_READ };

/* 0; MCP_EBAD_REQUEST: not JSON; MCP_ENOMEM. Free *doc with yyjson_doc_free. */
MUST_CHECK int openai_json_read(yyjson_doc **doc, struct slice text, enum openai_numbers numbers);
/* The value without blanks. 0 or MCP_ENOMEM. */
MUST_CHECK int openai_json_append(struct buf *out, yyjson_val *val);

/* The last member of that name, compared without case, as Go's decoder fills a struct; NULL: none,
 * or `obj` is no object. */
yyjson_val *openai_member(yyjson_val *obj, const char *name);
/* The last member of exactly that name, as Go's decoder fills a map. */
yyjson_val *openai_member_exact(yyjson_val *obj, const char *name);
/* Whether a field has more than its zero value: not absent, null, false, "", [] or {}. */
bool openai_is_set(yyjson_val *val);
/* The text of a string; empty for any other value. */
struct slice openai_text(yyjson_val *val);
/* The text of a number read as text; empty for any other value. */
struct slice openai_number(yyjson_val *val);
static inline bool openai_is_null(yyjson_val *val)
{
    return val == NULL || yyjson_is_null(val);
}

/* Appends `text`, one valid JSON value, without the blanks between its tokens. */
void openai_append_minified(struct buf *out, struct slice text);
/* Appends `"key":` with a comma before it unless it is the first member of the object begun with a
 * "{" that is still the buf's last byte. */
void openai_append_key(struct buf *out, const char *key);
/* 2026-01-02T03:04:05.678901000Z in quotes. */
void openai_append_time(struct buf *out, uint64_t wall_us);

/* 0, or MCP_ENOMEM where an append failed. */
static inline int openai_written(const struct buf *out)
{
    return buf_failed(out) ? MCP_ENOMEM : 0;
}

#endif
