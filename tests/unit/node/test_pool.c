/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "alloc_fault.h"
#include "node/pool.h"
#include "node_peer.h"

static struct peer peer;
static struct node_pool pool;
static _Atomic size_t idle_count;

static int setup(void **state)
{
    (void)node_setup(state);
    peer_open(&peer);
    idle_count = 0;
    node_pool_init(&pool, loop, 3, POOL_IDLE_MS, &idle_count);
    return 0;
}

static int teardown(void **state)
{
    node_pool_fini(&pool);
    assert_int_equal(pool.unused.count, 0);
    assert_int_equal(idle_count, 0);
    return node_teardown(state);
}

/* Who has a connection out of the pool. */
static unsigned failures;

static void on_head(void *owner, const struct http_head *head)
{
    (void)owner;
    (void)head;
    fail();
}

static void on_body(void *owner, struct slice bytes)
{
    (void)owner;
    (void)bytes;
    fail();
}

static void on_end(void *owner, bool reusable)
{
    (void)owner;
    (void)reusable;
    fail();
}

static void on_failed(void *owner, enum http_failure why, int error, const char *text)
{
    (void)owner;
    (void)error;
    (void)text;
    assert_int_equal(why, HTTP_FAIL_STALE);
    failures++;
}

static const struct http_client_ops owner_ops = {
    .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};

/* An idle connection to the peer, its next one. */
static struct http_client *connect_one(void)
{
    size_t conn = peer.count;
    struct http_client *client = http_client_connect(loop, &peer.at, &owner_ops, NULL);

    assert_non_null(client);
    peer_wait_conns(&peer, conn + 1);
    run_turns();
    return client;
}

static struct http_client *put_one(void)
{
    struct http_client *client = connect_one();
    struct http_client *put = client;

    node_pool_put(&pool, &put);
    assert_null(put);
    return client;
}

static void the_newest_comes_out_first(void **state)
{
    struct http_client *clients[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        clients[i] = put_one();
    }
    for (int i = 2; i >= 0; i--) {
        struct http_client *taken = node_pool_take(&pool);

        assert_ptr_equal(taken, clients[i]);
        assert_int_equal(pool.unused.count, i);
        http_client_close(&taken);
        peer_wait_gone(&peer, (size_t)i);
    }
    assert_null(node_pool_take(&pool));
    assert_int_equal(counted(COUNTER_NODE_POOL_EVICTED), 0);
}

static void beyond_the_limit_the_oldest_goes(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        (void)put_one();
        move_clock_ms(1);
    }
    /* What was in use a moment ago is not idle. */
    move_clock_ms(1000 - 5 - 1);
    assert_int_equal(idle_count, 0);
    assert_int_equal(pool.unused.count, 5);
    move_clock_ms(3);
    assert_int_equal(idle_count, 3);
    assert_int_equal(pool.unused.count, 5);
    for (size_t i = 0; i < 2; i++) {
        move_clock_ms(1);
        peer_wait_gone(&peer, i);
        assert_int_equal(idle_count, 3);
        assert_int_equal(pool.unused.count, 5 - i - 1);
    }
    for (size_t i = 2; i < 5; i++) {
        assert_false(peer_is_gone(&peer, i));
    }
    assert_int_equal(counted(COUNTER_NODE_POOL_EVICTED), 2);
}

static void the_limit_is_for_all_loops_together(void **state)
{
    struct node_pool other;
    struct http_client *taken;

    (void)state;
    node_pool_init(&other, loop, 3, POOL_IDLE_MS, &idle_count);
    for (int i = 0; i < 3; i++) {
        (void)put_one();
    }
    move_clock_ms(1000);
    assert_int_equal(idle_count, 3);
    taken = connect_one();
    node_pool_put(&other, &taken);
    move_clock_ms(999);
    assert_int_equal(other.unused.count, 1);
    assert_false(peer_is_gone(&peer, 3));
    move_clock_ms(1);
    peer_wait_gone(&peer, 3); /* it has only this one to close */
    assert_int_equal(other.unused.count, 0);
    taken = node_pool_take(&pool);
    assert_int_equal(idle_count, 2);
    node_pool_put(&other, &taken);
    move_clock_ms(1000);
    assert_int_equal(other.unused.count, 1);
    assert_int_equal(idle_count, 3);
    node_pool_fini(&other);
    assert_int_equal(idle_count, 2);
}

static void a_pool_of_none_keeps_none(void **state)
{
    struct node_pool none;

    (void)state;
    node_pool_init(&none, loop, 0, POOL_IDLE_MS, &idle_count);
    for (size_t i = 0; i < 2; i++) {
        struct http_client *client = connect_one();

        node_pool_put(&none, &client);
        assert_null(client);
        peer_wait_gone(&peer, i);
        assert_null(node_pool_take(&none));
    }
    node_pool_fini(&none);
}

static void each_one_stays_for_30_s(void **state)
{
    struct http_client *taken;

    (void)state;
    (void)put_one();
    move_clock_ms(10 * 1000);
    (void)put_one();
    (void)put_one();
    taken = node_pool_take(&pool); /* one in use does not age */
    move_clock_ms(20 * 1000 - 1);
    assert_int_equal(pool.unused.count, 2);
    move_clock_ms(1);
    assert_int_equal(pool.unused.count, 1);
    peer_wait_gone(&peer, 0);
    move_clock_ms(10 * 1000 - 1);
    assert_int_equal(pool.unused.count, 1);
    node_pool_put(&pool, &taken); /* and is as new when it comes back */
    move_clock_ms(1);
    assert_int_equal(pool.unused.count, 1);
    peer_wait_gone(&peer, 1);
    move_clock_ms(POOL_IDLE_MS - 2);
    assert_int_equal(pool.unused.count, 1);
    assert_false(peer_is_gone(&peer, 2));
    move_clock_ms(1);
    assert_int_equal(pool.unused.count, 0);
    peer_wait_gone(&peer, 2);
    assert_int_equal(counted(COUNTER_NODE_POOL_EVICTED), 3);
}

static bool has_two(void *unused)
{
    (void)unused;
    return pool.unused.count == 2;
}

static void what_the_node_closes_leaves_by_itself(void **state)
{
    (void)state;
    /* FIN, RST, bytes that nobody asked for: each time the one in the middle. */
    for (size_t how = 0; how < 3; how++) {
        struct http_client *newest;
        struct http_client *oldest = put_one();
        size_t middle = peer.count;

        (void)put_one();
        newest = put_one();
        if (how == 2) {
            peer_send(&peer, middle, SLICE(ANSWER_HI));
        } else {
            peer_close(&peer, middle, how == 1);
        }
        run_until(has_two, NULL);
        if (how == 2) {
            peer_wait_gone(&peer, middle);
        }
        assert_ptr_equal(node_pool_take(&pool), newest);
        assert_ptr_equal(node_pool_take(&pool), oldest);
        http_client_close(&newest);
        http_client_close(&oldest);
    }
    assert_int_equal(counted(COUNTER_NODE_POOL_EVICTED), 3);
    assert_int_equal(counted(COUNTER_NODE_BAD_ANSWER), 1);
}

static bool has_failed(void *unused)
{
    (void)unused;
    return failures > 0;
}

static void what_was_taken_tells_its_new_owner(void **state)
{
    struct http_client *taken;

    (void)state;
    failures = 0;
    (void)put_one();
    taken = node_pool_take(&pool);
    http_client_set_owner(taken, &owner_ops, NULL);
    peer_close(&peer, 0, false);
    run_until(has_failed, NULL);
    http_client_close(&taken);
    assert_int_equal(failures, 1);
    assert_int_equal(counted(COUNTER_NODE_POOL_EVICTED), 0);
}

static void the_end_closes_all(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)put_one();
    }
    node_pool_fini(&pool);
    for (size_t i = 0; i < 3; i++) {
        peer_wait_gone(&peer, i);
    }
    move_clock_ms(HOUR_MS);
}

static void without_memory_it_is_closed(void **state)
{
    struct http_client *client = connect_one();

    (void)state;
    alloc_fault_at(1);
    node_pool_put(&pool, &client);
    assert_int_equal(alloc_fault_count(), 1);
    alloc_fault_at(0);
    assert_null(client);
    assert_int_equal(pool.unused.count, 0);
    peer_wait_gone(&peer, 0);
}

static void one_is_made_ahead(void **state)
{
    struct http_client *taken;

    (void)state;
    node_pool_prepare(&pool, &peer.at);
    node_pool_prepare(&pool, &peer.at); /* one at a time */
    assert_null(node_pool_take(&pool));
    peer_wait_conns(&peer, 1);
    run_turns();
    assert_int_equal(pool.unused.count, 1);
    node_pool_prepare(&pool, &peer.at); /* there is one */
    run_turns();
    assert_int_equal(peer.count, 1);
    assert_int_equal(counted(COUNTER_NODE_PREPARED), 1);
    taken = node_pool_take(&pool);
    assert_non_null(taken);
    http_client_close(&taken);
    node_pool_prepare(&pool, &peer.at); /* under way at the end */
    assert_non_null(pool.preparing);
}

static void one_that_fails_is_nobodys_business(void **state)
{
    (void)state;
    peer_refuse(&peer);
    node_pool_prepare(&pool, &peer.at);
    run_turns();
    assert_null(pool.preparing);
    assert_int_equal(pool.unused.count, 0);
    assert_int_equal(counted(COUNTER_NODE_PREPARED), 0);
    for (size_t i = 1; i < 4; i++) {
        alloc_fault_at(i);
        node_pool_prepare(&pool, &peer.at);
        alloc_fault_at(0);
        run_turns();
        assert_null(pool.preparing);
    }
}

int main(void)
{
#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        POOL_TEST(the_newest_comes_out_first),
        POOL_TEST(beyond_the_limit_the_oldest_goes),
        POOL_TEST(the_limit_is_for_all_loops_together),
        POOL_TEST(a_pool_of_none_keeps_none),
        POOL_TEST(each_one_stays_for_30_s),
        POOL_TEST(what_the_node_closes_leaves_by_itself),
        POOL_TEST(what_was_taken_tells_its_new_owner),
        POOL_TEST(the_end_closes_all),
        POOL_TEST(without_memory_it_is_closed),
        POOL_TEST(one_is_made_ahead),
        POOL_TEST(one_that_fails_is_nobodys_business),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
