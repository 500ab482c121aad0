/* SPDX-License-Identifier: Apache-2.0 */
/* The times that the protocol names, over MCP, in virtual time: requests in pieces that do not go
 * on, frames that come too slowly, connections without a byte. No node is up; none is needed. */
#include <stdio.h>
#include <string.h>

#include "terms.h"
#include "wire/frame.h"

enum { SESSION = 7 };

struct world world; /* of the helpers; only the network and the loops are used here */

static struct sock *sock;
static struct wire_conn conn;
static struct buf said; /* what came, a line for each frame */
static bool is_closed;

uint64_t pick(uint64_t n)
{
    return n == 0 ? 0 : virtual_net_random(world.net) % n;
}

bool one_in(uint64_t n)
{
    return pick(n) == 0;
}

/* --- the client */

static void on_connected(void *owner)
{
    (void)owner;
}

/* What stands behind `key` up to a quote; empty: it is not there. */
static struct slice word_behind(struct slice text, struct slice key)
{
    const char *at = memmem(text.ptr, text.len, key.ptr, key.len);
    struct slice word = {0};

    if (at != NULL) {
        word = slice_skip(text, (size_t)(at - text.ptr) + key.len);
        word.len = (size_t)((const char *)memchr(word.ptr, '"', word.len) - word.ptr);
    }
    return word;
}

static void on_data(void *owner, struct slice in)
{
    struct wire_event ev;
    ptrdiff_t used;

    (void)owner;
    while ((used = wire_conn_recv(&conn, in, 0, &ev)) > 0) {
        struct slice code = word_behind(ev.payload, SLICE("\"code\":\""));
        struct slice reason = word_behind(ev.payload, SLICE("\"reason\":\""));

        in = slice_skip(in, (size_t)used);
        if (ev.kind == WIRE_EVENT_WELCOME) {
            wire_conn_negotiated(&conn, WIRE_SINCE_CHUNK | WIRE_SINCE_GOAWAY);
        } else if (code.len > 0) {
            buf_printf(&said, "%u %.*s\n", ev.session, SLICE_ARG(code));
        } else if (reason.len > 0) {
            buf_printf(&said, "GOAWAY %.*s\n", SLICE_ARG(reason));
        } else {
            assert_int_equal(ev.kind, WIRE_EVENT_HEARTBEAT);
            buf_append_str(&said, "beat\n");
        }
    }
}

static void on_eof(void *owner)
{
    (void)owner;
    is_closed = true;
}

static void on_closed(void *owner, int error)
{
    (void)owner;
    (void)error;
    is_closed = true;
}

static const struct sock_ops ops = {
    .connected = on_connected, .data = on_data, .eof = on_eof, .closed = on_closed};

static void say(enum wire_opcode opcode, uint32_t session, struct slice payload)
{
    struct buf out = {0};

    assert_true(wire_frame_append(&out, opcode, session, payload) &&
                sock_write(sock, buf_slice(&out)));
    buf_fini(&out);
}

static void run_ms(uint64_t ms)
{
    (void)virtual_net_run(world.net, NULL, NULL, ms * 1000);
}

static void expect(const char *want)
{
    assert_true(buf_append_byte(&said, '\0'));
    assert_string_equal(buf_slice(&said).ptr, want);
    buf_clear(&said);
}

/* --- the world */

static int open_world(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:11434"};
    const struct config_args args = {.node_urls = urls,
                                     .node_count = 1,
                                     .mcp_listen = MCP_ADDRESS,
                                     .http_listen = "off",
                                     .admin_listen = "off",
                                     .access_log = "off",
                                     .mode = "single"};
    const struct wire_config wire = {.role = WIRE_CLIENT, .max_frame_bytes = 16 << 20};
    struct err e = {0};
    struct addr at;

    (void)state;
    world.net = virtual_net_new(1, &virtual_calm);
    world.loop = virtual_loop_new(world.net);
    world.gateway_loop = virtual_loop_new(world.net);
    world.config = config_load(&args, &e);
    assert_non_null(world.config);
    assert_int_equal(gateway_open(&world.gateway, world.config, NULL, world.gateway_loop, &e), 0);
    gateway_start(&world.gateway);
    assert_int_equal(addr_parse(&at, SLICE(MCP_ADDRESS), NULL), 0);
    sock = sock_connect(world.loop, &at, &ops, NULL);
    assert_non_null(sock);
    wire_conn_init(&conn, &wire);
    is_closed = false;
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    sock_close(&sock, false);
    wire_conn_fini(&conn);
    buf_release(&said);
    run_ms(10000);
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    gateway_close(&world.gateway);
    loop_free(&world.gateway_loop);
    loop_free(&world.loop);
    config_unref(&world.config);
    virtual_net_free(&world.net);
    return 0;
}

static void greet(void)
{
    say(WIRE_OP_HELLO, 0, SLICE("{\"features\":[\"chunk\",\"goaway\"]}"));
    wire_conn_greeted(&conn);
    run_ms(100);
    expect("");
}

static void beat_for_ms(uint64_t ms)
{
    for (; ms >= 10000; ms -= 10000) {
        say(WIRE_OP_HEARTBEAT, 1, SLICE(""));
        run_ms(10000);
    }
    run_ms(ms);
}

/* --- tests */

static void a_request_that_does_not_go_on_is_refused_after_30_s(void **state)
{
    (void)state;
    greet();
    say(WIRE_OP_CHUNK, SESSION, SLICE("{\"model\":"));
    run_ms(29000);
    expect("");
    say(WIRE_OP_CHUNK, SESSION, SLICE("\"m\","));
    run_ms(29900);
    expect("");
    assert_true(atomic_load(&world.gateway.bodies.held_bytes) > 0);
    run_ms(200);
    expect("7 bad_request\n");
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    /* What belonged to it is skipped; then the session is as new. */
    say(WIRE_OP_CHUNK, SESSION, SLICE("\"prompt\":"));
    say(WIRE_OP_REQUEST, SESSION, SLICE("\"a\"}"));
    run_ms(100);
    expect("");
    say(WIRE_OP_REQUEST, SESSION, SLICE("{}"));
    run_ms(100);
    expect("7 bad_request\n");
    assert_false(is_closed);
}

static void each_session_has_its_own_30_s(void **state)
{
    (void)state;
    greet();
    for (uint32_t session = 1; session <= 3; session++) {
        say(WIRE_OP_CHUNK, session, SLICE("{"));
        run_ms(1000);
    }
    say(WIRE_OP_CHUNK, 1, SLICE(" "));
    run_ms(27500); /* 28.5 s behind the last piece of 3, 29.5 s behind that of 2 */
    expect("");
    run_ms(1000);
    expect("2 bad_request\n");
    run_ms(2000);
    expect("3 bad_request\n1 bad_request\n");
}

static void a_frame_may_take_its_time_but_not_stand_still(void **state)
{
    static const char begun[] = {1, WIRE_OP_CHUNK, 0, 0, 0, 7, 0, 0, 1, 0, 'x'};

    (void)state;
    greet();
    assert_true(sock_write(sock, slice_of(begun, sizeof(begun))));
    run_ms(9900);
    assert_false(is_closed);
    run_ms(200);
    assert_true(is_closed);
    expect(""); /* a close without a word */
}

static void three_missed_heartbeats_close(void **state)
{
    (void)state;
    greet();
    beat_for_ms(200000);
    assert_false(is_closed);
    buf_clear(&said);
    run_ms(75000);
    assert_false(is_closed);
    run_ms(10000);
    expect("GOAWAY idle\n");
    assert_true(is_closed);
}

static void pieces_are_life_too(void **state)
{
    (void)state;
    greet();
    for (int i = 0; i < 10; i++) {
        say(WIRE_OP_CHUNK, SESSION, SLICE(" "));
        run_ms(25000);
    }
    expect("");
    assert_false(is_closed);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
