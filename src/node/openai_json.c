/* SPDX-License-Identifier: Apache-2.0 */
#include "node/openai_json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/json_scan.h"

/* yyjson's own default allocator is inside its shared library, where tests cannot make it fail. */
static void *alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *resize(void *ctx, void *ptr, size_t old_size, size_t size)
{
    (void)ctx;
    (void)old_size;
    return realloc(ptr, size);
}

static void release(void *ctx, void *ptr)
{
    (void)ctx;
    free(ptr);
}

static const yyjson_alc allocator = {alloc, resize, release, NULL};

int openai_json_read(yyjson_doc **doc, struct slice text, enum openai_numbers numbers)
{
    yyjson_read_flag flags =
        numbers == OPENAI_NUMBERS_AS_TEXT ? YYJSON_READ_NUMBER_AS_RAW : YYJSON_READ_NOFLAG;
    yyjson_read_err err = {0};
    char *bytes = (char *)(uintptr_t)text.ptr; /* not written to: the text is not read in place */

    *doc = text.len == 0 ? NULL : yyjson_read_opts(bytes, text.len, flags, &allocator, &err);
    if (*doc != NULL) {
        return 0;
    }
    return err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? MCP_ENOMEM : MCP_EBAD_REQUEST;
}

int openai_json_append(struct buf *out, yyjson_val *val)
{
    size_t len = 0;
    char *text = yyjson_val_write_opts(val, YYJSON_WRITE_NOFLAG, &allocator, &len, NULL);

    if (text == NULL) { /* what was read can be written */
        return MCP_ENOMEM;
    }
    (void)buf_append(out, slice_of(text, len)); /* sticky */
    free(text);
    return openai_written(out);
}

static yyjson_val *last_member(yyjson_val *obj, const char *name,
                               bool (*same)(struct slice a, struct slice b))
{
    yyjson_val *found = NULL;
    yyjson_val *key;
    yyjson_obj_iter iter;

    if (!yyjson_is_obj(obj) || !yyjson_obj_iter_init(obj, &iter)) {
        return NULL;
    }
    while ((key = yyjson_obj_iter_next(&iter)) != NULL) {
        if (same(slice_of(yyjson_get_str(key), yyjson_get_len(key)), slice_str(name))) {
            found = yyjson_obj_iter_get_val(key);
        }
    }
    return found;
}

yyjson_val *openai_member(yyjson_val *obj, const char *name)
{
    return last_member(obj, name, slice_eq_case);
}

yyjson_val *openai_member_exact(yyjson_val *obj, const char *name)
{
    return last_member(obj, name, slice_eq);
}

bool openai_is_set(yyjson_val *val)
{
    if (openai_is_null(val) || yyjson_is_false(val)) {
        return false;
    }
    if (yyjson_is_str(val)) {
        return yyjson_get_len(val) > 0;
    }
    return !yyjson_is_ctn(val) || yyjson_get_len(val) > 0;
}

struct slice openai_text(yyjson_val *val)
{
    return yyjson_is_str(val) ? slice_of(yyjson_get_str(val), yyjson_get_len(val)) : SLICE("");
}

struct slice openai_number(yyjson_val *val)
{
    return yyjson_is_raw(val) ? slice_of(yyjson_get_raw(val), yyjson_get_len(val)) : SLICE("");
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void openai_append_minified(struct buf *out, struct slice text)
{
    const char *end = text.ptr + text.len;
    bool in_string = false;

    for (const char *p = text.ptr; p < end;) {
        const char *run = p;

        for (; p < end && (in_string || !is_blank(*p)); p++) {
            if (*p == '"') {
                in_string = !in_string;
            } else if (*p == '\\') {
                p++; /* of a valid text something follows */
            }
        }
        (void)buf_append(out, slice_of(run, (size_t)(p - run))); /* sticky */
        for (; p < end && is_blank(*p); p++) {
        }
    }
}

void openai_append_key(struct buf *out, const char *key)
{
    struct slice so_far = buf_slice(out);

    if (so_far.len > 0 && so_far.ptr[so_far.len - 1] != '{') {
        (void)buf_append_byte(out, ',');
    }
    (void)buf_printf(out, "\"%s\":", key); /* sticky */
}

void openai_append_time(struct buf *out, uint64_t wall_us)
{
    static const uint64_t year_9999_s = 253402300799;
    uint64_t seconds = wall_us / 1000000;
    time_t when = (time_t)(seconds < year_9999_s ? seconds : year_9999_s);
    struct tm tm = {0};
    char text[32];

    (void)gmtime_r(&when, &tm); /* in range */
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)buf_printf(out, "\"%s.%06u000Z\"", text, (unsigned)(wall_us % 1000000)); /* sticky */
}
