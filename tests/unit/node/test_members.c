/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that come and go while the gateway runs: on the leader, and on a registry that follows. */
#include <string.h>

#include "alloc_fault.h"
#include "node/poll.h"
#include "node/registry_internal.h"
#include "node_caller.h"

static struct peer peers[3];
static struct nodes *follower;

static int setup(void **state)
{
    (void)node_setup(state);
    follower = NULL;
    for (size_t i = 0; i < 3; i++) {
        peer_open(&peers[i]);
        peer_route(&peers[i], "/api/version", "200 OK", "{\"version\":\"0.17.4\"}");
        peer_route(&peers[i], "/api/tags", "200 OK", "{\"models\":[{\"name\":\"m:latest\"}]}");
        peer_route_raw(&peers[i], "/x", NULL);
    }
    return 0;
}

static int teardown(void **state)
{
    nodes_free(&follower);
    return node_teardown(state);
}

#define MEMBERS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct node_limits usual_limits = {.connect_timeout_ms = CONNECT_LIMIT_MS,
                                                .first_byte_timeout_ms = FIRST_BYTE_LIMIT_MS,
                                                .idle_timeout_ms = IDLE_LIMIT_MS,
                                                .pool_idle = POOL_IDLE,
                                                .pool_idle_ms = POOL_IDLE_MS};

/* The peers in `which`, such as "02". */
static int configure(const char *which, const struct node_limits *limits)
{
    struct node_options options[3];
    struct err e = {0};
    size_t count = 0;

    for (; which[count] != '\0'; count++) {
        options[count] = (struct node_options){.url = peers[which[count] - '0'].url};
    }
    return nodes_configure(nodes, options, count, limits, &e);
}

static void use(const char *which)
{
    assert_int_equal(configure(which, &usual_limits), MCP_OK);
}

static bool settled(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (node_poll_running(nodes_at(nodes, i)->poll)) {
            return false;
        }
    }
    return true;
}

static bool second_is_settled(void *unused)
{
    (void)unused;
    return !node_poll_running(nodes_at(nodes, 1)->poll);
}

static void settle(void)
{
    run_until(settled, NULL);
    run_turns();
}

static void assert_members(struct nodes *set, const char *which)
{
    assert_int_equal(nodes_count(set), strlen(which));
    for (size_t i = 0; i < nodes_count(set); i++) {
        assert_string_equal(nodes_at(set, i)->spec->url, peers[which[i] - '0'].url);
    }
}

/* Peers 0 and 1, polled, with one that follows. */
static void begin(void)
{
    use("01");
    follower = nodes_follow(nodes, loop);
    nodes_start(nodes);
    settle();
    assert_int_equal(nodes_up(nodes), 2);
    assert_int_equal(nodes_up(follower), 2);
}

/* A call that the peer answers when told so, on a connection of its own. */
static void begin_call(struct caller *c, size_t peer, struct node *n)
{
    size_t conns = peers[peer].count;

    caller_get(c, n);
    peer_wait_conns(&peers[peer], conns + 1);
}

static void end_call(struct caller *c, size_t peer)
{
    peer_send(&peers[peer], peers[peer].count - 1, SLICE(ANSWER_HI));
    caller_wait(c, "hbe");
    assert_string_equal(c->body, "hi");
}

static void a_node_that_stays_keeps_all_it_has(void **state)
{
    struct node *leader_stays;
    struct node *follower_stays;
    struct caller c = {0};
    uint64_t id;

    (void)state;
    begin();
    leader_stays = nodes_at(nodes, 1);
    follower_stays = nodes_at(follower, 1);
    id = leader_stays->id;
    begin_call(&c, 1, follower_stays);
    end_call(&c, 1);
    (void)peer_take_asked(&peers[1]);
    use("21");
    settle();
    assert_members(nodes, "21");
    assert_members(follower, "21");
    assert_ptr_equal(nodes_at(nodes, 1), leader_stays);
    assert_ptr_equal(nodes_at(follower, 1), follower_stays);
    assert_int_equal(leader_stays->id, id);
    assert_string_equal(peer_take_asked(&peers[1]), ""); /* not polled anew */
    assert_int_equal(follower_stays->pool.unused.count, 1);
    assert_int_equal(nodes_at(nodes, 0)->state, NODE_UP); /* the new one was */
    assert_int_equal(nodes_at(follower, 0)->state, NODE_UP);
    assert_int_equal(nodes_at(follower, 0)->id, nodes_at(nodes, 0)->id);
}

static void ids_are_never_used_again(void **state)
{
    uint64_t gone;

    (void)state;
    begin();
    gone = nodes_at(nodes, 0)->id;
    use("1");
    use("01");
    assert_int_not_equal(nodes_at(nodes, 0)->id, gone);
    assert_null(nodes_by_id(nodes, gone));
}

static void another_option_makes_another_node(void **state)
{
    static const struct http_header headers[] = {{SLICE("X-A"), SLICE("1")}};
    struct err e = {0};
    const struct node_options others[] = {
        {.url = peers[0].url, .name = "other"},
        {.url = peers[0].url, .kind = NODE_KIND_OPENAI},
        {.url = peers[0].url, .api_key = "k"},
        {.url = peers[0].url, .headers = headers, .header_count = 1},
    };

    (void)state;
    use("0");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        uint64_t id = nodes_at(nodes, 0)->id;

        assert_int_equal(nodes_configure(nodes, &others[i], 1, &usual_limits, &e), MCP_OK);
        assert_int_not_equal(nodes_at(nodes, 0)->id, id);
    }
}

static void a_call_outlives_its_node(void **state)
{
    struct caller c = {0};
    struct node *n;

    (void)state;
    begin();
    n = nodes_at(follower, 0);
    begin_call(&c, 0, n);
    use("1");
    run_turns();
    assert_members(follower, "1");
    assert_true(n->retired);
    assert_int_equal(node_calls_everywhere(n), 1);
    node_mark_down(n, "nobody listens to that any more");
    end_call(&c, 0);
    run_turns();
    assert_null(follower->retired);
    peer_wait_gone(&peers[0], peers[0].count - 1); /* not kept for another call */
    assert_int_equal(counted(COUNTER_NODE_DOWN), 0);
}

static void a_poll_of_one_that_goes_is_given_up(void **state)
{
    (void)state;
    begin();
    peer_route_raw(&peers[0], "/api/version", NULL);
    node_poll_now(nodes_at(nodes, 0)->poll);
    run_turns();
    assert_true(node_poll_running(nodes_at(nodes, 0)->poll));
    use("1");
    settle();
    assert_members(nodes, "1");
    assert_int_equal(nodes_up(nodes), 1);
    move_clock_ms(HOUR_MS); /* no timer of it is left */
    settle();
}

static void note(void *owner)
{
    ++*(unsigned *)owner;
}

static void who_waits_for_one_that_goes_waits_no_more(void **state)
{
    struct nodes_refresh r = {0};
    unsigned told = 0;

    (void)state;
    begin();
    peer_route_raw(&peers[0], "/api/version", NULL);
    move_clock_ms(1001); /* what they have is no longer fresh */
    nodes_refresh(nodes, &r, note, &told);
    run_until(second_is_settled, NULL);
    run_turns();
    assert_int_equal(told, 0);
    use("1");
    run_turns();
    assert_int_equal(told, 1);
}

static void limits_are_those_of_the_last(void **state)
{
    struct node_limits limits = usual_limits;

    (void)state;
    begin();
    limits.idle_timeout_ms = 7;
    limits.pool_idle = 3;
    limits.pool_idle_ms = 8;
    assert_int_equal(configure("01", &limits), MCP_OK);
    run_turns();
    for (int i = 0; i < 2; i++) {
        struct nodes *set = i == 0 ? nodes : follower;

        assert_int_equal(nodes_limits(set)->idle_timeout_ms, 7);
        assert_int_equal(nodes_at(set, 1)->pool.max_idle, 3);
        assert_int_equal(nodes_at(set, 1)->pool.max_idle_ms, 8);
    }
}

static void a_bad_url_changes_nothing(void **state)
{
    const struct node_options options[] = {{.url = peers[2].url}, {.url = "http://h:0"}};
    struct node *first;
    struct err e = {0};

    (void)state;
    begin();
    first = nodes_at(nodes, 0);
    assert_int_equal(nodes_configure(nodes, options, 2, &usual_limits, &e), MCP_EARGUMENT);
    assert_int_not_equal(e.text[0], '\0');
    run_turns();
    assert_members(nodes, "01");
    assert_members(follower, "01");
    assert_ptr_equal(nodes_at(nodes, 0), first);
}

static void configure_12(void *arg)
{
    struct node *first = nodes_at(nodes, 0);

    (void)arg;
    if (configure("12", &usual_limits) != MCP_OK) {
        assert_members(nodes, "01");
        assert_ptr_equal(nodes_at(nodes, 0), first);
    }
}

static void without_memory_nothing_has_changed(void **state)
{
    (void)state;
    begin();
    alloc_fault_each(configure_12, NULL);
    move_clock_ms(5000); /* its first poll may have been what there was no memory for */
    settle();
    assert_members(nodes, "12");
    assert_members(follower, "12");
    assert_int_equal(nodes_up(follower), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBERS_TEST(a_node_that_stays_keeps_all_it_has),
        MEMBERS_TEST(ids_are_never_used_again),
        MEMBERS_TEST(another_option_makes_another_node),
        MEMBERS_TEST(a_call_outlives_its_node),
        MEMBERS_TEST(a_poll_of_one_that_goes_is_given_up),
        MEMBERS_TEST(who_waits_for_one_that_goes_waits_no_more),
        MEMBERS_TEST(limits_are_those_of_the_last),
        MEMBERS_TEST(a_bad_url_changes_nothing),
        MEMBERS_TEST(without_memory_nothing_has_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
