/* SPDX-License-Identifier: Apache-2.0 */
/* The core with a server that negotiates; test_core.c is the base profile, test_flow.c credit,
 * chunk and goaway. */
#include "core_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"

/* --- negotiation ---------------------------------------------------------------------------------
 */

static void hello_says_what_is_wanted(void **state)
{
    struct core_fixture f;
    struct slice hello;

    (void)state;
    core_set_up_with(&f, &(struct client_config){.features = WIRE_SINCE_ACK | WIRE_SINCE_CHUNK,
                                                 .auth_json = SLICE("\"key\""),
                                                 .heartbeat_ms = 5000,
                                                 .window_bytes = 70000});
    client_core_connect(&f.core, false);
    client_core_connected(&f.core, f.now_ms);
    hello = slice_skip(buf_slice(&f.core.out), WIRE_HEADER_BYTES);
    assert_true(slice_starts(hello, SLICE("{\"versions\":[1],\"codecs\":[\"json\"],\"features\":["
                                          "\"ack\",\"chunk\"],\"heartbeat_ms\":5000,\"max_frame\":"
                                          "16777216,\"window\":70000,\"auth\":\"key\","
                                          "\"client\":\"libmcp/")));
    core_expect_sent(&f, "16 0 ; ");
    core_tear_down(&f);
}

static void welcome_begins_it(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    assert_int_equal(core_request(&f, 5, GENERATE), 0); /* waits for a connection */
    core_welcome(&f, WELCOME_ALL);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    assert_true(f.core.negotiated);
    assert_int_equal(f.core.agreed.features, ALL_FEATURES | WIRE_SINCE_BASE);
    assert_string_equal(buf_slice(&f.core.server_name).ptr, "s/1");
    assert_int_equal(f.core.agreed.connection, 42);
    core_respond(&f, 5, "{\"done\":false}");
    core_respond(&f, 5, "{\"done\":true}");
    core_expect_log(&f, "5 {\"done\":false} -; 5 {\"done\":true} last -; ");
    core_tear_down(&f);
}

static void a_server_of_the_base_profile_is_served(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    client_core_connect(&f.core, false);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "16 0 ; ");
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, ""); /* not before the server has answered */
    core_respond(&f, 0,
                 "{\"error\":\"opcode 0x10 is not known\",\"code\":\"bad_request\","
                 "\"done\":true}");
    assert_int_equal(f.core.state, CLIENT_READY);
    assert_false(f.core.negotiated);
    core_expect_log(&f, "");
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    core_cancel(&f, 5, MCP_EUNSUPPORTED_OP);
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE(WELCOME_ALL)); /* too late: skipped */
    core_frame(&f, WIRE_OP_ACK, 5, SLICE("{}"));
    core_respond(&f, 5, "{\"done\":true}");
    core_expect_log(&f, "5 {\"done\":true} last -; ");
    assert_int_equal(f.core.state, CLIENT_READY);
    core_tear_down(&f);
}

static void a_refusal_ends_it(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    client_core_connect(&f.core, false);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    client_core_connected(&f.core, f.now_ms);
    core_frame(&f, WIRE_OP_WELCOME, 0,
               SLICE("{\"error\":\"the key is wrong\",\"code\":\"unauthorized\"}"));
    assert_int_equal(f.core.state, CLIENT_FAILED); /* trying again would not help */
    assert_int_equal(f.core.err.code, MCP_EUNAUTHORIZED);
    assert_string_equal(f.core.err.text, "the key is wrong");
    core_collect(&f);
    core_expect_log(&f, "5 {\"error\":\"the key is wrong\",\"code\":\"unauthorized\","
                        "\"retryable\":false,\"done\":true} last unauthorized; ");
    core_tear_down(&f);
}

static void a_wrong_welcome_ends_it(void **state)
{
    static const char *const TEXTS[] = {
        "{",
        "[]",
        "{\"version\":2}",
        "{\"codec\":\"avro\"}",
        "{\"features\":[\"ack\"]}", /* not offered */
        "{\"features\":[\"credit\"],\"window\":0}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct core_fixture f;

        core_set_up_offering(&f, WIRE_SINCE_CREDIT, 3);
        client_core_connect(&f.core, false);
        client_core_connected(&f.core, f.now_ms);
        core_frame(&f, WIRE_OP_WELCOME, 0, slice_str(TEXTS[i]));
        assert_int_equal(f.core.state, CLIENT_FAILED);
        assert_int_equal(f.core.err.code, MCP_EPROTOCOL);
        core_tear_down(&f);
    }
}

static void a_server_that_says_nothing_is_tried_again(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 2);
    client_core_connect(&f.core, false);
    for (unsigned i = 0; i < 2; i++) {
        client_core_connected(&f.core, f.now_ms);
        assert_int_equal(client_core_deadline_ms(&f.core), f.now_ms + CLIENT_NEGOTIATE_MS);
        client_core_tick(&f.core, f.now_ms + CLIENT_NEGOTIATE_MS - 1);
        assert_int_equal(f.core.state, CLIENT_NEGOTIATE);
        f.now_ms += CLIENT_NEGOTIATE_MS;
        client_core_tick(&f.core, f.now_ms);
        core_wait_for_retry(&f, i);
    }
    client_core_connected(&f.core, f.now_ms);
    client_core_tick(&f.core, f.now_ms + CLIENT_NEGOTIATE_MS);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    assert_int_equal(f.core.err.code, MCP_ECLOSED);
    assert_string_equal(f.core.err.text, "no answer to HELLO in 5000 ms");
    core_tear_down(&f);
}

static void each_connection_is_negotiated_anew(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_lose(&f, MCP_ECLOSED);
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "16 0 ; "); /* without a CRC */
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE(WELCOME_OF("\"cancel\"")));
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    assert_int_equal(f.core.agreed.features, WIRE_SINCE_BASE | WIRE_SINCE_CANCEL);
    core_tear_down(&f);
}

static void more_than_the_server_wants_is_not_begun(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES & ~WIRE_SINCE_CHUNK, 3);
    core_welcome(&f, "{\"max_sessions\":2,\"max_frame\":4096,\"features\":[\"crc32c\"]}");
    assert_int_equal(core_request_long(&f, 1, 4093), MCP_ETOO_LARGE); /* the CRC counts */
    assert_int_equal(core_request_long(&f, 1, 4092), 0);
    assert_int_equal(core_request(&f, 2, GENERATE), 0);
    assert_int_equal(core_request(&f, 3, GENERATE), MCP_EQUEUE_FULL);
    core_lose(&f, MCP_ECLOSED);

    /* What was begun when less was known ends here. */
    core_cancel(&f, 2, 0);
    core_collect(&f);
    buf_clear(&f.log);
    assert_int_equal(core_request_long(&f, 2, 5000), 0);
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE("{\"max_frame\":4096}"));
    core_collect(&f);
    core_expect_log(&f, "2 {\"error\":\"larger than the limit\",\"code\":\"too_large\","
                        "\"retryable\":false,\"done\":true} last too_large; ");
    assert_int_equal(client_core_in_flight(&f.core), 1);
    core_tear_down(&f);
}

/* --- bytes ---------------------------------------------------------------------------------------
 */

static void check_cuts(struct slice rest, size_t first, size_t step)
{
    struct core_fixture f;

    core_set_up_offering(&f, ALL_FEATURES, 3);
    client_core_connect(&f.core, false);
    client_core_connected(&f.core, f.now_ms);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    for (size_t next = first; rest.len > 0; next = step) {
        struct slice piece = slice_first(rest, next);

        core_feed(&f, piece);
        rest = slice_skip(rest, piece.len);
    }
    core_expect_log(&f, "5 {\"state\":\"running\"} -; 6 {\"b\":1} -; 5 {\"a\":123} -; "
                        "6 {\"done\":true} last -; 5 {\"done\":true} last -; ");
    assert_true(f.core.going_away);
    core_tear_down(&f);
}

static void pieces_make_no_difference(void **state)
{
    struct core_fixture f;
    struct buf stream = {0};

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_append(&f, &stream, WIRE_OP_WELCOME, 0, SLICE(WELCOME_ALL));
    f.core.agreed.features = ALL_FEATURES; /* how the frames behind it are written */
    core_append(&f, &stream, WIRE_OP_ACK, 5, SLICE("{\"state\":\"running\"}"));
    core_append(&f, &stream, WIRE_OP_CHUNK, 5, SLICE("{\"a\""));
    core_append(&f, &stream, WIRE_OP_RESPONSE, 6, SLICE("{\"b\":1}"));
    core_append(&f, &stream, WIRE_OP_CHUNK, 6, SLICE("gone"));
    core_append(&f, &stream, WIRE_OP_CHUNK, 5, SLICE(":1"));
    core_append(&f, &stream, WIRE_OP_HEARTBEAT, 0, SLICE("12345678"));
    core_append(&f, &stream, WIRE_OP_CHUNK, 6, SLICE(""));
    core_append(&f, &stream, WIRE_OP_RESPONSE, 5, SLICE("23}"));
    core_append(&f, &stream, WIRE_OP_GOAWAY, 0, SLICE("{\"reason\":\"drain\"}"));
    core_append(&f, &stream, WIRE_OP_RESPONSE, 6, SLICE("{\"done\":true}"));
    core_append(&f, &stream, WIRE_OP_RESPONSE, 5, SLICE("{\"done\":true}"));
    for (size_t at = 1; at <= buf_len(&stream); at++) {
        check_cuts(buf_slice(&stream), at, at);
        check_cuts(buf_slice(&stream), at, buf_len(&stream));
    }
    buf_fini(&stream);
    core_tear_down(&f);
}

static void a_damaged_frame_ends_the_connection_but_not_the_request(void **state)
{
    struct core_fixture f;
    struct buf frame = {0};

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_append(&f, &frame, WIRE_OP_RESPONSE, 5, SLICE("{\"done\":true}"));
    frame.data[WIRE_HEADER_BYTES + 3] ^= 4;
    core_feed(&f, buf_slice(&frame));
    core_expect_log(&f, "");
    assert_int_equal(f.core.err.code, MCP_ECLOSED);
    core_wait_for_retry(&f, 0);
    buf_fini(&frame);
    core_tear_down(&f);
}

/* --- ack, cancel ---------------------------------------------------------------------------------
 */

static void acks_are_parts_that_end_nothing(void **state)
{
    struct core_fixture f;
    const struct mcp_ack *ack;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, LIST), 0); /* its one part is the last */
    core_frame(&f, WIRE_OP_ACK, 5, SLICE("{\"state\":\"queued\",\"position\":2,\"depth\":9}"));
    ack = mcp_part_ack(&f.part);
    assert_non_null(ack);
    assert_false(ack->running);
    assert_int_equal(ack->position, 2);
    assert_int_equal(ack->depth, 9);
    assert_true(ack->eta_ms == MCP_ACK_UNKNOWN);
    assert_string_equal(ack->node, "");
    core_frame(&f, WIRE_OP_ACK, 5,
               SLICE("{\"state\":\"running\",\"node\":\"n\\u0031\",\"attempt\":2}"));
    ack = mcp_part_ack(&f.part);
    assert_true(ack->running);
    assert_string_equal(ack->node, "n1");
    assert_int_equal(ack->attempt, 2);
    assert_string_equal(mcp_part_error_text(&f.part), "");
    core_respond(&f, 5, "{}");
    assert_null(mcp_part_ack(&f.part));
    core_frame(&f, WIRE_OP_ACK, 5, SLICE("{\"state\":\"running\"}")); /* nobody waits */
    core_expect_log(&f, "5 {\"state\":\"queued\",\"position\":2,\"depth\":9} -; "
                        "5 {\"state\":\"running\",\"node\":\"n\\u0031\",\"attempt\":2} -; "
                        "5 {} last -; ");
    /* It is no part of the answer: the request may still be sent again. */
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_frame(&f, WIRE_OP_ACK, 5, SLICE("{\"state\":\"running\"}"));
    core_lose(&f, MCP_ECLOSED);
    assert_int_equal(f.core.state, CLIENT_RETRY);
    assert_int_equal(client_core_in_flight(&f.core), 1);
    core_tear_down(&f);
}

#define CANCELLED "{\"error\":\"cancelled\",\"code\":\"cancelled\",\"done\":true}"

static void what_is_cancelled_ends_with_its_last_part(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    core_cancel(&f, 5, MCP_EARGUMENT);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; 1 6 " SENT_GENERATE "; ");
    core_cancel(&f, 5, 0);
    core_cancel(&f, 5, 0); /* once is enough */
    core_expect_sent(&f, "20 5 ; ");
    core_respond(&f, 5, "{\"done\":false}"); /* was on its way */
    core_respond(&f, 5, CANCELLED);
    core_cancel(&f, 6, 0);
    core_expect_sent(&f, "20 6 ; ");
    core_respond(&f, 6, "{\"done\":true}"); /* the end was faster */
    core_expect_log(&f, "5 {\"done\":false} -; 5 " CANCELLED
                        " last cancelled; 6 {\"done\":true} last -; ");
    core_cancel(&f, 5, MCP_EARGUMENT);
    core_tear_down(&f);
}

static void what_is_cancelled_is_not_sent_again(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    core_cancel(&f, 5, 0);
    core_lose(&f, MCP_ECLOSED);
    core_collect(&f);
    core_expect_log(&f, "5 " CANCELLED_HERE " last cancelled; ");
    core_cancel(&f, 6, 0); /* between two connections */
    core_collect(&f);
    core_expect_log(&f, "6 " CANCELLED_HERE " last cancelled; ");
    assert_int_equal(client_core_in_flight(&f.core), 0);
    core_tear_down(&f);
}

/* --- heartbeats ----------------------------------------------------------------------------------
 */

static void silence_closes_with_an_exchange_in_flight_too(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL); /* a heartbeat each second */
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_core_deadline_ms(&f.core), f.now_ms + 1000);
        f.now_ms += 1000;
        client_core_tick(&f.core, f.now_ms);
        core_expect_sent(&f, "3 0 ; ");
    }
    assert_int_equal(client_core_deadline_ms(&f.core), f.now_ms + 1000);
    client_core_tick(&f.core, f.now_ms + 1000);
    assert_int_equal(f.core.state, CLIENT_RETRY);
    assert_int_equal(f.core.err.code, MCP_ETIMEOUT);
    core_tear_down(&f);
}

/* --- memory --------------------------------------------------------------------------------------
 */

/* Reads on whatever state it is in, and sees what comes. */
static size_t take(struct core_fixture *f, struct slice in)
{
    size_t lasts = 0;
    ptrdiff_t n;

    while (client_core_is_up(&f->core) &&
           (n = client_core_recv(&f->core, in, f->now_ms, &f->part)) > 0) {
        lasts += mcp_part_last(&f->part);
        client_core_seen(&f->core, &f->part, f->now_ms);
        in = slice_skip(in, (size_t)n);
    }
    return lasts;
}

struct without_memory {
    struct buf stream; /* what the server says */
    char *request;
};

static void exchanges_without_memory(void *arg)
{
    const struct without_memory *w = arg;
    struct core_fixture f;
    struct err e;
    size_t lasts = 0, begun = 0;

    core_set_up_offering(&f, ALL_FEATURES, 3);
    client_core_connect(&f.core, false);
    begun += client_core_request(&f.core, 5, SLICE(GENERATE), f.now_ms, &e) == 0;
    client_core_connected(&f.core, f.now_ms);
    begun += client_core_request(&f.core, 6, slice_str(w->request), f.now_ms, &e) == 0;
    lasts += take(&f, buf_slice(&w->stream));
    for (int i = 0; i < 5 && client_core_is_up(&f.core); i++) {
        client_core_wrote(&f.core, buf_len(&f.core.out), f.now_ms);
    }
    (void)client_core_cancel(&f.core, 6, f.now_ms, &e);
    if (client_core_is_up(&f.core)) {
        client_core_lost(&f.core, MCP_EPROTOCOL, "over", f.now_ms);
    } else if (f.core.state == CLIENT_RETRY) {
        client_core_tick(&f.core, f.core.retry_ms);
        client_core_lost(&f.core, MCP_EPROTOCOL, "over", f.now_ms);
    }
    while (client_core_part(&f.core, &f.part)) {
        lasts += mcp_part_last(&f.part);
        client_core_seen(&f.core, &f.part, f.now_ms);
    }
    assert_int_equal(lasts, begun); /* every exchange has its end */
    assert_int_equal(client_core_in_flight(&f.core), 0);
    core_tear_down(&f);
}

static void every_allocation_may_fail(void **state)
{
    static char long_part[600];
    struct without_memory w = {.request = core_long_request(65536 * 2)};
    struct core_fixture f;

    (void)state;
    memset(long_part, ' ', sizeof(long_part));
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_append(&f, &w.stream, WIRE_OP_WELCOME, 0, SLICE(WELCOME_ALL));
    f.core.agreed.features = ALL_FEATURES;
    core_append(&f, &w.stream, WIRE_OP_ACK, 5, SLICE("{\"state\":\"running\",\"node\":\"n1\"}"));
    core_append(&f, &w.stream, WIRE_OP_CHUNK, 5, SLICE("{\"a\":"));
    core_append(&f, &w.stream, WIRE_OP_CHUNK, 5, slice_of(long_part, sizeof(long_part)));
    core_append(&f, &w.stream, WIRE_OP_RESPONSE, 5, SLICE("1}"));
    core_append(&f, &w.stream, WIRE_OP_RESPONSE, 5, SLICE("{\"done\":true}"));
    core_tear_down(&f);
    alloc_fault_each(exchanges_without_memory, &w);
    buf_fini(&w.stream);
    free(w.request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_says_what_is_wanted),
        cmocka_unit_test(welcome_begins_it),
        cmocka_unit_test(a_server_of_the_base_profile_is_served),
        cmocka_unit_test(a_refusal_ends_it),
        cmocka_unit_test(a_wrong_welcome_ends_it),
        cmocka_unit_test(a_server_that_says_nothing_is_tried_again),
        cmocka_unit_test(each_connection_is_negotiated_anew),
        cmocka_unit_test(more_than_the_server_wants_is_not_begun),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(a_damaged_frame_ends_the_connection_but_not_the_request),
        cmocka_unit_test(acks_are_parts_that_end_nothing),
        cmocka_unit_test(what_is_cancelled_ends_with_its_last_part),
        cmocka_unit_test(what_is_cancelled_is_not_sent_again),
        cmocka_unit_test(silence_closes_with_an_exchange_in_flight_too),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
