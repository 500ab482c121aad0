/* SPDX-License-Identifier: Apache-2.0 */
/* tests/vectors/wire.json seen from a client: what it sends for the requests there, byte for byte,
 * which it does not send at all, and what it makes of the answers. */
#include "core_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include <cmocka.h>

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static struct buf bytes_of(yyjson_val *vector)
{
    const char *hex = yyjson_get_str(yyjson_obj_get(vector, "hex"));
    struct buf bytes = {0};

    for (; *hex != '\0'; hex += 2) {
        assert_true(buf_append_byte(&bytes, (char)(digit(hex[0]) * 16 + digit(hex[1]))));
    }
    return bytes;
}

static yyjson_val *find(yyjson_doc *doc, const char *name)
{
    yyjson_val *vector;
    size_t i, count;

    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "vectors"), i, count, vector)
    {
        if (yyjson_equals_str(yyjson_obj_get(vector, "name"), name)) {
            return vector;
        }
    }
    fail_msg("no vector %s", name);
    return NULL;
}

static yyjson_doc *read_vectors(void)
{
    yyjson_doc *doc = yyjson_read_file(MCPGATE_VECTORS "/wire.json", 0, NULL, NULL);

    assert_non_null(doc);
    return doc;
}

/* Only what is about one REQUEST and its payload. */
static bool is_request(struct slice bytes)
{
    struct mcp_header h;

    if (bytes.len < WIRE_HEADER_BYTES) {
        return false;
    }
    h = wire_header_decode((const uint8_t *)bytes.ptr);
    return h.version == WIRE_VERSION && h.opcode == WIRE_OP_REQUEST && h.session_id > 0 &&
           h.length == bytes.len - WIRE_HEADER_BYTES;
}

static void check_request(yyjson_val *vector, struct slice bytes)
{
    yyjson_val *expect = yyjson_obj_get(vector, "expect");
    const char *error = yyjson_get_str(yyjson_obj_get(expect, "error"));
    struct mcp_header h = wire_header_decode((const uint8_t *)bytes.ptr);
    struct slice payload = slice_skip(bytes, WIRE_HEADER_BYTES);
    struct core_fixture f;
    struct err e;
    int rv;

    print_message("  %s\n", yyjson_get_str(yyjson_obj_get(vector, "name")));
    core_set_up(&f, 0);
    core_connect_now(&f);
    rv = client_core_request(&f.core, h.session_id, payload, f.now_ms, &e);
    if (error == NULL || strcmp(error, "unknown_model") == 0) { /* that is for a gateway to say */
        assert_int_equal(rv, 0);
        assert_true(slice_eq(buf_slice(&f.core.out), bytes));
    } else {
        assert_string_equal(mcp_error_name(rv), error);
        assert_int_equal(buf_len(&f.core.out), 0);
    }
    core_tear_down(&f);
}

static void requests_leave_as_in_the_vectors_or_not_at_all(void **state)
{
    yyjson_doc *doc = read_vectors();
    yyjson_val *vector;
    size_t i, count, checked = 0;

    (void)state;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "vectors"), i, count, vector)
    {
        struct buf bytes = bytes_of(vector);

        if (is_request(buf_slice(&bytes))) {
            check_request(vector, buf_slice(&bytes));
            checked++;
        }
        buf_fini(&bytes);
    }
    assert_true(checked >= 10);
    yyjson_doc_free(doc);
}

/* The frames behind HELLO in a vector are what a client sends that agreed on the same. */
static void expect_behind_hello(struct core_fixture *f, yyjson_doc *doc, const char *name)
{
    struct buf bytes = bytes_of(find(doc, name));
    struct slice rest = buf_slice(&bytes);
    struct mcp_header hello = wire_header_decode((const uint8_t *)rest.ptr);

    rest = slice_skip(rest, WIRE_HEADER_BYTES + hello.length);
    assert_true(rest.len > 0 && slice_eq(buf_slice(&f->core.out), rest));
    client_core_wrote(&f->core, buf_len(&f->core.out), f->now_ms);
    buf_fini(&bytes);
}

static void what_was_negotiated_leaves_as_in_the_vectors(void **state)
{
    yyjson_doc *doc = read_vectors();
    struct core_fixture f;

    (void)state;
    core_set_up_with(&f, &(struct client_config){.features = ALL_FEATURES});
    core_welcome(&f, "{\"features\":[\"crc32c\"]}");
    assert_int_equal(core_request(&f, 1, "{\"model\":\"llama3:8b\",\"prompt\":\"Hello\"}"), 0);
    expect_behind_hello(&f, doc, "hello_then_request_crc");
    core_tear_down(&f);

    core_set_up_with(&f, &(struct client_config){.features = ALL_FEATURES});
    core_welcome(&f, "{\"features\":[\"cancel\",\"credit\"],\"window\":131072}");
    assert_int_equal(core_request(&f, 4, GENERATE), 0);
    core_expect_sent(&f, "1 4 " GENERATE "; ");
    core_cancel(&f, 4, 0);
    expect_behind_hello(&f, doc, "cancel_idle");
    {
        char *part = calloc(1, 65536);

        assert_non_null(part);
        memset(part, ' ', 65536);
        core_frame(&f, WIRE_OP_RESPONSE, 4, slice_of(part, 65536));
        free(part);
    }
    expect_behind_hello(&f, doc, "credit"); /* 65536 */
    core_tear_down(&f);
    yyjson_doc_free(doc);
}

static void the_answers_of_the_vectors_are_understood(void **state)
{
    yyjson_doc *doc = read_vectors();
    struct buf stream = bytes_of(find(doc, "response_stream"));
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 0);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    core_feed(&f, buf_slice(&stream));
    assert_int_equal(client_core_in_flight(&f.core), 0); /* each ended at its own "done" */
    assert_int_equal(f.core.state, CLIENT_READY);
    core_tear_down(&f);
    buf_fini(&stream);
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_as_in_the_vectors_or_not_at_all),
        cmocka_unit_test(what_was_negotiated_leaves_as_in_the_vectors),
        cmocka_unit_test(the_answers_of_the_vectors_are_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
