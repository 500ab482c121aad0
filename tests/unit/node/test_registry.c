/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "alloc_fault.h"
#include "node/poll.h"
#include "node_peer.h"

#define CUT "/api/version /api/tags " /* begun again before it was whole */
#define BOTH CUT "/api/ps "

static struct peer peers[3];

static bool all_polled(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (node_poll_running(nodes_at(nodes, i)->poll)) {
            return false;
        }
    }
    return true;
}

static void open_ollama(struct peer *p)
{
    peer_open(p);
    peer_route(p, "/api/version", "200 OK", "{\"version\":\"0.17.4\"}");
    peer_route(p, "/api/tags", "200 OK", "{\"models\":[{\"name\":\"m:latest\"}]}");
}

/* Two nodes that are up and were just polled. */
static void two_up(void)
{
    for (int i = 0; i < 2; i++) {
        open_ollama(&peers[i]);
        (void)node_add(peers[i].url);
    }
    nodes_start(nodes);
    run_until(all_polled, NULL);
    assert_int_equal(nodes_up(nodes), 2);
    (void)peer_take_asked(&peers[0]);
    (void)peer_take_asked(&peers[1]);
}

/* --- the nodes
 * ------------------------------------------------------------------------------------- */

static void a_node_has_its_parts_from_its_url(void **state)
{
    static const struct {
        const char *url;
        const char *name;
        const char *host;
        const char *host_header;
        const char *prefix;
        unsigned port;
    } urls[] = {
        {"http://host.test", "host.test:80", "host.test", "host.test:80", "", 80},
        {"http://host.test:1234/", "host.test:1234", "host.test", "host.test:1234", "", 1234},
        {"http://10.0.0.1:80/a/b/", "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80", "/a/b", 80},
        {"host.test", "host.test:11434", "host.test", "host.test:11434", "", 11434},
        {":1234", "127.0.0.1:1234", "127.0.0.1", "127.0.0.1:1234", "", 1234},
        {"http://[::1]:1234", "[::1]:1234", "::1", "[::1]:1234", "", 1234},
        {"unix:/run/node", "unix:/run/node", "/run/node", "localhost", "", 0},
    };
    const size_t count = sizeof(urls) / sizeof(urls[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct node *n = node_add(urls[i].url);

        assert_string_equal(n->spec->url, urls[i].url);
        assert_string_equal(n->spec->name, urls[i].name);
        assert_string_equal(n->spec->host, urls[i].host);
        assert_string_equal(n->spec->host_header, urls[i].host_header);
        assert_string_equal(n->spec->prefix, urls[i].prefix);
        assert_string_equal(n->spec->extra_headers, "");
        assert_int_equal(n->spec->port, urls[i].port);
        assert_int_equal(n->spec->is_unix, urls[i].port == 0);
        assert_int_equal(n->state, NODE_STARTING);
        assert_false(n->has_addr);
        assert_int_equal(n->id, i + 1);
    }
    assert_int_equal(nodes_count(nodes), count);
    assert_int_equal(changes, 0);
}

static void what_the_configuration_says_is_kept(void **state)
{
    static const struct http_header headers[] = {{SLICE("X-A"), SLICE("1")},
                                                 {SLICE("X-B"), SLICE("")}};
    const struct node *n = node_add_with(&(struct node_options){.url = "http://h",
                                                                .name = "big",
                                                                .kind = NODE_KIND_OPENAI,
                                                                .api_key = "k",
                                                                .headers = headers,
                                                                .header_count = 2});

    (void)state;
    assert_string_equal(n->spec->name, "big");
    assert_int_equal(n->kind, NODE_KIND_OPENAI);
    assert_int_equal(n->spec->kind, NODE_KIND_OPENAI);
    assert_string_equal(n->spec->extra_headers, "Authorization: Bearer k\r\nX-A: 1\r\nX-B: \r\n");
    assert_string_equal(node_kind_name(n->kind), "openai");
    assert_string_equal(node_state_name(n->state), "starting");
}

static void a_bad_url_adds_nothing(void **state)
{
    static const char *const bad[] = {"", "https://h", "http://h:0", "http://a b", "http://u:p@h"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = {0};

        assert_int_equal(nodes_add(nodes, &(struct node_options){.url = bad[i]}, &e),
                         MCP_EARGUMENT);
        assert_int_not_equal(e.text[0], '\0');
        assert_int_equal(nodes_count(nodes), 0);
    }
}

static void nodes_are_found_by_id(void **state)
{
    struct node *a = node_add("http://a");
    struct node *b = node_add("http://b");

    (void)state;
    assert_ptr_equal(nodes_by_id(nodes, a->id), a);
    assert_ptr_equal(nodes_by_id(nodes, b->id), b);
    assert_null(nodes_by_id(nodes, 0));
    assert_null(nodes_by_id(nodes, b->id + 1));
    assert_ptr_equal(nodes_loop(nodes), loop);
    assert_string_equal(nodes_instance(nodes), "test-instance");
}

static void a_set_is_polled_when_each_node_was(void **state)
{
    (void)state;
    assert_true(nodes_all_polled(nodes)); /* there is none */
    open_ollama(&peers[0]);
    peer_open(&peers[1]);
    peer_refuse(&peers[1]);
    (void)node_add(peers[0].url);
    (void)node_add(peers[1].url);
    peer_route_raw(&peers[0], "/api/tags", NULL);
    nodes_start(nodes);
    while (nodes_at(nodes, 1)->state == NODE_STARTING) {
        run_turns();
    }
    assert_false(nodes_all_polled(nodes));
    assert_int_equal(changes, 1);
    move_clock_ms(10000);
    assert_true(nodes_all_polled(nodes));
    assert_int_equal(nodes_up(nodes), 0);
    assert_int_equal(changes, 2);
    open_ollama(&peers[2]);
    (void)node_add(peers[2].url);
    assert_false(nodes_all_polled(nodes));
    node_poll_now(nodes_at(nodes, 2)->poll);
    while (nodes_at(nodes, 2)->state == NODE_STARTING) {
        run_turns();
    }
    assert_true(nodes_all_polled(nodes));
    assert_int_equal(nodes_up(nodes), 1);
}

static void states_change_as_they_may(void **state)
{
    struct node *n = node_add("http://h");

    (void)state;
    n->has_addr = true;
    node_mark_down(n, "first");
    node_mark_down(n, "second");
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(n->why_down, "second");
    assert_int_equal(changes, 1);
    node_mark_up(n);
    node_mark_up(n);
    assert_int_equal(n->state, NODE_UP);
    assert_string_equal(n->why_down, "");
    assert_int_equal(changes, 2);
    node_mark_refused(n);
    node_mark_up(n);
    node_mark_down(n, "third");
    assert_int_equal(n->state, NODE_REFUSED);
    assert_string_equal(n->why_down, "this node is the gateway itself");
    assert_int_equal(changes, 3);
    assert_int_equal(counted(COUNTER_NODE_UP), 1);
    assert_int_equal(counted(COUNTER_NODE_DOWN), 2);
    assert_string_equal(node_state_name(n->state), "refused");
}

/* --- refresh
 * --------------------------------------------------------------------------------------- */

struct waiter {
    struct nodes_refresh refresh;
    unsigned done;
    struct waiter *cancels; /* in its own callback */
    struct waiter *starts;
};

static void on_done(void *owner)
{
    struct waiter *w = owner;

    w->done++;
    if (w->cancels != NULL) {
        nodes_refresh_cancel(nodes, &w->cancels->refresh);
    }
    if (w->starts != NULL) {
        nodes_refresh(nodes, &w->starts->refresh, on_done, w->starts);
    }
}

static void refresh(struct waiter *w)
{
    nodes_refresh(nodes, &w->refresh, on_done, w);
}

static bool is_done(void *arg)
{
    struct waiter *w = arg;

    return w->done > 0;
}

static void what_is_fresh_is_not_read_again(void **state)
{
    struct waiter w = {0};

    (void)state;
    two_up();
    move_clock_ms(1000);
    refresh(&w);
    assert_int_equal(w.done, 0); /* comes from the loop */
    run_turns();
    assert_int_equal(w.done, 1);
    assert_string_equal(peer_take_asked(&peers[0]), "");
    move_clock_ms(1);
    refresh(&w);
    assert_true(node_poll_running(nodes_at(nodes, 0)->poll));
    run_until(all_polled, NULL);
    run_turns();
    assert_int_equal(w.done, 2);
    run_turns();
    assert_string_equal(peer_take_asked(&peers[0]), BOTH);
    assert_string_equal(peer_take_asked(&peers[1]), BOTH);
}

static void at_most_one_read_a_second(void **state)
{
    struct waiter waiters[20] = {0};

    (void)state;
    two_up();
    move_clock_ms(1001);
    for (size_t i = 0; i < 20; i++) {
        refresh(&waiters[i]);
        if (i % 2 == 1) {
            run_until(is_done, &waiters[i]);
            move_clock_ms(100);
        }
    }
    assert_true(waiters[0].done == 1 && waiters[19].done == 1);
    run_turns();
    assert_string_equal(peer_take_asked(&peers[0]), BOTH);
    assert_string_equal(peer_take_asked(&peers[1]), BOTH);
}

/* Also where the change came while the catalogue was being read. */
static void what_changed_is_read_again(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};
    struct waiter c = {0};
    struct node *n;

    (void)state;
    two_up();
    n = nodes_at(nodes, 1);
    node_mark_changed(n);
    peer_route_raw(&peers[1], "/api/tags", NULL);
    refresh(&a);
    while (strstr(peers[1].asked, "tags") == NULL) {
        run_turns();
    }
    node_mark_changed(n);
    refresh(&b);
    peer_route(&peers[1], "/api/tags", "200 OK", "{\"models\":[{\"name\":\"new\"}]}");
    peer_send(&peers[1], peers[1].last, SLICE(OK_HEAD("13") "{\"models\":[]}"));
    run_until(is_done, &b);
    assert_int_equal(a.done, 1);
    assert_non_null(catalogue_find(&n->catalogue, SLICE("new")));
    assert_string_equal(peer_take_asked(&peers[0]), "");
    run_turns();
    assert_string_equal(peer_take_asked(&peers[1]), CUT BOTH);
    refresh(&c);
    run_turns();
    assert_int_equal(c.done, 1);
    assert_string_equal(peer_take_asked(&peers[1]), "");
}

static void a_refresh_waits_for_all_and_sees_what_is_new(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};
    struct node *n;

    (void)state;
    two_up();
    n = nodes_at(nodes, 1);
    peer_route_raw(&peers[1], "/api/tags", NULL);
    move_clock_ms(1001);
    refresh(&a);
    while (strstr(peers[1].asked, "tags") == NULL) {
        run_turns();
    }
    refresh(&b); /* joins the one that runs */
    run_turns();
    assert_int_equal(a.done + b.done, 0);
    assert_null(catalogue_find(&n->catalogue, SLICE("new")));
    peer_send(&peers[1], peers[1].last, SLICE(OK_HEAD("27") "{\"models\":[{\"name\":\"new\"}]}"));
    run_until(is_done, &b);
    assert_int_equal(a.done + b.done, 2);
    assert_non_null(catalogue_find(&n->catalogue, SLICE("new")));
    run_turns();
    assert_string_equal(peer_take_asked(&peers[1]), BOTH);
}

static void a_node_that_fails_or_hangs_does_not_hold_it_for_ever(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};

    (void)state;
    two_up();
    peer_route(&peers[0], "/api/tags", "500 Oops", "");
    peer_route_raw(&peers[1], "/api/tags", NULL);
    move_clock_ms(1001);
    refresh(&a);
    while (nodes_up(nodes) == 2) {
        run_turns();
    }
    assert_int_equal(a.done, 0);
    move_clock_ms(9999);
    assert_int_equal(a.done, 0);
    move_clock_ms(1);
    assert_int_equal(nodes_up(nodes), 0);
    assert_int_equal(a.done, 1);
    /* What is down is left to its own polls. */
    run_until(all_polled, NULL);
    (void)peer_take_asked(&peers[0]);
    refresh(&b);
    run_turns();
    assert_int_equal(b.done, 1);
    assert_string_equal(peer_take_asked(&peers[0]), "");
}

/* Found down by a call meanwhile: nobody waits for it. */
static void a_node_that_goes_down_is_not_waited_for(void **state)
{
    struct waiter w = {0};

    (void)state;
    two_up();
    peer_route_raw(&peers[1], "/api/tags", NULL);
    move_clock_ms(1001);
    refresh(&w);
    run_turns();
    assert_int_equal(w.done, 0);
    node_mark_down(nodes_at(nodes, 1), "gone");
    run_until(is_done, &w);
    assert_true(node_poll_running(nodes_at(nodes, 1)->poll));
}

static void who_cancels_is_not_called(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};
    struct waiter c = {0};

    (void)state;
    two_up();
    nodes_refresh_cancel(nodes, &a.refresh); /* never asked */
    move_clock_ms(1001);
    refresh(&a);
    refresh(&b);
    nodes_refresh_cancel(nodes, &a.refresh); /* while it waits */
    run_until(is_done, &b);
    refresh(&a);
    nodes_refresh_cancel(nodes, &a.refresh); /* when it is due */
    refresh(&c);
    refresh(&a);
    c.cancels = &a; /* when it is due, in the same phase */
    run_turns();
    assert_int_equal(a.done, 0);
    assert_int_equal(b.done, 1);
    assert_int_equal(c.done, 1);
    refresh(&a);
    run_turns();
    assert_int_equal(a.done, 1);
}

static void one_may_lead_to_another(void **state)
{
    struct waiter a = {0};
    struct waiter b = {0};

    (void)state;
    a.starts = &b;
    refresh(&a); /* without a node */
    run_turns();
    assert_int_equal(a.done, 1);
    assert_int_equal(b.done, 1);
    two_up();
    move_clock_ms(1001);
    refresh(&a);
    while (b.done < 2) {
        run_turns();
    }
    assert_int_equal(a.done, 2);
    run_turns();
    assert_string_equal(peer_take_asked(&peers[0]), BOTH);
}

/* Nodes that are still looked for are waited for as those that were not polled yet, unless one is
 * up. */
static void the_first_node_may_be_still_to_come(void **state)
{
    struct waiter w = {0};

    (void)state;
    assert_true(nodes_all_polled(nodes));
    nodes_expect(nodes, true);
    assert_false(nodes_all_polled(nodes));
    refresh(&w);
    run_turns();
    assert_int_equal(w.done, 0);
    nodes_expect(nodes, false); /* there was none */
    run_until(is_done, &w);
    assert_true(nodes_all_polled(nodes));
    nodes_expect(nodes, true);
    w = (struct waiter){0};
    refresh(&w);
    two_up();
    run_until(is_done, &w); /* though more may come */
    assert_true(nodes_all_polled(nodes));
}

static void it_ends_though_memory_is_out(void **state)
{
    bool reached = true;

    (void)state;
    two_up();
    for (size_t i = 1; reached; i++) {
        struct waiter w = {0};

        move_clock_ms(1001);
        run_until(all_polled, NULL);
        move_clock_ms(1001);
        alloc_fault_at(i);
        refresh(&w);
        run_until(is_done, &w);
        reached = alloc_fault_count() >= i;
        alloc_fault_at(0);
        assert_int_equal(nodes_up(nodes), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(a_node_has_its_parts_from_its_url),
        NODE_TEST(what_the_configuration_says_is_kept),
        NODE_TEST(a_bad_url_adds_nothing),
        NODE_TEST(nodes_are_found_by_id),
        NODE_TEST(a_set_is_polled_when_each_node_was),
        NODE_TEST(states_change_as_they_may),
        NODE_TEST(what_is_fresh_is_not_read_again),
        NODE_TEST(at_most_one_read_a_second),
        NODE_TEST(what_changed_is_read_again),
        NODE_TEST(a_refresh_waits_for_all_and_sees_what_is_new),
        NODE_TEST(a_node_that_fails_or_hangs_does_not_hold_it_for_ever),
        NODE_TEST(a_node_that_goes_down_is_not_waited_for),
        NODE_TEST(who_cancels_is_not_called),
        NODE_TEST(one_may_lead_to_another),
        NODE_TEST(the_first_node_may_be_still_to_come),
        NODE_TEST(it_ends_though_memory_is_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
