/* SPDX-License-Identifier: Apache-2.0 */
/* The times that the protocol names, over MCP, in virtual time: requests in pieces that do not go
 * on, frames that come too slowly, connections without a byte. No node is up; none is needed. */
#include "mcp_peer.h"

enum { SESSION = 7, BEATS = 20000 };

static int open_world(void **state)
{
    (void)state;
    return mcp_peer_open(&virtual_calm);
}

static int close_world(void **state)
{
    (void)state;
    return mcp_peer_close();
}

static void greet(void)
{
    mcp_peer_greet("{\"features\":[\"chunk\",\"goaway\"]}", WIRE_SINCE_CHUNK | WIRE_SINCE_GOAWAY);
}

static void beat_for_ms(uint64_t ms)
{
    for (; ms >= 10000; ms -= 10000) {
        mcp_peer_say(WIRE_OP_HEARTBEAT, 1, SLICE(""));
        mcp_peer_run_ms(10000);
    }
    mcp_peer_run_ms(ms);
}

/* --- tests */

static void a_request_that_does_not_go_on_is_refused_after_30_s(void **state)
{
    (void)state;
    greet();
    mcp_peer_say(WIRE_OP_CHUNK, SESSION, SLICE("{\"model\":"));
    mcp_peer_run_ms(29000);
    mcp_peer_expect("");
    mcp_peer_say(WIRE_OP_CHUNK, SESSION, SLICE("\"m\","));
    mcp_peer_run_ms(29900);
    mcp_peer_expect("");
    assert_true(atomic_load(&world.gateway.bodies.held_bytes) > 0);
    mcp_peer_run_ms(200);
    mcp_peer_expect("7 bad_request\n");
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    /* What belonged to it is skipped; then the session is as new. */
    mcp_peer_say(WIRE_OP_CHUNK, SESSION, SLICE("\"prompt\":"));
    mcp_peer_say(WIRE_OP_REQUEST, SESSION, SLICE("\"a\"}"));
    mcp_peer_run_ms(100);
    mcp_peer_expect("");
    mcp_peer_say(WIRE_OP_REQUEST, SESSION, SLICE("{}"));
    mcp_peer_run_ms(100);
    mcp_peer_expect("7 bad_request\n");
    assert_false(peer.is_closed);
}

static void each_session_has_its_own_30_s(void **state)
{
    (void)state;
    greet();
    for (uint32_t session = 1; session <= 3; session++) {
        mcp_peer_say(WIRE_OP_CHUNK, session, SLICE("{"));
        mcp_peer_run_ms(1000);
    }
    mcp_peer_say(WIRE_OP_CHUNK, 1, SLICE(" "));
    mcp_peer_run_ms(27500); /* 28.5 s behind the last piece of 3, 29.5 s behind that of 2 */
    mcp_peer_expect("");
    mcp_peer_run_ms(1000);
    mcp_peer_expect("2 bad_request\n");
    mcp_peer_run_ms(2000);
    mcp_peer_expect("3 bad_request\n1 bad_request\n");
}

static void a_frame_may_take_its_time_but_not_stand_still(void **state)
{
    static const char begun[] = {1, WIRE_OP_CHUNK, 0, 0, 0, 7, 0, 0, 1, 0, 'x'};

    (void)state;
    greet();
    assert_true(sock_write(peer.sock, slice_of(begun, sizeof(begun))));
    mcp_peer_run_ms(9900);
    assert_false(peer.is_closed);
    mcp_peer_run_ms(200);
    assert_true(peer.is_closed);
    mcp_peer_expect(""); /* a close without a word */
}

static void three_missed_heartbeats_close(void **state)
{
    (void)state;
    greet();
    beat_for_ms(200000);
    assert_false(peer.is_closed);
    buf_clear(&peer.said);
    mcp_peer_run_ms(75000);
    assert_false(peer.is_closed);
    mcp_peer_run_ms(10000);
    mcp_peer_expect("GOAWAY idle\n");
    assert_true(peer.is_closed);
}

static void pieces_are_life_too(void **state)
{
    (void)state;
    greet();
    for (int i = 0; i < 10; i++) {
        mcp_peer_say(WIRE_OP_CHUNK, SESSION, SLICE(" "));
        mcp_peer_run_ms(25000);
    }
    mcp_peer_expect("");
    assert_false(peer.is_closed);
}

/* What the server does not read cannot be late, though the client gave it long ago. */
static void pieces_are_not_late_while_nobody_reads_them(void **state)
{
    static const char beat[64] = {0};

    (void)state;
    greet();
    peer.counts_only = peer.sips = true;
    mcp_peer_say(WIRE_OP_CHUNK, SESSION, SLICE("{\"model\":\"m\","));
    for (int i = 0; i < BEATS; i++) {
        mcp_peer_say(WIRE_OP_HEARTBEAT, 1, slice_of(beat, sizeof(beat)));
    }
    mcp_peer_say(WIRE_OP_REQUEST, SESSION, SLICE("\"prompt\":\"a\"}"));
    for (int i = 0; i < 12; i++) { /* a little, so that it does not count as gone */
        mcp_peer_run_ms(10000);
        assert_true(peer.beats < BEATS);
        sock_resume(peer.sock);
    }
    mcp_peer_expect("");
    peer.sips = false;
    sock_resume(peer.sock);
    mcp_peer_run_ms(1000);
    assert_int_equal(peer.beats, BEATS);
    mcp_peer_expect("7 node_unavailable\n");
    assert_false(peer.is_closed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(a_request_that_does_not_go_on_is_refused_after_30_s),
        TEST(each_session_has_its_own_30_s),
        TEST(a_frame_may_take_its_time_but_not_stand_still),
        TEST(three_missed_heartbeats_close),
        TEST(pieces_are_life_too),
        TEST(pieces_are_not_late_while_nobody_reads_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
