/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/mcp_out.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "reactor/loop.h"
#include "wire/conn.h"

enum { LANES = 3, PEER_BYTES = 64 * 1024, ENDLESS = 1 << 30 };

static struct loop *loop;
static struct sock *sock;
static int peer;
static struct mcp_out out;
static struct mcp_lane lanes[LANES]; /* sessions 1 to 3 */
static struct buf got;               /* by the peer */
static struct buf text;              /* what that says: a letter and the session for each frame */
static char emptied[64];             /* sessions */

/* --- the two ends */

static void on_data(void *owner, struct slice in)
{
    (void)owner;
    (void)in;
}

static void on_eof(void *owner)
{
    (void)owner;
}

static void on_sent(void *owner)
{
    (void)owner;
    mcp_out_sent(&out);
}

static void on_closed(void *owner, int error)
{
    (void)owner;
    (void)error;
}

static const struct sock_ops ops = {
    .data = on_data, .eof = on_eof, .sent = on_sent, .closed = on_closed};

static void on_emptied(void *owner, struct mcp_lane *lane)
{
    size_t at = strlen(emptied);

    assert_ptr_equal(owner, &out);
    assert_true(mcp_lane_is_empty(lane));
    emptied[at] = (char)('0' + lane->session);
    emptied[at + 1] = '\0';
}

static int open_world(void **state)
{
    int bytes = PEER_BYTES;
    int fds[2];

    (void)state;
    loop = loop_new();
    assert_non_null(loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    peer = fds[1];
    sock = sock_adopt(loop, fds[0], &ops, NULL);
    assert_non_null(sock);
    mcp_out_init(&out, sock, on_emptied, &out);
    for (uint32_t i = 0; i < LANES; i++) {
        lanes[i] = (struct mcp_lane){.session = i + 1, .balance = ENDLESS};
    }
    emptied[0] = '\0';
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    for (size_t i = 0; i < LANES; i++) {
        mcp_lane_fini(&out, &lanes[i]);
    }
    assert_int_equal(mcp_out_unsent(&out), sock_unsent(sock) + buf_len(&out.control));
    assert_int_equal(out.free_bytes, 0);
    mcp_out_fini(&out);
    sock_close(&sock, true);
    (void)close(peer);
    loop_free(&loop);
    buf_release(&got);
    buf_release(&text);
    return 0;
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static bool read_peer(void)
{
    char bytes[64 * 1024];
    ssize_t n = read(peer, bytes, sizeof(bytes));

    return n > 0 && buf_append(&got, slice_of(bytes, (size_t)n));
}

/* Until nothing moves any more. */
static void settle(void)
{
    struct task task;
    unsigned still = 0;

    task_init(&task, stop, NULL);
    while (still < 3) {
        task_defer(loop, &task);
        loop_run(loop);
        still = read_peer() ? 0 : still + 1;
    }
}

/* Frames as "R1 H7", a piece as "c1", an ACK "A1"; nothing of a frame may be missing. */
static const char *said(void)
{
    static const char NAMES[] = {
        [WIRE_OP_RESPONSE] = 'R',
        [WIRE_OP_HEARTBEAT] = 'H',
        [WIRE_OP_ACK] = 'A',
        [WIRE_OP_CHUNK] = 'c',
    };

    buf_clear(&text);
    while (buf_len(&got) > 0) {
        struct mcp_header h;

        assert_true(buf_len(&got) >= WIRE_HEADER_BYTES);
        h = wire_header_decode((const uint8_t *)buf_slice(&got).ptr);
        assert_true(buf_len(&got) >= WIRE_HEADER_BYTES + h.length);
        buf_printf(&text, "%s%c%u", buf_len(&text) > 0 ? " " : "", NAMES[h.opcode], h.session_id);
        buf_consume(&got, WIRE_HEADER_BYTES + h.length);
    }
    assert_true(buf_append_byte(&text, '\0'));
    return buf_slice(&text).ptr;
}

/* --- putting */

static struct slice letters(size_t n)
{
    static char *bytes;

    if (bytes == NULL) {
        bytes = malloc(1 << 20);
        assert_non_null(bytes);
        memset(bytes, 'x', 1 << 20);
    }
    return slice_of(bytes, n);
}

static void part(size_t lane, size_t n)
{
    mcp_out_part(&out, &lanes[lane], letters(n));
}

/* The socket and the kernel have as much as they take; the peer has nothing yet. What they took is
 * of session 9. */
static void fill(void)
{
    size_t n = 0;

    while (!out.waiting) {
        mcp_out_control(&out, WIRE_OP_RESPONSE, 9, letters(8000));
        assert_true(++n < 1000);
    }
}

/* What was said behind that. */
static const char *said_behind_filling(void)
{
    const char *all = said();
    const char *at = all;

    while (strncmp(at, "R9 ", 3) == 0) {
        at += 3;
    }
    return at;
}

/* --- tests */

static void what_fits_goes_straight_to_the_socket(void **state)
{
    (void)state;
    part(0, 10);
    mcp_out_aside(&out, &lanes[1], WIRE_OP_ACK, SLICE("{}"));
    mcp_out_control(&out, WIRE_OP_HEARTBEAT, 7, SLICE("x"));
    part(0, 5);
    assert_false(out.waiting);
    assert_true(mcp_lane_is_empty(&lanes[0]));
    assert_int_equal(lanes[0].balance, ENDLESS - 15);
    assert_int_equal(lanes[1].balance, ENDLESS);
    assert_int_equal(mcp_out_unsent(&out), 4 * WIRE_HEADER_BYTES + 18);
    settle();
    assert_string_equal(said(), "R1 A2 H7 R1");
    assert_string_equal(emptied, "");
}

static void lanes_take_turns_and_keep_their_order(void **state)
{
    (void)state;
    fill();
    for (int i = 0; i < 5; i++) {
        part(0, 1000);
    }
    part(1, 1000);
    part(2, 1000);
    part(1, 1000);
    mcp_out_aside(&out, &lanes[2], WIRE_OP_RESPONSE, SLICE("{}"));
    assert_int_equal(out.ready_bytes, 8002);
    settle();
    assert_string_equal(said_behind_filling(), "R1 R2 R3 R1 R2 R3 R1 R1 R1");
    assert_string_equal(emptied, "231");
    assert_int_equal(lanes[0].balance, ENDLESS - 5000);
    assert_int_equal(lanes[2].balance, ENDLESS - 1000);
    assert_false(out.waiting);
}

static void control_goes_ahead(void **state)
{
    (void)state;
    fill();
    part(0, 1000);
    part(0, 1000);
    mcp_out_control(&out, WIRE_OP_HEARTBEAT, 7, SLICE("x"));
    mcp_out_control(&out, WIRE_OP_RESPONSE, 0, SLICE("{}"));
    assert_true(mcp_out_control_bytes(&out) >= 2 * WIRE_HEADER_BYTES + 3);
    settle();
    assert_string_equal(said_behind_filling(), "H7 R0 R1 R1");
    assert_int_equal(mcp_out_control_bytes(&out), 0);
}

static void pieces_of_lanes_interleave(void **state)
{
    (void)state;
    mcp_out_negotiated(&out, WIRE_SINCE_CHUNK, 4096);
    fill();
    part(0, 10000);
    part(1, 100);
    part(1, 4096);
    settle();
    assert_string_equal(said_behind_filling(), "c1 R2 c1 R2 R1");
}

static void a_long_part_goes_as_far_as_it_can(void **state)
{
    (void)state;
    mcp_out_negotiated(&out, WIRE_SINCE_CHUNK, 16 << 20);
    part(0, 1000000);
    assert_false(mcp_lane_is_empty(&lanes[0]));
    assert_true(lanes[0].begun && lanes[0].charged_bytes < 1000000);
    assert_int_equal(lanes[0].balance + (int64_t)1000000 - (int64_t)lanes[0].charged_bytes,
                     ENDLESS);
    settle();
    assert_string_equal(said(),
                        "c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 R1"); /* 15.26 x 64 KiB */
    assert_string_equal(emptied, "1");
}

static void what_is_dropped_is_not_sent(void **state)
{
    (void)state;
    fill();
    part(0, 1000);
    part(0, 1000);
    part(1, 1000);
    assert_int_equal(mcp_out_drop(&out, &lanes[0]), 2);
    assert_int_equal(out.ready_bytes, 1000);
    mcp_out_aside(&out, &lanes[0], WIRE_OP_RESPONSE, SLICE("{}"));
    settle();
    assert_string_equal(said_behind_filling(), "R2 R1");
}

static void a_part_that_has_begun_is_taken_back(void **state)
{
    (void)state;
    mcp_out_negotiated(&out, WIRE_SINCE_CHUNK, 16 << 20);
    part(0, 1000000);
    part(0, 10);
    assert_int_equal(mcp_out_drop(&out, &lanes[0]), 2);
    mcp_out_aside(&out, &lanes[0], WIRE_OP_RESPONSE, SLICE("{}"));
    settle();
    buf_clear(&text);
    while (buf_len(&got) > 0) { /* the last two frames: an empty piece, the error */
        struct mcp_header h = wire_header_decode((const uint8_t *)buf_slice(&got).ptr);

        buf_printf(&text, "%s", h.length == 0 ? "E" : h.opcode == WIRE_OP_CHUNK ? "c" : "R");
        buf_consume(&got, WIRE_HEADER_BYTES + h.length);
    }
    assert_true(buf_append_byte(&text, '\0'));
    assert_non_null(strstr(buf_slice(&text).ptr, "ccER"));
}

static void credit_is_charged_as_frames_go(void **state)
{
    struct mcp_lane *lane = &lanes[0];

    (void)state;
    lane->balance = 100;
    part(0, 60);
    assert_false(mcp_lane_is_spent(lane));
    part(0, 60);
    assert_true(mcp_lane_is_spent(lane));
    assert_int_equal(lane->balance, -20);
    part(0, 60);
    part(0, 30);
    assert_true(mcp_lane_holds_last(lane));
    assert_int_equal(out.ready_bytes, 0);
    mcp_out_aside(&out, &lanes[1], WIRE_OP_RESPONSE, SLICE("{}")); /* others are not held up */
    settle();
    assert_string_equal(said(), "R1 R1 R2");
    mcp_out_credit(&out, lane, 20);
    settle();
    assert_string_equal(said(), "");
    mcp_out_credit(&out, lane, 60);
    assert_true(mcp_lane_is_spent(lane)); /* 60 for 90 */
    settle();
    assert_string_equal(said(), "R1");
    assert_true(mcp_lane_holds_last(lane));
    mcp_out_credit(&out, lane, 1);
    assert_false(mcp_lane_holds_last(lane));
    settle();
    assert_string_equal(said(), "R1");
    assert_string_equal(emptied, "1");
    assert_int_equal(lane->balance, -29);
}

static void what_waits_for_the_socket_is_not_held(void **state)
{
    struct mcp_lane *lane = &lanes[0];

    (void)state;
    fill();
    lane->balance = 100;
    part(0, 60);
    assert_false(mcp_lane_holds_last(lane));
    part(0, 60);
    assert_false(mcp_lane_holds_last(lane)); /* begun with 40 */
    assert_true(mcp_lane_is_spent(lane));
    part(0, 60);
    part(0, 60);
    assert_true(mcp_lane_holds_last(lane));
    assert_int_equal(mcp_out_drop_held(&out, lane), 2);
    assert_false(mcp_lane_holds_last(lane));
    mcp_out_aside(&out, lane, WIRE_OP_RESPONSE, SLICE("{}"));
    settle();
    assert_string_equal(said_behind_filling(), "R1 R1 R1");
    assert_int_equal(lane->balance, -20);
}

static void an_error_is_behind_parts_and_never_held(void **state)
{
    (void)state;
    lanes[0].balance = 1;
    part(0, 50);
    part(0, 50);
    part(0, 50);
    assert_int_equal(mcp_out_drop_held(&out, &lanes[0]), 2);
    mcp_out_aside(&out, &lanes[0], WIRE_OP_RESPONSE, SLICE("{}"));
    assert_true(mcp_lane_is_empty(&lanes[0]));
    settle();
    assert_string_equal(said(), "R1 R1");
}

static void a_finish_sends_what_may_go(void **state)
{
    (void)state;
    fill();
    lanes[1].balance = 0;
    part(0, 1000);
    part(1, 1000);
    mcp_out_control(&out, WIRE_OP_HEARTBEAT, 7, SLICE("x"));
    mcp_out_finish(&out);
    assert_int_equal(out.ready_bytes, 0);
    assert_true(mcp_lane_is_empty(&lanes[0]));
    assert_true(mcp_lane_holds_last(&lanes[1]));
    settle();
    assert_string_equal(said_behind_filling(), "H7 R1");
}

static void with_crc32c_frames_end_in_it(void **state)
{
    const struct wire_config config = {.role = WIRE_CLIENT, .max_frame_bytes = 16 << 20};
    struct wire_event ev;
    struct wire_conn c;
    struct slice in;
    size_t count = 0;
    ptrdiff_t used;

    (void)state;
    mcp_out_negotiated(&out, WIRE_SINCE_CRC32C | WIRE_SINCE_CHUNK, 4096);
    fill();
    part(0, 10000);
    part(1, 0);
    mcp_out_control(&out, WIRE_OP_HEARTBEAT, 7, SLICE("x"));
    settle();
    part(2, 10);
    settle();
    wire_conn_init(&c, &config);
    wire_conn_negotiated(&c, WIRE_SINCE_CRC32C | WIRE_SINCE_CHUNK);
    in = buf_slice(&got);
    while ((used = wire_conn_recv(&c, in, 0, &ev)) > 0) {
        assert_false(ev.close);
        count += ev.session != 9;
        assert_true(ev.session == 9 || ev.payload.len <= 4092);
        in = slice_skip(in, (size_t)used);
    }
    assert_int_equal(count, 3 + 1 + 1 + 1);
    wire_conn_fini(&c);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    (void)open_world(NULL);
    fill();
    alloc_fault_at(1);
    part(0, 20000); /* larger than any block that is kept */
    alloc_fault_at(0);
    assert_true(out.failed);
    (void)close_world(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(what_fits_goes_straight_to_the_socket),
        TEST(lanes_take_turns_and_keep_their_order),
        TEST(control_goes_ahead),
        TEST(pieces_of_lanes_interleave),
        TEST(a_long_part_goes_as_far_as_it_can),
        TEST(what_is_dropped_is_not_sent),
        TEST(a_part_that_has_begun_is_taken_back),
        TEST(credit_is_charged_as_frames_go),
        TEST(what_waits_for_the_socket_is_not_held),
        TEST(an_error_is_behind_parts_and_never_held),
        TEST(a_finish_sends_what_may_go),
        TEST(with_crc32c_frames_end_in_it),
        cmocka_unit_test(out_of_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
