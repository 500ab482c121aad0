/* SPDX-License-Identifier: Apache-2.0 */
/* tests/vectors/wire.json as far as frames go: which are delivered, what is refused, echoed, waited
 * for. What the payloads mean is the codec's and the gateway's to test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <yyjson.h>

#include <cmocka.h>

#include "feed.h"
#include "mcp/error.h"
#include "wire/conn.h"

static struct slice str_of(yyjson_val *object, const char *key)
{
    yyjson_val *val = yyjson_obj_get(object, key);

    return slice_of(yyjson_get_str(val), yyjson_get_len(val));
}

static uint32_t u32_of(yyjson_val *object, const char *key)
{
    return (uint32_t)yyjson_get_uint(yyjson_obj_get(object, key));
}

/* Takes the next line off the log; its payload is `length` bytes, which may hold newlines. */
static void expect_frame(struct buf *log, yyjson_val *frame)
{
    yyjson_val *length = yyjson_obj_get(frame, "length");
    yyjson_val *payload = yyjson_obj_get(frame, "payload_utf8");
    struct buf want = {0};
    struct slice got;
    size_t payload_len;

    buf_printf(&want, "%s %u ", wire_opcode_info((uint8_t)u32_of(frame, "opcode"))->name,
               u32_of(frame, "session_id"));
    assert_true(slice_starts(buf_slice(log), buf_slice(&want)));
    got = slice_skip(buf_slice(log), buf_len(&want));
    if (payload != NULL) {
        payload_len = yyjson_get_len(payload);
    } else if (length != NULL && u32_of(frame, "opcode") != WIRE_OP_CREDIT) {
        payload_len = yyjson_get_uint(length);
        assert_true(payload_len < got.len);
    } else { /* a number, or JSON on one line */
        payload_len = (size_t)((const char *)memchr(got.ptr, '\n', got.len) - got.ptr);
    }
    assert_int_equal(got.ptr[payload_len], '\n');
    if (payload != NULL) {
        assert_true(slice_eq(slice_first(got, payload_len), str_of(frame, "payload_utf8")));
    }
    buf_consume(log, buf_len(&want) + payload_len + 1);
    buf_fini(&want);
}

static void expect_refusal(struct buf *log, yyjson_val *expect)
{
    bool anywhere = yyjson_obj_get(expect, "error_session") == NULL;
    uint32_t session = anywhere ? 4 : u32_of(expect, "error_session"); /* that of such vectors */
    struct buf want = {0};

    buf_printf(&want, "REFUSE %u %s%s\n", session, yyjson_get_str(yyjson_obj_get(expect, "error")),
               yyjson_get_bool(yyjson_obj_get(expect, "closes")) ? " close" : "");
    assert_true(slice_eq(buf_slice(log), buf_slice(&want)));
    buf_clear(log);
    buf_fini(&want);
}

static void expect_incomplete(const struct wire_config *config, struct slice bytes)
{
    struct buf log = {0};
    struct wire_conn c;

    wire_conn_init(&c, config);
    feed_piece(&c, bytes, 1000, &log);
    assert_int_equal(buf_len(&log), 0);
    assert_true(wire_conn_in_frame(&c));
    assert_int_equal(wire_conn_deadline_ms(&c), 11000);
    wire_conn_fini(&c);
    buf_fini(&log);
}

static void expect_reply(struct slice bytes, const char *reply_hex)
{
    struct buf want = {0}, got = {0};
    struct wire_event ev;
    struct wire_conn c;
    ptrdiff_t used;

    wire_conn_init(&c, &(struct wire_config){.max_frame_bytes = WIRE_MAX_FRAME_BYTES});
    feed_hex(&want, reply_hex);
    while ((used = wire_conn_recv(&c, bytes, 1000, &ev)) > 0) {
        assert_int_equal(ev.kind, WIRE_EVENT_HEARTBEAT);
        assert_true(wire_frame_append(&got, WIRE_OP_HEARTBEAT, ev.session, ev.payload));
        bytes = slice_skip(bytes, (size_t)used);
    }
    assert_true(slice_eq(buf_slice(&want), buf_slice(&got)));
    wire_conn_fini(&c);
    buf_fini(&want);
    buf_fini(&got);
}

/* What the frames do is written down by one line behind them. */
static void expect_end(struct buf *log, yyjson_val *expect, const char *name)
{
    struct slice error = str_of(expect, "error");
    bool of_payload = strncmp(name, "request_", 8) == 0 || strncmp(name, "payload_", 8) == 0;

    if (yyjson_obj_get(expect, "raw_prefix_hex") != NULL) {
        assert_true(slice_eq(buf_slice(log), SLICE("HTTP\n")));
    } else if (slice_eq(error, SLICE("corrupt"))) {
        assert_true(slice_eq(buf_slice(log), SLICE("CORRUPT\n")));
    } else if (error.len > 0 && yyjson_obj_get(expect, "frames") == NULL && of_payload &&
               strcmp(name, "request_session_0") != 0) {
        assert_true(slice_starts(buf_slice(log), SLICE("REQUEST 6 {")));
    } else if (error.len > 0 && buf_len(log) > 0) {
        expect_refusal(log, expect);
    } else {
        assert_int_equal(buf_len(log), 0);
    }
}

/* Where it says nothing of the frames it begins with. */
static void skip_line(struct buf *log, yyjson_val *expect, const char *what)
{
    struct slice all = buf_slice(log);

    if (yyjson_obj_get(expect, "frames") == NULL && slice_starts(all, slice_str(what))) {
        buf_consume(log, (size_t)((const char *)memchr(all.ptr, '\n', all.len) - all.ptr) + 1);
    }
}

static void check_vector(yyjson_val *vector, const char *name)
{
    yyjson_val *expect = yyjson_obj_get(vector, "expect");
    yyjson_val *frames = yyjson_obj_get(expect, "frames"), *frame;
    struct wire_config config = {.max_frame_bytes = WIRE_MAX_FRAME_BYTES};
    struct buf bytes = {0}, log = {0};
    size_t i, max;

    if (slice_eq(str_of(expect, "role"), SLICE("client"))) {
        config.role = WIRE_CLIENT;
    }
    feed_hex(&bytes, yyjson_get_str(yyjson_obj_get(vector, "hex")));
    feed_all_ways(&config, buf_slice(&bytes), &log);

    yyjson_arr_foreach(frames, i, max, frame)
    {
        expect_frame(&log, frame);
    }
    skip_line(&log, expect, "HEARTBEAT 0");
    skip_line(&log, expect, "HELLO 0 ");
    skip_line(&log, expect, "CANCEL 4 ");
    skip_line(&log, expect, "HEARTBEAT 5 x");
    expect_end(&log, expect, name);
    if (yyjson_get_bool(yyjson_obj_get(expect, "incomplete"))) {
        expect_incomplete(&config, buf_slice(&bytes));
    }
    if (yyjson_obj_get(expect, "reply_hex") != NULL) {
        expect_reply(buf_slice(&bytes), yyjson_get_str(yyjson_obj_get(expect, "reply_hex")));
    }
    buf_fini(&bytes);
    buf_fini(&log);
}

static void every_vector(void **state)
{
    yyjson_doc *doc = yyjson_read_file(MCPGATE_VECTORS "/wire.json", 0, NULL, NULL);
    yyjson_val *vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "vectors"), *vector;
    size_t i, max, checked = 0;

    (void)state;
    assert_non_null(doc);
    yyjson_arr_foreach(vectors, i, max, vector)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(vector, "name"));

        print_message("  %s\n", name);
        check_vector(vector, name);
        checked++;
    }
    assert_true(checked >= 48);
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
