/* SPDX-License-Identifier: Apache-2.0 */
/* Registries that follow another: here all on one loop, which the messages between them do not
 * know. */
#include <string.h>

#include "alloc_fault.h"
#include "node/poll.h"
#include "node_peer.h"

#define CUT "/api/version /api/tags " /* begun again before it was whole */
#define BOTH CUT "/api/ps "

static struct peer peer;
static struct nodes *followers[2];

static struct node *of(int follower)
{
    return nodes_at(followers[follower], 0);
}

static struct node *leader_node(void)
{
    return nodes_at(nodes, 0);
}

static int setup(void **state)
{
    (void)node_setup(state);
    peer_open(&peer);
    peer_route(&peer, "/api/version", "200 OK", "{\"version\":\"0.17.4\"}");
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"m:latest\"}]}");
    (void)node_add(peer.url);
    for (int i = 0; i < 2; i++) {
        followers[i] = nodes_follow(nodes, loop);
    }
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < 2; i++) {
        nodes_free(&followers[i]);
    }
    return node_teardown(state);
}

static bool is_polled(void *unused)
{
    (void)unused;
    return !node_poll_running(leader_node()->poll) && leader_node()->state != NODE_STARTING;
}

static void start(void)
{
    nodes_start(nodes);
    run_until(is_polled, NULL);
    run_turns();
    (void)peer_take_asked(&peer);
}

static void a_follower_learns_what_polls_find_out(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(of(i)->state, NODE_STARTING);
        assert_int_equal(of(i)->id, leader_node()->id);
        assert_string_equal(of(i)->spec->name, leader_node()->spec->name);
        assert_false(nodes_all_polled(followers[i]));
    }
    start();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(of(i)->state, NODE_UP);
        assert_int_equal(of(i)->kind, NODE_KIND_OLLAMA);
        assert_string_equal(of(i)->version, "0.17.4");
        assert_true(of(i)->has_addr);
        assert_true(addr_same(&of(i)->addr, &leader_node()->addr));
        assert_non_null(catalogue_find(&of(i)->catalogue, SLICE("m")));
        assert_ptr_equal(of(i)->catalogue.models, leader_node()->catalogue.models);
        assert_true(nodes_all_polled(followers[i]));
        assert_int_equal(nodes_up(followers[i]), 1);
    }
    peer_route(&peer, "/api/tags", "500 Oops", "");
    node_poll_now(leader_node()->poll);
    run_until(is_polled, NULL);
    run_turns();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(of(i)->state, NODE_DOWN);
        assert_string_equal(of(i)->why_down, leader_node()->why_down);
        assert_false(of(i)->has_addr);
    }
    assert_int_equal(counted(COUNTER_NODE_UP), 1);
    assert_int_equal(counted(COUNTER_NODE_DOWN), 1);
}

static void a_catalogue_outlives_the_one_that_read_it(void **state)
{
    (void)state;
    start();
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"new\"}]}");
    node_poll_now(leader_node()->poll);
    run_until(is_polled, NULL);
    /* The followers have not looked yet: theirs is the old one. */
    if (of(0)->catalogue.models != leader_node()->catalogue.models) {
        assert_non_null(catalogue_find(&of(0)->catalogue, SLICE("m")));
    }
    run_turns();
    assert_null(catalogue_find(&of(0)->catalogue, SLICE("m")));
    assert_non_null(catalogue_find(&of(0)->catalogue, SLICE("new")));
    assert_ptr_equal(of(1)->catalogue.models, of(0)->catalogue.models);
}

static void what_one_notices_all_learn(void **state)
{
    (void)state;
    start();
    node_mark_down(of(0), "connection refused");
    assert_int_equal(of(0)->state, NODE_DOWN); /* at once: it is not to choose it again */
    assert_int_equal(leader_node()->state, NODE_UP);
    run_turns();
    assert_int_equal(leader_node()->state, NODE_DOWN);
    assert_string_equal(leader_node()->why_down, "connection refused");
    assert_int_equal(of(1)->state, NODE_DOWN);
    assert_string_equal(of(1)->why_down, "connection refused");
    assert_int_equal(counted(COUNTER_NODE_DOWN), 1);
    move_clock_ms(100); /* the first poll of one that went down */
    run_until(is_polled, NULL);
    run_turns();
    assert_int_equal(of(0)->state, NODE_UP);
    assert_int_equal(of(1)->state, NODE_UP);
    assert_string_equal(of(0)->why_down, "");
    assert_int_equal(counted(COUNTER_NODE_UP), 2);
}

static void calls_are_counted_together(void **state)
{
    (void)state;
    node_call_began(of(0), false);
    node_call_began(of(1), false);
    node_heard(of(1), 7);
    node_call_began(leader_node(), true); /* what only the gateway wants to know */
    assert_int_equal(node_calls_everywhere(leader_node()), 2);
    assert_int_equal(node_calls_everywhere(of(0)), 2);
    assert_int_equal(of(0)->calls, 1);
    assert_int_equal(node_heard_ms(leader_node()), 7);
    node_call_ended(of(0), false);
    node_call_ended(of(1), false);
    node_call_ended(leader_node(), true);
    assert_int_equal(node_calls_everywhere(of(0)), 0);
    assert_int_equal(leader_node()->calls, 0);
}

static void what_is_resident_all_know(void **state)
{
    (void)state;
    peer_route(&peer, "/api/ps", "200 OK", "{\"models\":[{\"name\":\"m:latest\"}]}");
    start();
    for (int i = 0; i < 2; i++) {
        assert_non_null(residency_find(&of(i)->residency, SLICE("m")));
        assert_ptr_equal(of(i)->residency.models, leader_node()->residency.models);
    }
    peer_route(&peer, "/api/ps", "404 Not Found", "");
    node_poll_now(leader_node()->poll);
    run_until(is_polled, NULL);
    run_turns();
    assert_int_equal(of(1)->state, NODE_UP);
    assert_null(of(1)->residency.users);
}

/* --- cordoned --------------------------------------------------------------------------------- */

static void a_cordoned_node_is_drained_once_all_know_and_nothing_runs(void **state)
{
    (void)state;
    start();
    assert_true(node_takes_work(of(0)));
    assert_false(nodes_drained(nodes, leader_node()));
    node_call_began(of(1), false);
    nodes_serve(nodes, leader_node(), NODE_CORDONED);
    assert_false(node_takes_work(leader_node()));
    assert_true(node_takes_work(of(0))); /* has not heard of it, and may begin calls */
    assert_false(nodes_drained(nodes, leader_node()));
    run_turns();
    assert_false(node_takes_work(of(0)));
    assert_false(node_takes_work(of(1)));
    assert_int_equal(of(1)->state, NODE_UP);
    assert_false(nodes_drained(nodes, leader_node()));
    node_call_ended(of(1), false);
    assert_true(nodes_drained(nodes, leader_node()));
    assert_true(nodes_drained(followers[0], of(0)));
    nodes_serve(nodes, leader_node(), NODE_WARMING);
    run_turns();
    assert_false(node_takes_work(of(0)));
    nodes_serve(nodes, leader_node(), NODE_SERVING);
    run_turns();
    assert_true(node_takes_work(of(0)));
    assert_false(nodes_drained(nodes, leader_node()));
    /* Once more: what was heard of the first time does not count. */
    nodes_serve(nodes, leader_node(), NODE_CORDONED);
    assert_false(nodes_drained(nodes, leader_node()));
    run_turns();
    assert_true(nodes_drained(nodes, leader_node()));
}

/* --- refresh ---------------------------------------------------------------------------------- */

struct waiter {
    struct nodes_refresh refresh;
    struct node *node;
    bool found; /* the model "new", when it was called */
    unsigned done;
};

static void on_done(void *owner)
{
    struct waiter *w = owner;

    w->done++;
    w->found = catalogue_find(&w->node->catalogue, SLICE("new")) != NULL;
}

static void refresh(struct waiter *w, int follower)
{
    w->node = of(follower);
    nodes_refresh(followers[follower], &w->refresh, on_done, w);
}

static bool is_done(void *arg)
{
    return ((struct waiter *)arg)->done > 0;
}

static void a_refresh_sees_what_is_new(void **state)
{
    struct waiter waiters[4] = {0};

    (void)state;
    start();
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"new\"}]}");
    move_clock_ms(1001);
    for (int i = 0; i < 4; i++) {
        refresh(&waiters[i], i % 2);
        assert_int_equal(waiters[i].done, 0);
    }
    for (int i = 0; i < 4; i++) {
        run_until(is_done, &waiters[i]);
        assert_true(waiters[i].found);
    }
    run_turns();
    assert_string_equal(peer_take_asked(&peer), BOTH);
}

static void what_is_fresh_is_not_read_again(void **state)
{
    struct waiter w = {0};

    (void)state;
    start();
    refresh(&w, 0);
    run_until(is_done, &w);
    assert_string_equal(peer_take_asked(&peer), "");
    refresh(&w, 0);
    run_turns();
    assert_int_equal(w.done, 2);
}

static void what_changed_is_read_again(void **state)
{
    struct waiter early = {0};
    struct waiter w = {0};

    (void)state;
    start();
    peer_route_raw(&peer, "/api/tags", NULL);
    move_clock_ms(1001);
    refresh(&early, 0);
    while (strstr(peer.asked, "tags") == NULL) {
        run_turns();
    }
    /* Changed while the list is on its way: that list will not do. */
    node_mark_changed(of(0));
    refresh(&w, 0);
    run_turns();
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"new\"}]}");
    peer_send(&peer, peer.last, SLICE(OK_HEAD("13") "{\"models\":[]}"));
    run_until(is_done, &w);
    assert_true(w.found);
    assert_int_equal(early.done, 1);
    run_turns();
    assert_string_equal(peer_take_asked(&peer), CUT BOTH);
}

static void a_refresh_that_was_cancelled_tells_nobody(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};

    (void)state;
    start();
    move_clock_ms(1001);
    refresh(&a, 0);
    refresh(&b, 0);
    nodes_refresh_cancel(followers[0], &a.refresh);
    run_until(is_done, &b);
    run_turns();
    assert_int_equal(a.done, 0);
    assert_int_equal(b.done, 1);
}

static void before_the_first_poll_it_is_waited_for(void **state)
{
    struct waiter w = {0};

    (void)state;
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"new\"}]}");
    nodes_start(nodes);
    refresh(&w, 1);
    run_until(is_done, &w);
    assert_true(w.found);
}

static void without_memory_it_goes_on_with_what_is_known(void **state)
{
    struct waiter w = {0};

    (void)state;
    start();
    move_clock_ms(1001);
    alloc_fault_at(1);
    refresh(&w, 0);
    assert_int_equal(alloc_fault_count(), 1);
    alloc_fault_at(0);
    run_turns();
    assert_int_equal(w.done, 1);
    refresh(&w, 0); /* and asks again with the next one */
    run_turns();
    run_until(is_polled, NULL);
    run_turns();
    assert_int_equal(w.done, 2);
    run_turns();
    assert_string_equal(peer_take_asked(&peer), BOTH);
}

/* News and reports that nobody takes any more. */
static void the_end_may_come_at_any_time(void **state)
{
    struct waiter w = {0};

    (void)state;
    start();
    refresh(&w, 0);
    node_mark_down(of(0), "why");
    node_mark_changed(of(1));
    nodes_refresh_cancel(followers[0], &w.refresh);
    node_mark_down(leader_node(), "why");
}

int main(void)
{
#define FOLLOW_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        FOLLOW_TEST(a_follower_learns_what_polls_find_out),
        FOLLOW_TEST(a_catalogue_outlives_the_one_that_read_it),
        FOLLOW_TEST(what_one_notices_all_learn),
        FOLLOW_TEST(calls_are_counted_together),
        FOLLOW_TEST(what_is_resident_all_know),
        FOLLOW_TEST(a_cordoned_node_is_drained_once_all_know_and_nothing_runs),
        FOLLOW_TEST(a_refresh_sees_what_is_new),
        FOLLOW_TEST(what_is_fresh_is_not_read_again),
        FOLLOW_TEST(what_changed_is_read_again),
        FOLLOW_TEST(a_refresh_that_was_cancelled_tells_nobody),
        FOLLOW_TEST(before_the_first_poll_it_is_waited_for),
        FOLLOW_TEST(without_memory_it_goes_on_with_what_is_known),
        FOLLOW_TEST(the_end_may_come_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
