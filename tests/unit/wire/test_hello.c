/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "mcp/error.h"

enum {
    ALL = WIRE_SINCE_BASE | WIRE_SINCE_ACK | WIRE_SINCE_CANCEL | WIRE_SINCE_CREDIT |
          WIRE_SINCE_CRC32C | WIRE_SINCE_GOAWAY | WIRE_SINCE_CHUNK
};

static const struct wire_offer OFFER = {
    .codecs = 1 << WIRE_CODEC_JSON,
    .features = ALL,
    .heartbeat_ms = WIRE_HEARTBEAT_MS,
    .max_frame_bytes = 1 << 20,
    .window_bytes = 100000,
    .max_sessions = 4096,
    .server = "mcpgate/0.1",
};

static void assert_text(const struct buf *b, const char *want)
{
    struct slice got = buf_slice(b);

    assert_false(buf_failed(b));
    if (!slice_eq(got, slice_str(want))) {
        fail_msg("got:\n%.*s\nwant:\n%s", SLICE_ARG(got), want);
    }
}

static void assert_slice(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_str(want))) {
        fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), want);
    }
}

/* In a block of exactly its size, so that reading beyond it is found. */
static struct slice block_of(const char *text)
{
    char *block = malloc(strlen(text) + (text[0] == '\0'));

    assert_non_null(block);
    memcpy(block, text, strlen(text));
    return slice_of(block, strlen(text));
}

static int read_hello(struct wire_hello *h, const char *text, struct err *e)
{
    struct slice block = block_of(text);
    int rv = wire_hello_read(h, 0, block, e);

    if (h->auth.ptr != NULL || h->client.ptr != NULL) {
        fail_msg("read_hello is not for what is borrowed");
    }
    free((void *)(uintptr_t)block.ptr);
    return rv;
}

/* --- HELLO ---------------------------------------------------------------------------------------
 */

static void absent_members_have_defaults(void **state)
{
    static const char *const TEXTS[] = {
        "{}",
        " { \"versions\" : [1] } ",
        "{\"heartbeat_ms\":null,\"features\":null,\"codecs\":null,\"versions\":null,\"auth\":null}",
        "{\"x\":{\"versions\":[9]},\"Versions\":[9],\"codec\":\"y\"}",
    };
    struct wire_hello h;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        assert_int_equal(read_hello(&h, TEXTS[i], &e), 0);
        assert_true(h.version_1 && h.only_json);
        assert_int_equal(h.codec_count, 1);
        assert_int_equal(h.codecs[0], WIRE_CODEC_JSON);
        assert_int_equal(h.features, WIRE_SINCE_BASE);
        assert_int_equal(h.heartbeat_ms, 30000);
        assert_int_equal(h.max_frame_bytes, 16777216);
        assert_int_equal(h.window_bytes, 262144);
    }
}

static void what_is_offered_is_read(void **state)
{
    struct slice text = SLICE(
        "{\"versions\":[3,1,2],\"codecs\":[\"protobuf\",\"avro\",\"js\\u006fn\",\"json\",7],"
        "\"features\":[\"chunk\",\"nothing\",3,\"ack\",\"crc32c\",\"ack\"],\"heartbeat_ms\":1,"
        "\"max_frame\":4096,\"window\":0,\"auth\":\"k\\\"1\",\"client\":\"c/1\",\"more\":[{}]}");
    struct wire_hello h;
    struct err e;

    (void)state;
    assert_int_equal(wire_hello_read(&h, 0, text, &e), 0);
    assert_true(h.version_1);
    assert_int_equal(h.codec_count, 1);
    assert_false(h.only_json);
    assert_int_equal(h.features,
                     WIRE_SINCE_BASE | WIRE_SINCE_CHUNK | WIRE_SINCE_ACK | WIRE_SINCE_CRC32C);
    assert_int_equal(h.heartbeat_ms, 1);
    assert_int_equal(h.max_frame_bytes, 4096);
    assert_int_equal(h.window_bytes, 0);
    assert_slice(h.auth, "\"k\\\"1\"");
    assert_slice(h.client, "\"c/1\"");
}

static void numbers_beyond_ours_are_cut(void **state)
{
    struct wire_hello h;
    struct err e;

    (void)state;
    assert_int_equal(read_hello(&h,
                                "{\"heartbeat_ms\":9000000000000000000,\"max_frame\":4294967296,"
                                "\"window\":2147483648}",
                                &e),
                     0);
    assert_int_equal(h.heartbeat_ms, UINT32_MAX);
    assert_int_equal(h.max_frame_bytes, UINT32_MAX);
    assert_int_equal(h.window_bytes, 0x7fffffff);
}

static void of_two_members_the_last_one_counts(void **state)
{
    struct wire_hello h;
    struct err e;

    (void)state;
    assert_int_equal(
        read_hello(&h, "{\"features\":[\"ack\"],\"versions\":[],\"versions\":[1],\"features\":[]}",
                   &e),
        0);
    assert_true(h.version_1);
    assert_int_equal(h.features, WIRE_SINCE_BASE);
}

static void a_wrong_hello_is_told_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *says;
    } ROWS[] = {
        {"", "a JSON object"},
        {"hi", "a JSON object"},
        {"[1]", "a JSON object"},
        {"{\"versions\":[1]", "not valid JSON at byte 15"},
        {"{\"versions\":[1]}x", "not valid JSON at byte 16"},
        {"{\"versions\":1}", "\"versions\" must be a list"},
        {"{\"codecs\":\"json\"}", "\"codecs\" must be a list"},
        {"{\"features\":{}}", "\"features\" must be a list"},
        {"{\"heartbeat_ms\":0}", "\"heartbeat_ms\" must be a whole number of at least 1"},
        {"{\"heartbeat_ms\":\"1\"}", "\"heartbeat_ms\" must be a whole number of at least 1"},
        {"{\"heartbeat_ms\":1.5}", "\"heartbeat_ms\" must be a whole number of at least 1"},
        {"{\"max_frame\":4095}", "\"max_frame\" must be a whole number of at least 4096"},
        {"{\"window\":-1}", "\"window\" must be a whole number of at least 0"},
        {"{\"auth\":1}", "\"auth\" must be a string"},
        {"{\"client\":[]}", "\"client\" must be a string"},
    };
    struct wire_hello h;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        assert_int_equal(read_hello(&h, ROWS[i].text, &e), MCP_EBAD_REQUEST);
        assert_int_equal(e.code, MCP_EBAD_REQUEST);
        if (strstr(e.text, ROWS[i].says) == NULL) {
            fail_msg("%s: \"%s\"", ROWS[i].text, e.text);
        }
    }
    assert_int_equal(wire_hello_read(&h, 7, SLICE("{}"), &e), MCP_EBAD_REQUEST);
    assert_non_null(strstr(e.text, "session_id is 7"));
}

static void a_hello_reads_back(void **state)
{
    struct wire_hello h, back;
    struct buf text = {0};
    struct err e;

    (void)state;
    wire_hello_init(&h);
    h.features = ALL;
    h.auth = SLICE("\"key\"");
    h.client = SLICE("\"libmcp/0.1\"");
    assert_true(wire_hello_append(&text, &h));
    assert_text(&text, "{\"versions\":[1],\"codecs\":[\"json\"],\"features\":[\"ack\",\"cancel\","
                       "\"credit\",\"crc32c\",\"goaway\",\"chunk\"],\"heartbeat_ms\":30000,"
                       "\"max_frame\":16777216,\"window\":262144,\"auth\":\"key\","
                       "\"client\":\"libmcp/0.1\"}");
    assert_int_equal(wire_hello_read(&back, 0, buf_slice(&text), &e), 0);
    assert_int_equal(back.features, ALL);
    assert_slice(back.auth, "\"key\"");
    buf_fini(&text);
}

static void every_text_cut_short_is_refused(void **state)
{
    static const char text[] = "{\"versions\":[1],\"codecs\":[\"json\"],\"features\":[\"ack\"],"
                               "\"heartbeat_ms\":30000,\"window\":1}";
    struct wire_hello h;
    struct err e;
    char cut[sizeof(text)];

    (void)state;
    for (size_t n = 0; n < strlen(text); n++) {
        memcpy(cut, text, n);
        cut[n] = '\0';
        assert_int_equal(read_hello(&h, cut, &e), MCP_EBAD_REQUEST);
    }
    assert_int_equal(read_hello(&h, text, &e), 0);
}

/* --- negotiation ---------------------------------------------------------------------------------
 */

static void both_sides_have_what_is_agreed(void **state)
{
    struct wire_hello h;
    struct wire_welcome w;
    struct err e;

    (void)state;
    wire_hello_init(&h);
    h.features = WIRE_SINCE_BASE | WIRE_SINCE_ACK | WIRE_SINCE_CHUNK;
    h.heartbeat_ms = 1000;
    h.window_bytes = 200000;
    assert_int_equal(wire_negotiate(&h, &OFFER, &w, &e), 0);
    assert_int_equal(w.features, h.features);
    assert_int_equal(w.heartbeat_ms, 1000);
    assert_int_equal(w.window_bytes, 100000);
    assert_int_equal(w.max_frame_bytes, 1 << 20);
    assert_int_equal(w.max_sessions, 4096);

    h.features = ALL;
    h.window_bytes = 5;
    h.heartbeat_ms = 60000;
    {
        struct wire_offer less = OFFER;

        less.features = WIRE_SINCE_BASE | WIRE_SINCE_CANCEL;
        assert_int_equal(wire_negotiate(&h, &less, &w, &e), 0);
    }
    assert_int_equal(w.features, WIRE_SINCE_BASE | WIRE_SINCE_CANCEL);
    assert_int_equal(w.heartbeat_ms, 30000);
    assert_int_equal(w.window_bytes, 5);
}

/* So that nobody has the server count his milliseconds. */
static void a_heartbeat_is_a_second_at_least_or_what_the_server_has(void **state)
{
    struct wire_offer offer = OFFER;
    struct wire_hello h;
    struct wire_welcome w;
    struct err e;

    (void)state;
    wire_hello_init(&h);
    h.heartbeat_ms = 1;
    assert_int_equal(wire_negotiate(&h, &offer, &w, &e), 0);
    assert_int_equal(w.heartbeat_ms, 1000);
    offer.heartbeat_ms = 200;
    assert_int_equal(wire_negotiate(&h, &offer, &w, &e), 0);
    assert_int_equal(w.heartbeat_ms, 200);
    h.heartbeat_ms = 300;
    assert_int_equal(wire_negotiate(&h, &offer, &w, &e), 0);
    assert_int_equal(w.heartbeat_ms, 200);
}

static void nothing_in_common_is_refused(void **state)
{
    struct wire_hello h;
    struct wire_welcome w;
    struct err e;

    (void)state;
    assert_int_equal(read_hello(&h, "{\"versions\":[9,2],\"codecs\":[\"bson\"]}", &e), 0);
    assert_int_equal(wire_negotiate(&h, &OFFER, &w, &e), MCP_EUNSUPPORTED_VERSION);
    assert_non_null(strstr(e.text, "supported: 1"));
    assert_int_equal(read_hello(&h, "{\"codecs\":[\"bson\"]}", &e), 0);
    assert_int_equal(wire_negotiate(&h, &OFFER, &w, &e), MCP_EBAD_REQUEST);
    assert_non_null(strstr(e.text, "codecs"));
}

static void only_plain_json_goes_ahead_of_welcome(void **state)
{
    static const struct {
        const char *text;
        bool may;
    } ROWS[] = {
        {"{}", true},
        {"{\"codecs\":[\"json\"],\"features\":[\"ack\",\"chunk\"]}", true},
        {"{\"features\":[\"crc32c\"]}", false},
        {"{\"codecs\":[\"avro\",\"json\"]}", false},
        {"{\"codecs\":[\"json\",\"json\"]}", false},
    };
    struct wire_hello h;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        assert_int_equal(read_hello(&h, ROWS[i].text, &e), 0);
        assert_int_equal(wire_hello_pipelines(&h), ROWS[i].may);
    }
}

/* --- WELCOME -------------------------------------------------------------------------------------
 */

static void a_welcome_reads_back(void **state)
{
    struct wire_hello h;
    struct wire_welcome w, back;
    struct buf text = {0};
    struct err e;

    (void)state;
    wire_hello_init(&h);
    h.features = WIRE_SINCE_BASE | WIRE_SINCE_ACK | WIRE_SINCE_GOAWAY;
    assert_int_equal(wire_negotiate(&h, &OFFER, &w, &e), 0);
    w.connection = 77;
    assert_true(wire_welcome_append(&text, &w));
    assert_text(&text, "{\"version\":1,\"codec\":\"json\",\"features\":[\"ack\",\"goaway\"],"
                       "\"heartbeat_ms\":30000,\"max_frame\":1048576,\"window\":100000,"
                       "\"max_sessions\":4096,\"server\":\"mcpgate/0.1\",\"connection\":77}");
    assert_int_equal(wire_welcome_read(&back, &h, buf_slice(&text), &e), 0);
    assert_int_equal(back.features, w.features);
    assert_int_equal(back.heartbeat_ms, 30000);
    assert_int_equal(back.max_frame_bytes, 1 << 20);
    assert_int_equal(back.window_bytes, 100000);
    assert_int_equal(back.max_sessions, 4096);
    assert_slice(back.server, "\"mcpgate/0.1\"");
    assert_int_equal(back.connection, 77);
    buf_fini(&text);
}

static int read_welcome(const char *text, struct err *e)
{
    struct slice block = block_of(text);
    struct wire_hello h;
    struct wire_welcome w;
    int rv;

    wire_hello_init(&h);
    h.features |= WIRE_SINCE_ACK;
    rv = wire_welcome_read(&w, &h, block, e);
    free((void *)(uintptr_t)block.ptr);
    return rv;
}

static void what_was_not_offered_is_not_accepted(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(read_welcome("{\"features\":[\"ack\",\"later\"],\"connection\":\"x\"}", &e),
                     0);
    assert_int_equal(read_welcome("{\"features\":[\"ack\",\"chunk\"]}", &e), MCP_EPROTOCOL);
    assert_non_null(strstr(e.text, "feature"));
    assert_int_equal(read_welcome("{\"version\":2}", &e), MCP_EPROTOCOL);
    assert_non_null(strstr(e.text, "version"));
    assert_int_equal(read_welcome("{\"codec\":\"avro\"}", &e), MCP_EPROTOCOL);
    assert_non_null(strstr(e.text, "codec"));
    assert_int_equal(read_welcome("{\"codec\":\"json\"", &e), MCP_EPROTOCOL);
    assert_int_equal(read_welcome("[]", &e), MCP_EPROTOCOL);
    assert_int_equal(read_welcome("{\"heartbeat_ms\":0}", &e), MCP_EPROTOCOL);
    assert_int_equal(read_welcome("{\"max_frame\":1}", &e), MCP_EPROTOCOL);
    assert_int_equal(read_welcome("{\"window\":\"\"}", &e), MCP_EPROTOCOL);
    assert_int_equal(read_welcome("{\"server\":1}", &e), MCP_EPROTOCOL);
}

static void a_refusal_has_its_code_and_text(void **state)
{
    struct buf text = {0};
    struct err e;

    (void)state;
    assert_true(wire_welcome_append_refusal(&text, MCP_EUNAUTHORIZED, SLICE("a \"key\"")));
    assert_text(&text, "{\"error\":\"a \\\"key\\\"\",\"code\":\"unauthorized\"}");
    assert_true(buf_append_byte(&text, '\0'));
    assert_int_equal(read_welcome(buf_slice(&text).ptr, &e), MCP_EUNAUTHORIZED);
    assert_string_equal(e.text, "a \"key\"");
    assert_int_equal(read_welcome("{\"error\":\"x\"}", &e), MCP_EINTERNAL);
    assert_int_equal(read_welcome("{\"error\":\"x\",\"code\":\"new_code\"}", &e), MCP_EINTERNAL);
    assert_int_equal(read_welcome("{\"error\":1}", &e), MCP_EPROTOCOL);
    buf_fini(&text);
}

/* --- ACK, GOAWAY, names --------------------------------------------------------------------------
 */

static void an_ack_reads_back(void **state)
{
    struct wire_ack ack = {.running = false,
                           .position = 3,
                           .depth = 5,
                           .eta_ms = 1500,
                           .node = SLICE("n\"1"),
                           .model = SLICE("a:v2"),
                           .attempt = 2};
    struct wire_ack back;
    struct buf text = {0}, node = {0};
    struct err e;

    (void)state;
    assert_true(wire_ack_append(&text, &ack));
    assert_text(&text, "{\"state\":\"queued\",\"position\":3,\"depth\":5,\"eta_ms\":1500,"
                       "\"node\":\"n\\\"1\",\"model\":\"a:v2\",\"attempt\":2}");
    assert_int_equal(wire_ack_read(&back, buf_slice(&text), &node, &e), 0);
    assert_false(back.running);
    assert_int_equal(back.position, 3);
    assert_int_equal(back.depth, 5);
    assert_int_equal(back.eta_ms, 1500);
    assert_int_equal(back.attempt, 2);
    assert_slice(back.node, "n\"1");
    assert_slice(back.model, "a:v2");
    assert_string_equal(back.node.ptr, "n\"1");
    assert_string_equal(back.model.ptr, "a:v2");

    ack = (struct wire_ack){.running = true,
                            .position = WIRE_ACK_UNKNOWN,
                            .depth = WIRE_ACK_UNKNOWN,
                            .eta_ms = WIRE_ACK_UNKNOWN};
    buf_clear(&text);
    assert_true(wire_ack_append(&text, &ack));
    assert_text(&text, "{\"state\":\"running\"}");
    assert_int_equal(wire_ack_read(&back, buf_slice(&text), &node, &e), 0);
    assert_true(back.running);
    assert_true(back.position == WIRE_ACK_UNKNOWN && back.eta_ms == WIRE_ACK_UNKNOWN);
    assert_int_equal(back.node.len, 0);
    assert_int_equal(back.model.len, 0);
    assert_string_equal(back.model.ptr, "");
    buf_fini(&text);
    buf_fini(&node);
}

static void a_wrong_ack_is_not_read(void **state)
{
    static const char *const TEXTS[] = {
        "",
        "[]",
        "{\"state\":\"done\"}",
        "{\"state\":1}",
        "{\"position\":-1}",
        "{\"depth\":{}}",
        "{\"eta_ms\":\"\"}",
        "{\"attempt\":1.5}",
        "{\"node\":1}",
        "{\"state\":\"queued\"",
    };
    struct wire_ack ack;
    struct buf node = {0};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        assert_int_equal(wire_ack_read(&ack, slice_str(TEXTS[i]), &node, &e), MCP_EPROTOCOL);
    }
    buf_fini(&node);
}

static void a_goaway_reads_back(void **state)
{
    static const char *const NAMES[] = {"drain", "idle", "corrupt", "too_many_errors"};
    struct wire_goaway back;
    struct err e;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct wire_goaway goaway = {(enum wire_goaway_reason)i, i * 1000};
        struct buf text = {0}, want = {0};

        assert_true(wire_goaway_append(&text, &goaway));
        buf_printf(&want, "{\"reason\":\"%s\",\"retry_after_ms\":%u}", NAMES[i], i * 1000);
        assert_true(slice_eq(buf_slice(&text), buf_slice(&want)));
        assert_int_equal(wire_goaway_read(&back, buf_slice(&text), &e), 0);
        assert_int_equal(back.reason, goaway.reason);
        assert_int_equal(back.retry_after_ms, goaway.retry_after_ms);
        assert_string_equal(wire_goaway_name(back.reason), NAMES[i]);
        buf_fini(&text);
        buf_fini(&want);
    }
    assert_int_equal(wire_goaway_read(&back, SLICE("{\"reason\":\"tired\"}"), &e), 0);
    assert_int_equal(back.reason, WIRE_GOAWAY_OTHER);
    assert_int_equal(wire_goaway_read(&back, SLICE("{\"retry_after_ms\":-1}"), &e), MCP_EPROTOCOL);
    assert_int_equal(wire_goaway_read(&back, SLICE("bye"), &e), MCP_EPROTOCOL);
    assert_int_equal(wire_goaway_read(&back, SLICE("{\"reason\":\"idle\""), &e), MCP_EPROTOCOL);
}

static void features_and_codecs_have_names(void **state)
{
    (void)state;
    assert_string_equal(wire_feature_name(WIRE_SINCE_CRC32C), "crc32c");
    assert_string_equal(wire_feature_name(WIRE_SINCE_BASE), "");
    assert_string_equal(wire_feature_name(WIRE_SINCE_ACK | WIRE_SINCE_CHUNK), "");
    assert_string_equal(wire_codec_name(WIRE_CODEC_JSON), "json");
}

/* --- memory --------------------------------------------------------------------------------------
 */

static void run_out_of_memory(void *arg)
{
    const struct wire_ack ack = {.node = SLICE("a node's name"), .attempt = 1};
    struct wire_hello h;
    struct wire_ack back;
    struct buf text = {0}, node = {0};
    struct err e;
    bool written;

    (void)arg;
    wire_hello_init(&h);
    written = wire_hello_append(&text, &h);
    assert_int_equal(written, !buf_failed(&text));
    buf_clear(&text);
    if (wire_ack_append(&text, &ack)) {
        int rv = wire_ack_read(&back, buf_slice(&text), &node, &e);

        assert_true(rv == 0 || rv == MCP_ENOMEM);
    }
    buf_clear(&text);
    if (wire_welcome_append_refusal(&text, MCP_EBAD_REQUEST, SLICE("no"))) {
        assert_int_equal(wire_welcome_read(&(struct wire_welcome){0}, &h, buf_slice(&text), &e),
                         MCP_EBAD_REQUEST);
    }
    buf_fini(&text);
    buf_fini(&node);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(run_out_of_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_members_have_defaults),
        cmocka_unit_test(what_is_offered_is_read),
        cmocka_unit_test(numbers_beyond_ours_are_cut),
        cmocka_unit_test(of_two_members_the_last_one_counts),
        cmocka_unit_test(a_wrong_hello_is_told_what_is_wrong),
        cmocka_unit_test(a_hello_reads_back),
        cmocka_unit_test(every_text_cut_short_is_refused),
        cmocka_unit_test(both_sides_have_what_is_agreed),
        cmocka_unit_test(a_heartbeat_is_a_second_at_least_or_what_the_server_has),
        cmocka_unit_test(nothing_in_common_is_refused),
        cmocka_unit_test(only_plain_json_goes_ahead_of_welcome),
        cmocka_unit_test(a_welcome_reads_back),
        cmocka_unit_test(what_was_not_offered_is_not_accepted),
        cmocka_unit_test(a_refusal_has_its_code_and_text),
        cmocka_unit_test(an_ack_reads_back),
        cmocka_unit_test(a_wrong_ack_is_not_read),
        cmocka_unit_test(a_goaway_reads_back),
        cmocka_unit_test(features_and_codecs_have_names),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
