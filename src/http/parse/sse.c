/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse/sse.h"

/* Cuts the first line off `rest`. */
static struct slice next_line(struct slice *rest)
{
    size_t len = 0;
    size_t end;
    struct slice line;

    while (len < rest->len && rest->ptr[len] != '\n' && rest->ptr[len] != '\r') {
        len++;
    }
    end = len;
    if (end < rest->len) {
        end += rest->ptr[end] == '\r' && end + 1 < rest->len && rest->ptr[end + 1] == '\n' ? 2 : 1;
    }
    line = slice_first(*rest, len);
    *rest = slice_skip(*rest, end);
    return line;
}

/* The field's name; its value in `value`. */
static struct slice split_field(struct slice line, struct slice *value)
{
    const char *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
    size_t len = colon == NULL ? line.len : (size_t)(colon - line.ptr);

    *value = slice_skip(line, colon == NULL ? len : len + 1);
    if (value->len > 0 && value->ptr[0] == ' ') {
        *value = slice_skip(*value, 1);
    }
    return slice_first(line, len);
}

static bool add_data(struct sse_event *ev, struct buf *scratch, struct slice value, size_t lines)
{
    if (lines == 0) {
        ev->data = value;
        ev->has_data = true;
        return true;
    }
    if (lines == 1 && !buf_append(scratch, ev->data)) {
        return false;
    }
    if (!buf_append_byte(scratch, '\n') || !buf_append(scratch, value)) {
        return false;
    }
    ev->data = buf_slice(scratch);
    return true;
}

bool sse_event_read(struct slice block, struct buf *scratch, struct sse_event *ev)
{
    size_t lines = 0;

    *ev = (struct sse_event){.event = SLICE(""), .data = SLICE("")};
    buf_clear(scratch);
    while (block.len > 0) {
        struct slice value;
        struct slice line = next_line(&block);
        struct slice name = split_field(line, &value);

        if (slice_eq(name, SLICE("data"))) {
            if (!add_data(ev, scratch, value, lines)) {
                return false;
            }
            lines++;
        } else if (slice_eq(name, SLICE("event"))) {
            ev->event = value;
        }
    }
    return true;
}
