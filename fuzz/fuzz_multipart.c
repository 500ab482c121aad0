/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any upload. What is found lies in the body, behind a boundary and up to the
 * next one, and is found again in the body cut behind it. Input: a Content-Type, a line end, the
 * body. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "codec/multipart.h"

enum { BOUNDARY_BYTES_MAX = 70 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Line ends may be bare, and an empty value has none. */
static struct slice skip_line_end(struct slice text)
{
    text = slice_skip(text, text.len > 0 && text.ptr[0] == '\r');
    return slice_skip(text, text.len > 0 && text.ptr[0] == '\n');
}

static void check_value(struct slice body, struct slice boundary, struct slice value)
{
    struct slice before = slice_first(body, (size_t)(value.ptr - body.ptr));
    struct slice behind = skip_line_end(slice_skip(body, before.len + value.len));
    struct slice again;

    ASSERT(value.ptr >= body.ptr && before.len + value.len <= body.len);
    ASSERT(memmem(before.ptr, before.len, boundary.ptr, boundary.len) != NULL);
    ASSERT(behind.len >= 2 + boundary.len && memcmp(behind.ptr, "--", 2) == 0);
    ASSERT(memcmp(behind.ptr + 2, boundary.ptr, boundary.len) == 0);
    body = slice_first(body, body.len - behind.len + 2 + boundary.len);
    ASSERT(multipart_find(body, boundary, SLICE("model"), &again) && slice_eq(again, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    const char *end = size == 0 ? NULL : memchr(data, '\n', size);
    struct slice boundary;
    struct slice value;
    struct slice body;

    if (end == NULL) {
        return 0;
    }
    boundary = multipart_boundary(slice_first(in, (size_t)(end - in.ptr)));
    body = slice_skip(in, (size_t)(end - in.ptr) + 1);
    ASSERT(boundary.len <= BOUNDARY_BYTES_MAX);
    if (multipart_find(body, boundary, SLICE("model"), &value)) {
        ASSERT(boundary.len > 0);
        check_value(body, boundary, value);
    }
    return 0;
}
