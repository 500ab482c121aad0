/* SPDX-License-Identifier: Apache-2.0 */
/* A listener that wants PROXY headers, in virtual time: headers cut anywhere, late, wrong, and
 * still owed when the gateway ends. */
#include <string.h>

#include "base/counter.h"
#include "mcp_peer.h"

enum { HEADER_BYTES = 28, BEAT_BYTES = 10, LIMIT_MS = 10000 };

/* A header, and a heartbeat behind it. */
static const char bytes[HEADER_BYTES + BEAT_BYTES] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                                                     "\xc0\0\2\1\x7f\0\0\1\1\1\1\1"
                                                     "\1\3\0\0\0\7\0\0\0";

static int open_world(void **state)
{
    (void)state;
    mcp_peer_is_proxied = true;
    return mcp_peer_open(&virtual_calm);
}

static int close_world(void **state)
{
    (void)state;
    mcp_peer_is_proxied = false;
    return mcp_peer_close();
}

static void send_bytes(size_t from, size_t to)
{
    assert_true(sock_write(peer.sock, slice_of(bytes + from, to - from)));
    mcp_peer_run_ms(100);
}

static int64_t counted(enum counter_id id)
{
    return counter_get(&world.gateway.subs[0].counters, id) +
           counter_get(&world.gateway.counters, id);
}

/* --- tests */

static void a_header_may_be_cut_anywhere(void **state)
{
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        (void)open_world(state);
        send_bytes(0, cut);
        mcp_peer_run_ms(LIMIT_MS / 2);
        send_bytes(cut, sizeof(bytes));
        mcp_peer_expect("beat\n");
        /* From now on only the protocol's own times count. */
        mcp_peer_run_ms(LIMIT_MS * 2);
        assert_false(peer.is_closed);
        assert_int_equal(counted(COUNTER_PROXY_CLIENT), 1);
        (void)close_world(state);
    }
}

static void a_header_that_is_late_closes(void **state)
{
    (void)state;
    send_bytes(0, HEADER_BYTES - 1);
    mcp_peer_run_ms(LIMIT_MS - 200);
    assert_false(peer.is_closed);
    mcp_peer_run_ms(300);
    assert_true(peer.is_closed);
    assert_int_equal(counted(COUNTER_PROXY_MALFORMED), 1);
    assert_int_equal(counted(COUNTER_OPEN_MCP), 0);
}

static void no_header_at_all_closes(void **state)
{
    (void)state;
    send_bytes(HEADER_BYTES, sizeof(bytes));
    assert_true(peer.is_closed);
    mcp_peer_expect("");
    assert_int_equal(counted(COUNTER_PROXY_MALFORMED), 1);
}

static void on_stopped(void *owner)
{
    bool *stopped = owner;

    *stopped = true;
}

static void the_end_does_not_wait_for_one(void **state)
{
    bool stopped = false;

    (void)state;
    send_bytes(0, 3);
    gateway_stop(&world.gateway, on_stopped, &stopped);
    mcp_peer_run_ms(1000);
    assert_true(peer.is_closed && stopped);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_may_be_cut_anywhere),
        TEST(a_header_that_is_late_closes),
        TEST(no_header_at_all_closes),
        TEST(the_end_does_not_wait_for_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
