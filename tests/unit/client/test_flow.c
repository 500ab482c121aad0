/* SPDX-License-Identifier: Apache-2.0 */
/* What the core does with a server that has credit, chunk and goaway. */
#include "core_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- credit --------------------------------------------------------------------------------------
 */

static void credit_is_given_for_what_was_received(void **state)
{
    static char part[312];
    struct core_fixture f;

    (void)state;
    memset(part, ' ', sizeof(part));
    memcpy(part, "{\"done\":false}", 14);
    part[sizeof(part) - 1] = '\0';
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL); /* a window of 1000 */
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; 1 6 " SENT_GENERATE "; ");
    core_respond(&f, 5, part); /* 311 bytes */
    core_frame(&f, WIRE_OP_ACK, 6, slice_str(part));
    core_frame(&f, WIRE_OP_ACK, 6, slice_str(part));
    core_respond(&f, 6, part);
    core_expect_sent(&f, "");
    core_respond(&f, 5, part);
    core_expect_sent(&f, "19 5 622; ");
    core_respond(&f, 5, part);
    core_expect_sent(&f, "");
    core_respond(&f, 6, part);
    core_expect_sent(&f, "19 6 622; ");
    core_respond(&f, 5, "{\"done\":true}"); /* no use any more */
    core_expect_sent(&f, "");

    /* In pieces: for the whole, when it is received. */
    core_frame(&f, WIRE_OP_CHUNK, 6, slice_str(part));
    core_frame(&f, WIRE_OP_CHUNK, 6, slice_of(part + 14, 297));
    core_expect_sent(&f, "");
    core_respond(&f, 6, " ");
    core_expect_sent(&f, "19 6 609; ");
    core_tear_down(&f);
}

static void parts_that_are_kept_cost_credit(void **state)
{
    static char part[702];
    struct core_fixture f;
    struct buf frame = {0};

    (void)state;
    memset(part, ' ', sizeof(part));
    memcpy(part, "{\"done\":false}", 14);
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    core_append(&f, &frame, WIRE_OP_RESPONSE, 5, slice_of(part, 701));
    assert_true(client_core_recv(&f.core, buf_slice(&frame), f.now_ms, &f.part) > 0);
    client_core_keep(&f.core, &f.part, f.now_ms);
    core_expect_sent(&f, ""); /* nobody has seen it */
    core_collect(&f);
    core_expect_sent(&f, "19 5 701; ");
    buf_fini(&frame);
    core_tear_down(&f);
}

/* --- chunk ---------------------------------------------------------------------------------------
 */

static void long_requests_leave_in_pieces_and_in_turn(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request_long(&f, 5, 65536), 0);
    core_expect_sent(&f, "1 5 [65536]; "); /* as much as goes alone */
    core_respond(&f, 5, "{\"done\":true}");
    assert_int_equal(core_request_long(&f, 5, 65536 * 3), 0);
    assert_int_equal(core_request_long(&f, 6, 65536 + 1), 0);
    assert_true(client_core_heartbeat(&f.core, f.now_ms) > 0);
    core_expect_sent(&f, "22 5 [65536]; 3 0 ; "); /* what waits to be written is little */
    core_expect_sent(&f, "22 5 [65536]; ");
    core_expect_sent(&f, "22 6 [65536]; ");
    core_expect_sent(&f, "1 5 [65536]; ");
    core_expect_sent(&f, "1 6 }; ");
    core_expect_sent(&f, "");
    core_tear_down(&f);
}

static void a_small_receiver_gets_small_pieces(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, "{\"max_frame\":4096,\"features\":[\"chunk\",\"crc32c\"]}");
    assert_int_equal(core_request_long(&f, 5, 4092 * 2), 0);
    core_expect_sent(&f, "22 5 [4092]; 1 5 [4092]; ");
    core_tear_down(&f);
}

static void a_request_sent_in_pieces_is_sent_again_whole(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request_long(&f, 5, 65536 * 2), 0);
    core_expect_sent(&f, "22 5 [65536]; ");
    core_lose(&f, MCP_ECLOSED);
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "16 0 ; ");
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE(WELCOME_OF("\"chunk\"")));
    core_expect_sent(&f, "22 5 [65536]; ");
    core_expect_sent(&f, "1 5 [65536]; ");
    core_tear_down(&f);
}

static void a_request_refused_in_the_middle_stops(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request_long(&f, 5, 65536 * 3), 0);
    core_expect_sent(&f, "22 5 [65536]; ");
    core_respond(&f, 5, "{\"error\":\"no\",\"code\":\"too_large\",\"done\":true}");
    core_expect_log(&f,
                    "5 {\"error\":\"no\",\"code\":\"too_large\",\"done\":true} last too_large; ");
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, "22 5 [65536]; 22 5 [0]; ");
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    core_tear_down(&f);
}

static void a_request_cancelled_in_the_middle_is_taken_back(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request_long(&f, 5, 65536 * 3), 0);
    assert_int_equal(core_request_long(&f, 6, 65536 * 3), 0);
    core_cancel(&f, 6, 0); /* nothing of it has left */
    core_cancel(&f, 5, 0);
    core_expect_sent(&f, "22 5 [65536]; 22 5 [0]; ");
    core_expect_sent(&f, "");
    core_collect(&f);
    core_expect_log(&f,
                    "5 " CANCELLED_HERE " last cancelled; 6 " CANCELLED_HERE " last cancelled; ");
    core_tear_down(&f);
}

static void parts_come_in_pieces(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_frame(&f, WIRE_OP_CHUNK, 9, SLICE("nobody")); /* asked there */
    core_frame(&f, WIRE_OP_CHUNK, 5, SLICE("{\"error\":\"no\","));
    core_frame(&f, WIRE_OP_CHUNK, 9, SLICE("asked"));
    core_frame(&f, WIRE_OP_RESPONSE, 9, SLICE("there"));
    core_expect_log(&f, "");
    core_respond(&f, 5, "\"code\":\"internal\"}");
    core_expect_log(&f, "5 {\"error\":\"no\",\"code\":\"internal\"} last internal; ");
    /* What is behind an end is no beginning. */
    core_frame(&f, WIRE_OP_CHUNK, 5, SLICE("more"));
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_frame(&f, WIRE_OP_RESPONSE, 5, SLICE("even more"));
    core_respond(&f, 5, "{\"done\":true}");
    core_expect_log(&f, "5 {\"done\":true} last -; ");
    assert_int_equal(f.core.pieces_bytes, 0);
    core_tear_down(&f);
}

static void a_part_without_end_ends_the_connection(void **state)
{
    enum { PIECE = 64 * 1024 };
    struct core_fixture f;
    char *piece = calloc(1, PIECE);

    (void)state;
    assert_non_null(piece);
    core_set_up_offering(&f, ALL_FEATURES & ~WIRE_SINCE_CRC32C, 3);
    core_welcome(&f, WELCOME_OF("\"chunk\""));
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    f.core.chunks.config.max_payload_bytes = PIECE * 3;
    for (int i = 0; i < 3; i++) {
        core_frame(&f, WIRE_OP_CHUNK, 5, slice_of(piece, PIECE));
        assert_int_equal(f.core.state, CLIENT_READY);
    }
    core_frame(&f, WIRE_OP_CHUNK, 5, slice_of(piece, 1));
    assert_int_equal(f.core.state, CLIENT_FAILED);
    assert_int_equal(f.core.err.code, MCP_ETOO_LARGE);
    assert_int_equal(f.core.pieces_bytes, 0);
    free(piece);
    core_tear_down(&f);
}

/* --- goaway --------------------------------------------------------------------------------------
 */

static void after_goaway_new_requests_take_a_new_connection(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_expect_sent(&f, "1 5 " SENT_GENERATE "; ");
    core_frame(&f, WIRE_OP_GOAWAY, 0, SLICE("{\"reason\":\"drain\",\"retry_after_ms\":700}"));
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    core_expect_sent(&f, "");
    core_respond(&f, 5, "{\"done\":false}"); /* what runs goes on */
    client_core_tick(&f.core, f.now_ms);
    assert_int_equal(f.core.state, CLIENT_READY);
    core_respond(&f, 5, "{\"done\":true}");
    core_expect_log(&f, "5 {\"done\":false} -; 5 {\"done\":true} last -; ");
    assert_true(client_core_deadline_ms(&f.core) <= f.now_ms);
    client_core_tick(&f.core, f.now_ms);
    assert_int_equal(f.core.state, CLIENT_RETRY);
    assert_int_equal(client_core_deadline_ms(&f.core), f.now_ms + 700);
    f.now_ms += 700;
    client_core_tick(&f.core, f.now_ms);
    assert_int_equal(f.core.state, CLIENT_CONNECT);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "16 0 ; ");
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE(WELCOME_ALL));
    core_expect_sent(&f, "1 6 " SENT_GENERATE "; ");
    core_tear_down(&f);
}

static void a_server_that_is_gone_is_left_alone_as_long_as_it_said(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    core_frame(&f, WIRE_OP_GOAWAY, 0, SLICE("{\"retry_after_ms\":9000000000}"));
    core_lose(&f, MCP_ECLOSED);
    assert_int_equal(f.core.state, CLIENT_RETRY);
    assert_int_equal(client_core_deadline_ms(&f.core), f.now_ms + CLIENT_RETURN_MS_MAX);
    core_tear_down(&f);
}

static void what_has_not_begun_to_leave_waits_for_the_next_connection(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 1);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request_long(&f, 5, 65536 * 3), 0);
    assert_int_equal(core_request(&f, 6, PUSH), 0); /* stands behind a piece of it */
    core_lose(&f, MCP_ECLOSED);
    assert_int_equal(client_core_in_flight(&f.core), 2);
    assert_int_equal(f.core.failures, 0);
    core_wait_for_retry(&f, 0);
    client_core_connected(&f.core, f.now_ms);
    core_expect_sent(&f, "16 0 ; ");
    core_frame(&f, WIRE_OP_WELCOME, 0, SLICE(WELCOME_OF("\"chunk\"")));
    core_expect_sent(&f, "22 5 [65536]; ");
    core_expect_sent(&f, "22 5 [65536]; ");
    core_expect_sent(&f, "1 6 {\"model\":\"m\",\"mcp\":{\"auth\":\"key\",\"op\":\"push\"}}; "
                         "1 5 [65536]; ");
    core_tear_down(&f);
}

static void an_idle_connection_that_is_over_is_left_for_the_next_request(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 0); /* it is no repetition */
    core_welcome(&f, WELCOME_ALL);
    core_frame(&f, WIRE_OP_GOAWAY, 0, SLICE("{\"reason\":\"idle\",\"retry_after_ms\":0}"));
    assert_int_equal(f.core.state, CLIENT_READY);
    assert_true(client_core_deadline_ms(&f.core) > f.now_ms);
    assert_int_equal(core_request(&f, 6, GENERATE), 0);
    client_core_tick(&f.core, f.now_ms);
    client_core_tick(&f.core, f.now_ms);
    assert_int_equal(f.core.state, CLIENT_CONNECT);
    core_tear_down(&f);
}

static void a_request_that_crossed_goaway_moves_on(void **state)
{
    struct core_fixture f;

    (void)state;
    core_set_up_offering(&f, ALL_FEATURES, 3);
    core_welcome(&f, WELCOME_ALL);
    assert_int_equal(core_request(&f, 5, GENERATE), 0);
    assert_int_equal(core_request(&f, 6, PUSH), 0);
    core_frame(&f, WIRE_OP_GOAWAY, 0, SLICE("{\"reason\":\"drain\"}"));
#define DRAINING "{\"error\":\"draining\",\"code\":\"shutting_down\",\"done\":true}"
    core_respond(&f, 5, DRAINING);
    core_expect_log(&f, "");
    core_respond(&f, 6, DRAINING); /* never sent twice */
    core_expect_log(&f, "6 " DRAINING " last shutting_down; ");
    client_core_tick(&f.core, f.now_ms);
    client_core_tick(&f.core, f.now_ms);
    assert_int_equal(f.core.state, CLIENT_CONNECT);
    assert_int_equal(client_core_in_flight(&f.core), 1);
    core_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credit_is_given_for_what_was_received),
        cmocka_unit_test(parts_that_are_kept_cost_credit),
        cmocka_unit_test(long_requests_leave_in_pieces_and_in_turn),
        cmocka_unit_test(a_small_receiver_gets_small_pieces),
        cmocka_unit_test(a_request_sent_in_pieces_is_sent_again_whole),
        cmocka_unit_test(a_request_refused_in_the_middle_stops),
        cmocka_unit_test(a_request_cancelled_in_the_middle_is_taken_back),
        cmocka_unit_test(parts_come_in_pieces),
        cmocka_unit_test(a_part_without_end_ends_the_connection),
        cmocka_unit_test(after_goaway_new_requests_take_a_new_connection),
        cmocka_unit_test(a_server_that_is_gone_is_left_alone_as_long_as_it_said),
        cmocka_unit_test(what_has_not_begun_to_leave_waits_for_the_next_connection),
        cmocka_unit_test(an_idle_connection_that_is_over_is_left_for_the_next_request),
        cmocka_unit_test(a_request_that_crossed_goaway_moves_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
