/* SPDX-License-Identifier: Apache-2.0 */
#include "core_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"

/* --- exchanges -----------------------------------------------------------------------------------
 */

static void parts_come_until_the_last(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, LIST), 0);
    core_expect_sent(&f, "1 5 " GENERATE "; 1 6 " LIST "; ");
    assert_int_equal(core_request(&f, 5, GENERATE), MCP_ESESSION_BUSY);
    core_respond(&f, 5, "{\"response\":\"{\\\"done\\\":true}\",\"done\":false}");
    core_respond(&f, 6, "{\"models\":[]}"); /* its one part */
    core_respond(&f, 5, "{\"done\":true}");
    core_expect_log(&f, "5 {\"response\":\"{\\\"done\\\":true}\",\"done\":false} -; "
                        "6 {\"models\":[]} last -; 5 {\"done\":true} last -; ");
    assert_int_equal(client_core_in_flight(&f.core), 0);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_tear_down(&f);
}

static void errors_end_their_exchange_but_not_on_session_0(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_respond(&f, 0,
                 "{\"error\":\"busy\",\"code\":\"session_busy\",\"session\":5,\"done\":true}");
    assert_int_equal(client_core_in_flight(&f.core), 1);
    buf_clear(&f.log);
    core_respond(&f, 5,
                 "{\"error\":\"all \\\"full\\\"\",\"code\":\"queue_full\",\"retryable\":true,"
                 "\"retry_after_ms\":1500,\"done\":true}");
    assert_int_equal(client_core_in_flight(&f.core), 0);
    assert_string_equal(mcp_part_error_text(&f.part), "all \"full\"");
    assert_int_equal(mcp_part_error(&f.part), MCP_EQUEUE_FULL);
    assert_int_equal(mcp_part_retry_after_ms(&f.part), 1500);
    buf_clear(&f.log);

    /* Nobody waits there. */
    core_respond(&f, 5, "{\"done\":true}");
    core_respond(&f, 99, "{\"done\":true}");
    core_respond(&f, 0, "{\"done\":true}");
    core_expect_log(&f, "");
    assert_int_equal(f.core.state, CLIENT_READY);
    core_tear_down(&f);
}

/* The stream cut behind `first` bytes, and from there on every `step` bytes. */
static void check_cuts(struct slice rest, size_t first, size_t step)
{
    struct core_fixture f;

    core_set_up(&f, 3);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    for (size_t next = first; rest.len > 0; next = step) {
        struct slice piece = slice_first(rest, next);

        core_feed(&f, piece);
        rest = slice_skip(rest, piece.len);
    }
    core_expect_log(&f, "5 {\"response\":\"a\",\"done\":false} -; "
                        "6 {\"response\":\"b\",\"done\":false} -; "
                        "5 {\"response\":\"a\",\"done\":false} -; "
                        "6 {\"response\":\"b\",\"done\":false} -; "
                        "5 {\"response\":\"a\",\"done\":false} -; "
                        "6 {\"response\":\"b\",\"done\":false} -; "
                        "5 {\"done\":true} last -; 6 {\"done\":true} last -; ");
    core_tear_down(&f);
}

static void pieces_make_no_difference(void **state)
{
    struct buf stream = {0};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        wire_frame_append(&stream, WIRE_OP_RESPONSE, 5,
                          SLICE("{\"response\":\"a\",\"done\":false}"));
        wire_frame_append(&stream, WIRE_OP_HEARTBEAT, 0, SLICE("12345678"));
        wire_frame_append(&stream, WIRE_OP_RESPONSE, 6,
                          SLICE("{\"response\":\"b\",\"done\":false}"));
    }
    wire_frame_append(&stream, WIRE_OP_RESPONSE, 5, SLICE("{\"done\":true}"));
    wire_frame_append(&stream, WIRE_OP_RESPONSE, 6, SLICE("{\"done\":true}"));
    for (size_t at = 1; at <= buf_len(&stream); at++) {
        check_cuts(buf_slice(&stream), at, at);
        check_cuts(buf_slice(&stream), at, buf_len(&stream));
    }
    buf_fini(&stream);
}

static void kept_parts_come_first_and_in_order(void **state)
{
    struct buf frame = {0};
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 0);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, LIST), 0);
    assert_int_equal(core_request(&f, 6, LIST), 0);
    wire_frame_append(&frame, WIRE_OP_RESPONSE, 6, SLICE("{\"a\":1}"));
    assert_true(client_core_recv(&f.core, buf_slice(&frame), f.now_ms, &f.part) > 0);
    client_core_keep(&f.core, &f.part, f.now_ms);
    memset(frame.data, 'x', buf_len(&frame)); /* it was borrowed */
    assert_int_equal(client_core_in_flight(&f.core), 2);
    assert_int_equal(core_request(&f, 6, LIST), MCP_ESESSION_BUSY); /* nobody has seen its end */
    core_lose(&f, MCP_ECLOSED);
    core_collect(&f);
    core_expect_log(&f, "6 {\"a\":1} last -; 5 {\"error\":\"gone\",\"code\":\"connection_closed\","
                        "\"retryable\":true,\"done\":true} last connection_closed; ");
    assert_int_equal(client_core_in_flight(&f.core), 0);
    buf_fini(&frame);
    core_tear_down(&f);
}

/* --- connections that fail or break
 * ---------------------------------------------------------------- */

static void connecting_is_tried_again_with_back_off(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    client_core_connect(&f.core, false);
    for (unsigned i = 0; i < 3; i++) {
        core_lose(&f, i == 1 ? MCP_ETIMEOUT : MCP_ECONNECT);
        core_wait_for_retry(&f, i);
    }
    core_lose(&f, MCP_ECONNECT);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    assert_int_equal(f.core.err.code, MCP_ECONNECT);
    assert_int_equal(client_core_deadline_ms(&f.core), 0);
    client_core_connect(&f.core, false); /* a new call starts over */
    core_lose(&f, MCP_ECONNECT);
    core_wait_for_retry(&f, 0);
    core_tear_down(&f);

    core_set_up(&f, 0);
    client_core_connect(&f.core, false);
    core_lose(&f, MCP_ECONNECT);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    core_tear_down(&f);
}

static void a_request_is_sent_again_where_that_is_safe(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 2);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 1, GENERATE), 0); /* no part yet: again */
    assert_int_equal(core_request(&f, 2, GENERATE), 0); /* a part was delivered */
    assert_int_equal(core_request(&f, 3, PUSH), 0);     /* never sent twice */
    assert_int_equal(core_request(&f, 4, INHERITS), 0); /* the session is gone */
    core_respond(&f, 2, "{\"done\":false}");
    buf_clear(&f.log);
    core_lose(&f, MCP_ECLOSED);
    core_collect(&f);
#define GONE                                                                                       \
    "{\"error\":\"gone\",\"code\":\"connection_closed\",\"retryable\":true,\"done\":true} "        \
    "last connection_closed; "
    core_expect_log(&f, "2 " GONE "3 " GONE "4 " GONE);
    assert_int_equal(client_core_in_flight(&f.core), 1);
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "1 1 " GENERATE "; ");
    assert_int_equal(core_request(&f, 3, LIST), 0);
    core_expect_sent(&f, "1 3 " LIST "; ");
    core_respond(&f, 3, "{}");
    buf_clear(&f.log);

    core_lose(&f, MCP_ECLOSED); /* its second and last repeat */
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "1 1 " GENERATE "; ");
    core_lose(&f, MCP_ECLOSED);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    core_collect(&f);
    core_expect_log(&f, "1 " GONE);
    core_tear_down(&f);
}

static void reconnecting_gives_up_after_five(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 1);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 1, GENERATE), 0);
    core_lose(&f, MCP_ECLOSED);
    for (unsigned i = 0; i < 5; i++) {
        core_wait_for_retry(&f, i);
        core_lose(&f, MCP_ECONNECT);
    }
    assert_int_equal(f.core.state, CLIENT_FAILED);
    core_collect(&f);
    core_expect_log(&f, "1 {\"error\":\"gone\",\"code\":\"connect_failed\",\"retryable\":true,"
                        "\"done\":true} last connect_failed; ");
    core_tear_down(&f);
}

static void without_retries_nothing_is_repeated(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 0);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 1, GENERATE), 0);
    core_lose(&f, MCP_ECLOSED);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    core_collect(&f);
    core_expect_log(&f, "1 " GONE);

    assert_int_equal(core_request(&f, 1, GENERATE),
                     0); /* asks for a connection, at once, one try */
    assert_int_equal(f.core.state, CLIENT_CONNECT);
    assert_int_equal(client_core_in_flight(&f.core), 1);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "1 1 " GENERATE "; ");
    core_lose(&f, MCP_ECLOSED);
    core_collect(&f);
    buf_clear(&f.log);
    assert_int_equal(core_request(&f, 1, GENERATE), 0);
    core_lose(&f, MCP_ECONNECT);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    core_collect(&f);
    core_expect_log(&f, "1 {\"error\":\"gone\",\"code\":\"connect_failed\",\"retryable\":true,"
                        "\"done\":true} last connect_failed; ");
    core_tear_down(&f);
}

static void a_peer_that_is_no_mcp_server_ends_it(void **state)
{
    static const struct {
        struct slice in;
        const char *text;
    } PEERS[] = {
        {{"HTTP/1.1 400 Bad Request", 24}, "the server speaks HTTP there, not MCP"},
        {{"\x15\x03\x01\0\x02\x02\x32", 7}, "the server speaks TLS there"},
        {{"\x02\x02\0\0\0\x05\0\0\0\0", 10}, "version 2 is not supported; supported: 1"},
        {{"\x01\x02\0\0\0\x05\x02\0\0\0", 10},
         "a frame of 33554432 bytes is over the limit of 16777216"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(PEERS) / sizeof(PEERS[0]); i++) {
        struct core_fixture f;

        core_set_up(&f, 3);
        core_connect_now(&f);
        assert_int_equal(core_request(&f, 5, GENERATE), 0);
        core_feed(&f, PEERS[i].in);
        assert_int_equal(f.core.state, CLIENT_FAILED); /* trying again would not help */
        assert_true(client_core_part(&f.core, &f.part));
        assert_int_equal(mcp_part_error(&f.part), MCP_EPROTOCOL);
        assert_string_equal(mcp_part_error_text(&f.part), PEERS[i].text);
        core_see(&f);
        core_tear_down(&f);
    }
}

static void unknown_frames_of_a_newer_server_are_skipped(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    assert_int_equal(core_request(&f, 5, LIST), 0);
    core_feed(&f, slice_of("\x01\x12\0\0\0\x05\0\0\0\x02{}", 12));
    core_respond(&f, 5, "{}");
    core_expect_log(&f, "5 {} last -; ");
    core_tear_down(&f);
}

/* --- heartbeats
 * ------------------------------------------------------------------------------------ */

static void a_heartbeat_leaves_after_30_s_without_sending(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    f.now_ms = 20000;
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, "1 5 " GENERATE "; ");
    assert_int_equal(client_core_deadline_ms(&f.core), 50000);
    client_core_tick(&f.core, 49999);
    core_expect_sent(&f, "");
    client_core_tick(&f.core, 50000);
    core_expect_sent(&f, "3 0 ; ");
    assert_int_equal(client_core_deadline_ms(&f.core), 80000);

    /* With an exchange in flight silence closes nothing. */
    for (f.now_ms = 80000; f.now_ms <= 500000; f.now_ms += 30000) {
        client_core_tick(&f.core, f.now_ms);
        core_expect_sent(&f, "3 0 ; ");
    }
    assert_int_equal(f.core.state, CLIENT_READY);
    core_tear_down(&f);
}

static void three_missed_heartbeats_close_an_idle_connection(void **state)
{
    struct buf echo = {0};
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    client_core_tick(&f.core, 31000);
    assert_int_equal(f.core.beats_sent, 1);
    wire_frame_append(&echo, WIRE_OP_HEARTBEAT, 0, slice_of("\0\0\0\0\0\0\0\1", 8));
    f.now_ms = 32000;
    core_feed(&f, buf_slice(&echo));
    assert_int_equal(f.core.beat_echoed, 1);
    client_core_tick(&f.core, 61000);
    client_core_tick(&f.core, 91000);
    client_core_tick(&f.core, 121000);
    assert_int_equal(f.core.state, CLIENT_READY);
    assert_int_equal(client_core_deadline_ms(&f.core), 151000);
    client_core_tick(&f.core, 151000);
    assert_int_equal(f.core.state, CLIENT_FAILED);
    assert_int_equal(f.core.err.code, MCP_ETIMEOUT);
    buf_fini(&echo);
    core_tear_down(&f);
}

static void foreign_heartbeats_are_ignored(void **state)
{
    struct buf echo = {0};
    struct core_fixture f;

    (void)state;
    core_set_up(&f, 3);
    core_connect_now(&f);
    assert_int_equal(client_core_heartbeat(&f.core, f.now_ms), 1);
    wire_frame_append(&echo, WIRE_OP_HEARTBEAT, 0, slice_of("\0\0\0\0\0\0\0\2", 8));
    wire_frame_append(&echo, WIRE_OP_HEARTBEAT, 0, SLICE("x"));
    core_feed(&f, buf_slice(&echo));
    assert_int_equal(f.core.beat_echoed, 0);
    core_expect_sent(&f, "3 0 ; ");
    assert_int_equal(f.core.state, CLIENT_READY);
    buf_fini(&echo);
    core_tear_down(&f);
}

/* --- memory
 * ---------------------------------------------------------------------------------------- */

static void exchange_without_memory(void *arg)
{
    static const char PART[] = "\x01\x02\0\0\0\x05\0\0\0\x0e{\"done\":false}";
    static const char LAST[] = "\x01\x02\0\0\0\x05\0\0\0\x0d{\"done\":true}";
    struct core_fixture f;
    struct err e;
    size_t lasts = 0, begun = 0;

    (void)arg;
    core_set_up(&f, 3);
    core_connect_now(&f);
    begun += client_core_request(&f.core, 5, SLICE(GENERATE), f.now_ms, &e) == 0;
    begun += client_core_request(&f.core, 6, SLICE(LIST), f.now_ms, &e) == 0;
    client_core_lost(&f.core, MCP_ECLOSED, "gone", f.now_ms);
    if (f.core.state == CLIENT_RETRY) {
        client_core_tick(&f.core, f.core.retry_ms);
        client_core_connected(&f.core, f.now_ms);
    }
    (void)client_core_heartbeat(&f.core, f.now_ms);
    if (client_core_recv(&f.core, slice_of(PART, sizeof(PART) - 1), f.now_ms, &f.part) > 0) {
        client_core_keep(&f.core, &f.part, f.now_ms);
    }
    for (size_t i = 0; i < sizeof(LAST) - 1; i += 9) { /* in pieces: they are collected */
        struct slice piece = slice_first(slice_of(LAST + i, sizeof(LAST) - 1 - i), 9);

        if (client_core_recv(&f.core, piece, f.now_ms, &f.part) > 0) {
            client_core_keep(&f.core, &f.part, f.now_ms);
        }
    }
    if (f.core.state == CLIENT_READY) {
        client_core_lost(&f.core, MCP_EPROTOCOL, "over", f.now_ms);
    }
    while (client_core_part(&f.core, &f.part)) {
        lasts += mcp_part_last(&f.part);
        assert_true(f.part.data.len > 0);
        assert_true(mcp_part_error(&f.part) == 0 || mcp_part_error_text(&f.part)[0] != '\0');
        client_core_seen(&f.core, &f.part, f.now_ms);
    }
    assert_int_equal(lasts, begun); /* every exchange has its end */
    assert_int_equal(client_core_in_flight(&f.core), 0);
    core_tear_down(&f);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(exchange_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_until_the_last),
        cmocka_unit_test(errors_end_their_exchange_but_not_on_session_0),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(kept_parts_come_first_and_in_order),
        cmocka_unit_test(connecting_is_tried_again_with_back_off),
        cmocka_unit_test(a_request_is_sent_again_where_that_is_safe),
        cmocka_unit_test(reconnecting_gives_up_after_five),
        cmocka_unit_test(without_retries_nothing_is_repeated),
        cmocka_unit_test(a_peer_that_is_no_mcp_server_ends_it),
        cmocka_unit_test(unknown_frames_of_a_newer_server_are_skipped),
        cmocka_unit_test(a_heartbeat_leaves_after_30_s_without_sending),
        cmocka_unit_test(three_missed_heartbeats_close_an_idle_connection),
        cmocka_unit_test(foreign_heartbeats_are_ignored),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
