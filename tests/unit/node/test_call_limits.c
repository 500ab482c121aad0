/* SPDX-License-Identifier: Apache-2.0 */
/* Time limits, pausing, and who may end a call when. */
#include <string.h>

#include "node/poll.h"
#include "node_caller.h"

static struct peer peer;

static const struct node_call_request upload = {
    .method = SLICE("PUT"), .path = SLICE("/b"), .upload = true, .upload_length = 1000};

/* A node that is up, listening. */
static struct node *open_node(void)
{
    struct node *n;

    peer_open(&peer);
    n = peer_node(&peer);
    node_mark_up(n);
    return n;
}

/* A call whose request has come to the node, as connection `conn`. */
static void start_asked(struct caller *c, struct node *n, size_t conn)
{
    caller_get(c, n);
    peer_wait_conns(&peer, conn + 1);
    peer_wait_request(&peer, conn);
}

/* --- connecting
 * ------------------------------------------------------------------------------------ */

static void a_refused_connection_takes_the_node_down(void **state)
{
    struct caller a = {0};
    struct caller b = {0};
    struct node *n = open_node();

    (void)state;
    peer_refuse(&peer);
    caller_get(&a, n);
    caller_get(&b, n);
    caller_wait(&b, "f");
    assert_failed(&a, MCP_ENODE_UNAVAILABLE, true, "Connection refused");
    assert_failed(&b, MCP_ENODE_UNAVAILABLE, true, "Connection refused");
    assert_int_equal(n->state, NODE_DOWN);
    assert_non_null(strstr(n->why_down, "Connection refused"));
    assert_int_equal(counted(COUNTER_NODE_CONNECT_FAILED), 2);
    assert_int_equal(counted(COUNTER_NODE_DOWN), 1);
    assert_int_equal(changes, 2);
    assert_int_equal(n->calls, 0);
}

static void a_connection_that_is_not_made_is_given_up_after_10_s(void **state)
{
    struct caller c = {0};
    struct caller paused = {0};
    struct caller uploads = {0};
    struct node *n = open_node();

    (void)state;
    hang_connects(true);
    caller_get(&c, n);
    caller_get(&paused, n);
    node_call_pause(paused.call);
    caller_start(&uploads, n, &upload);
    move_clock_ms(CONNECT_LIMIT_MS - 1);
    assert_true(node_call_body(uploads.call, SLICE("x"))); /* nobody took it */
    node_call_resume(paused.call);
    node_call_pause(paused.call);
    assert_string_equal(c.told, "");
    assert_int_equal(n->state, NODE_UP);
    move_clock_ms(1);
    assert_string_equal(c.told, "f");
    assert_failed(&c, MCP_ENODE_UNAVAILABLE, true, "no connection within 10000 ms");
    assert_failed(&uploads, MCP_ENODE_UNAVAILABLE, true, "no connection within 10000 ms");
    assert_failed(&paused, MCP_ENODE_UNAVAILABLE, true, "no connection within 10000 ms");
    assert_int_equal(n->state, NODE_DOWN);
    assert_int_equal(counted(COUNTER_NODE_TIMEOUT_CONNECT), 3);
    assert_int_equal(counted(COUNTER_NODE_CONNECT_FAILED), 3);
}

/* --- waiting for the answer
 * ------------------------------------------------------------------------ */

static void an_answer_may_begin_for_10_minutes(void **state)
{
    struct node *n = open_node();

    (void)state;
    /* Once on a fresh connection, once on a pooled one. */
    for (int pooled = 0; pooled < 2; pooled++) {
        struct caller c = {0};
        size_t conn = peer.count;

        if (pooled) {
            call_once(&peer, n, conn);
        }
        start_asked(&c, n, conn);
        move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
        assert_string_equal(c.told, "");
        move_clock_ms(1);
        assert_failed(&c, MCP_EUPSTREAM_ERROR, false, "no answer within 600000 ms");
        peer_wait_gone(&peer, conn);
    }
    assert_int_equal(counted(COUNTER_NODE_TIMEOUT_FIRST_BYTE), 2);
    assert_int_equal(n->state, NODE_UP);
}

static void time_to_connect_does_not_count_as_waiting(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    caller_get(&c, n);
    move_clock_ms(CONNECT_LIMIT_MS - 1);
    peer_wait_request(&peer, 0);
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    assert_string_equal(c.told, "");
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&c, "hbe");
}

static void an_upload_has_10_minutes_from_its_last_byte(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    caller_start(&c, n, &upload);
    peer_wait_request(&peer, 0);
    for (int i = 0; i < 3; i++) {
        move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
        assert_true(node_call_body(c.call, SLICE("x")));
    }
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    node_call_body_end(c.call);
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    assert_string_equal(c.told, "");
    move_clock_ms(1);
    assert_failed(&c, MCP_EUPSTREAM_ERROR, false, "no answer within 600000 ms");
}

/* --- within the answer
 * ----------------------------------------------------------------------------- */

static void an_answer_may_be_silent_for_120_s(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE(OK_HEAD("9")));
    caller_wait(&c, "h");
    for (int i = 0; i < 3; i++) {
        move_clock_ms(IDLE_LIMIT_MS - 1);
        peer_send(&peer, 0, SLICE("x"));
        caller_wait(&c, "hb");
    }
    move_clock_ms(IDLE_LIMIT_MS - 1);
    assert_int_equal(c.body_len, 3);
    move_clock_ms(1);
    assert_string_equal(c.told, "hbf");
    assert_failed(&c, MCP_ESTREAM_INTERRUPTED, false, "silent for 120000 ms within its answer");
    assert_int_equal(counted(COUNTER_NODE_TIMEOUT_IDLE), 1);
    assert_int_equal(n->state, NODE_UP);
    peer_wait_gone(&peer, 0);
}

static void a_patient_call_may_be_silent_for_10_minutes(void **state)
{
    static const struct node_call_request patient = {
        .method = SLICE("GET"), .path = SLICE("/x"), .patient = true};
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    caller_start(&c, n, &patient);
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE(OK_HEAD("9")));
    caller_wait(&c, "h");
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    peer_send(&peer, 0, SLICE("x"));
    caller_wait(&c, "hb");
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    assert_string_equal(c.told, "hb");
    move_clock_ms(1);
    assert_failed(&c, MCP_ESTREAM_INTERRUPTED, false, "silent for 600000 ms within its answer");
}

static void a_paused_call_has_no_limit_and_gives_nothing(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    node_call_pause(c.call);
    move_clock_ms(HOUR_MS);
    peer_send(&peer, 0, SLICE(OK_HEAD("9") "abc"));
    run_turns();
    assert_string_equal(c.told, "");
    c.act_in = 'h';
    c.act = 'p';
    node_call_resume(c.call);
    caller_wait(&c, "h"); /* paused again by the head's callback */
    move_clock_ms(HOUR_MS);
    c.act_in = 'b';
    node_call_resume(c.call);
    caller_wait(&c, "hb");
    peer_send(&peer, 0, SLICE("def"));
    move_clock_ms(HOUR_MS);
    assert_string_equal(c.body, "abc");
    c.act_in = 0;
    node_call_resume(c.call);
    node_call_resume(c.call);
    run_turns();
    assert_string_equal(c.body, "abcdef");
    /* From here on the node has its 120 s again. */
    move_clock_ms(IDLE_LIMIT_MS - 1);
    assert_string_equal(c.told, "hb");
    move_clock_ms(1);
    assert_string_equal(c.told, "hbf");
}

static void a_call_paused_while_it_connects_gives_nothing(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    caller_get(&c, n);
    node_call_pause(c.call);
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    move_clock_ms(HOUR_MS);
    assert_string_equal(c.told, "");
    node_call_resume(c.call);
    caller_wait(&c, "hbe");
}

static void an_upload_is_paused_too(void **state)
{
    struct caller c = {.act_in = 'h', .act = 'p'};
    struct node *n = open_node();

    (void)state;
    caller_start(&c, n, &upload);
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE(OK_HEAD("2")));
    caller_wait(&c, "h");
    assert_true(node_call_body(c.call, SLICE("more")));
    node_call_body_end(c.call);
    move_clock_ms(HOUR_MS);
    assert_string_equal(c.told, "h");
    node_call_cancel(&c.call);
}

static void a_pause_outlives_a_stale_connection(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    call_once(&peer, n, 0);
    caller_get(&c, n);
    peer_wait_request(&peer, 0);
    node_call_pause(c.call);
    peer_close(&peer, 0, true);
    peer_wait_conns(&peer, 2);
    peer_wait_request(&peer, 1);
    peer_send(&peer, 1, SLICE(ANSWER_HI));
    move_clock_ms(HOUR_MS);
    assert_string_equal(c.told, "");
    node_call_resume(c.call);
    caller_wait(&c, "hbe");
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 1);
}

static void a_retry_has_its_limits_anew(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    call_once(&peer, n, 0);
    caller_get(&c, n);
    peer_wait_request(&peer, 0);
    move_clock_ms(FIRST_BYTE_LIMIT_MS - 1);
    hang_connects(true);
    peer_close(&peer, 0, false);
    run_turns();
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 1);
    move_clock_ms(CONNECT_LIMIT_MS - 1);
    assert_string_equal(c.told, "");
    move_clock_ms(1);
    assert_failed(&c, MCP_ENODE_UNAVAILABLE, false, "no connection");
}

/* --- cancel
 * ---------------------------------------------------------------------------------------- */

static void cancel_closes_at_once(void **state)
{
    static char much[4 << 20];
    const char *const when = "cwhbd"; /* connecting, waiting, in the head, in the body, drained */
    struct node *n = open_node();

    (void)state;
    for (size_t i = 0; when[i] != '\0'; i++) {
        struct caller c = {.act_in = when[i], .act = 'c'};
        size_t conn = peer.count;

        if (when[i] == 'd') {
            caller_start(&c, n, &upload);
            assert_true(node_call_body(c.call, slice_of(much, sizeof(much))));
        } else {
            caller_get(&c, n);
        }
        if (when[i] != 'c') {
            peer_wait_conns(&peer, conn + 1);
            if (when[i] != 'd') {
                peer_wait_request(&peer, conn);
            }
        }
        if (when[i] == 'h' || when[i] == 'b') {
            peer_send(&peer, conn, SLICE(ANSWER_HI));
            caller_wait(&c, when[i] == 'h' ? "h" : "hb");
        } else if (when[i] == 'd') {
            caller_wait(&c, "d");
        } else {
            node_call_cancel(&c.call);
        }
        assert_null(c.call);
        assert_int_equal(n->calls, 0);
        peer_wait_conns(&peer, conn + 1);
        peer_wait_gone(&peer, conn);
        move_clock_ms(HOUR_MS);
        assert_null(c.call); /* and was told nothing more, which it would have checked */
    }
    assert_int_equal(n->pool.unused.count, 0);
}

static void cancel_works_while_paused(void **state)
{
    struct caller c = {.act_in = 'b', .act = 'p'};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE(ANSWER_HI ANSWER_HI));
    caller_wait(&c, "hb");
    node_call_resume(c.call);
    node_call_cancel(&c.call);
    peer_wait_gone(&peer, 0);
    assert_string_equal(c.told, "hb");
}

/* --- detach
 * ---------------------------------------------------------------------------------------- */

static void a_detached_answer_is_drained_and_its_connection_kept(void **state)
{
    struct caller c = {.act_in = 'b', .act = 'd'};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE(OK_HEAD("9") "abc"));
    caller_wait(&c, "hb");
    assert_int_equal(n->calls, 1);
    move_clock_ms(4999);
    peer_send(&peer, 0, SLICE("defghi"));
    run_turns();
    assert_int_equal(n->calls, 0);
    assert_int_equal(n->pool.unused.count, 1);
    assert_string_equal(c.body, "abc");
    move_clock_ms(2);
    call_once(&peer, n, 0);
}

static void what_came_with_it_is_drained_in_the_same_turn(void **state)
{
    struct caller c = {.act_in = 'h', .act = 'd'};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&c, "h");
    assert_int_equal(n->calls, 0);
    call_once(&peer, n, 0);
}

static void a_detached_answer_without_an_end_is_closed_after_5_s(void **state)
{
    struct caller c = {.act_in = 'b', .act = 'd'};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE("HTTP/1.1 200 OK\r\n\r\nabc"));
    caller_wait(&c, "hb");
    for (int i = 0; i < 3; i++) { /* what still comes does not make it longer */
        move_clock_ms(1666);
        peer_send(&peer, 0, SLICE("x"));
    }
    assert_false(peer_is_gone(&peer, 0));
    move_clock_ms(2);
    peer_wait_gone(&peer, 0);
    assert_int_equal(n->calls, 0);
    assert_int_equal(n->pool.unused.count, 0);
    assert_int_equal(counted(COUNTER_NODE_TIMEOUT_IDLE), 0);
}

static void a_detached_call_is_read_though_it_was_paused(void **state)
{
    struct caller c = {.act_in = 'h', .act = 'p'};
    struct node *n = open_node();

    (void)state;
    start_asked(&c, n, 0);
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&c, "h");
    node_call_detach(&c.call);
    run_turns();
    assert_int_equal(n->calls, 0);
    assert_int_equal(n->pool.unused.count, 1);
}

static void a_detached_call_that_breaks_is_closed(void **state)
{
    static const char *const rest[] = {"", "zz\r\n", NULL};
    struct node *n = open_node();

    (void)state;
    for (size_t i = 0; rest[i] != NULL; i++) {
        struct caller c = {.act_in = 'b', .act = 'd'};

        start_asked(&c, n, i);
        peer_send(&peer, i,
                  SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"));
        caller_wait(&c, "hb");
        peer_send(&peer, i, slice_str(rest[i]));
        if (rest[i][0] == '\0') {
            peer_close(&peer, i, false);
        }
        run_turns();
        assert_int_equal(n->calls, 0);
        assert_int_equal(n->pool.unused.count, 0);
    }
    assert_int_equal(n->state, NODE_UP);
}

/* Nobody waits for it, so a stale connection is just closed. */
static void a_detached_call_is_not_sent_again(void **state)
{
    struct caller c = {0};
    struct node *n = open_node();

    (void)state;
    call_once(&peer, n, 0);
    caller_get(&c, n);
    peer_wait_request(&peer, 0);
    node_call_detach(&c.call);
    peer_close(&peer, 0, false);
    run_turns();
    assert_int_equal(n->calls, 0);
    assert_int_equal(peer.count, 1);
}

static void detached_calls_end_with_their_node(void **state)
{
    struct node *n = open_node();
    struct caller c[3] = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        start_asked(&c[i], n, i);
        node_call_detach(&c[i].call);
    }
    assert_int_equal(n->calls, 3);
    peer_close(&peer, 1, false); /* the one in between is gone already */
    run_turns();
    assert_int_equal(n->calls, 2);
    nodes_free(&nodes);
    peer_wait_gone(&peer, 0);
    peer_wait_gone(&peer, 2);
    move_clock_ms(HOUR_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(a_refused_connection_takes_the_node_down),
        NODE_TEST(a_connection_that_is_not_made_is_given_up_after_10_s),
        NODE_TEST(an_answer_may_begin_for_10_minutes),
        NODE_TEST(time_to_connect_does_not_count_as_waiting),
        NODE_TEST(an_upload_has_10_minutes_from_its_last_byte),
        NODE_TEST(an_answer_may_be_silent_for_120_s),
        NODE_TEST(a_patient_call_may_be_silent_for_10_minutes),
        NODE_TEST(a_paused_call_has_no_limit_and_gives_nothing),
        NODE_TEST(a_call_paused_while_it_connects_gives_nothing),
        NODE_TEST(an_upload_is_paused_too),
        NODE_TEST(a_pause_outlives_a_stale_connection),
        NODE_TEST(a_retry_has_its_limits_anew),
        NODE_TEST(cancel_closes_at_once),
        NODE_TEST(cancel_works_while_paused),
        NODE_TEST(a_detached_answer_is_drained_and_its_connection_kept),
        NODE_TEST(what_came_with_it_is_drained_in_the_same_turn),
        NODE_TEST(a_detached_answer_without_an_end_is_closed_after_5_s),
        NODE_TEST(a_detached_call_is_read_though_it_was_paused),
        NODE_TEST(a_detached_call_that_breaks_is_closed),
        NODE_TEST(a_detached_call_is_not_sent_again),
        NODE_TEST(detached_calls_end_with_their_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
