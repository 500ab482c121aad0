/* SPDX-License-Identifier: Apache-2.0 */
/* Host names of nodes: looked up off the loop, by a resolver of our own here. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/poll.h"
#include "node_peer.h"

enum {
    HELPERS = 4, /* as many as a loop has */
    ADDRESSES_MAX = 3
};

static const char version_ok[] = "{\"version\":\"0.17.4\"}";

static struct peer peer;

/* --- the resolver
 * ---------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next five */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;      /* it gives no answer */
static unsigned asked; /* look-ups begun */
static int result;
static uint32_t addresses[ADDRESSES_MAX];
static size_t address_count;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static _Thread_local struct sockaddr_in in[ADDRESSES_MAX]; /* until the thread's next look-up */
    static _Thread_local struct addrinfo info[ADDRESSES_MAX];
    int rv;

    (void)hints;
    assert_string_equal(name, "node.test");
    assert_null(service);
    (void)pthread_mutex_lock(&lock);
    asked++;
    (void)pthread_cond_broadcast(&changed);
    while (held) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    rv = result;
    for (size_t i = 0; i < address_count; i++) {
        in[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(addresses[i])};
        info[i] = (struct addrinfo){.ai_family = AF_INET, .ai_addrlen = sizeof(in[i])};
        info[i].ai_addr = (struct sockaddr *)&in[i];
        info[i].ai_next = i + 1 < address_count ? &info[i + 1] : NULL;
    }
    (void)pthread_mutex_unlock(&lock);
    *found = info;
    return rv;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

static void hold(bool on)
{
    (void)pthread_mutex_lock(&lock);
    held = on;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void wait_asked(unsigned count)
{
    (void)pthread_mutex_lock(&lock);
    while (asked < count) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    assert_int_equal(asked, count);
    (void)pthread_mutex_unlock(&lock);
}

static int setup(void **state)
{
    held = false;
    asked = 0;
    result = 0;
    addresses[0] = INADDR_LOOPBACK;
    address_count = 1;
    return node_setup(state);
}

/* --- tests
 * ----------------------------------------------------------------------------------------- */

static bool has_polled(void *node)
{
    struct node *n = node;

    return !node_poll_running(n->poll);
}

static struct node *named_node(void)
{
    char url[64];

    (void)snprintf(url, sizeof(url), "http://node.test:%u", addr_port(&peer.at));
    return node_add(url);
}

static void open_peer(void)
{
    peer_open(&peer);
    peer_route(&peer, "/api/version", "200 OK", version_ok);
    peer_route(&peer, "/api/tags", "200 OK", "{\"models\":[]}");
}

static void the_loop_goes_on_while_a_name_is_looked_up(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    n = named_node();
    hold(true);
    nodes_start(nodes);
    wait_asked(1);
    move_clock_ms(9999);
    assert_int_equal(n->state, NODE_STARTING);
    assert_false(nodes_all_polled(nodes));
    hold(false);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    /* While it is up its address stays. */
    for (int i = 0; i < 3; i++) {
        move_clock_ms(5000);
        run_until(has_polled, n);
    }
    wait_asked(1);
}

static void a_name_nobody_knows_is_looked_up_again(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    n = named_node();
    result = EAI_NONAME;
    nodes_start(nodes);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_DOWN);
    assert_non_null(strstr(n->why_down, "cannot look up \"node.test\""));
    result = 0;
    move_clock_ms(100);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    wait_asked(2);
}

/* A failed poll forgets the address: the name may stand for another one by then. */
static void a_node_that_went_down_is_looked_up_again(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    n = named_node();
    nodes_start(nodes);
    run_until(has_polled, n);
    peer_route(&peer, "/api/version", "500 Oops", "");
    move_clock_ms(5000);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_DOWN);
    peer_route(&peer, "/api/version", "200 OK", version_ok);
    move_clock_ms(100);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    wait_asked(2);
}

static unsigned met;
static pthread_barrier_t barrier;

static void meet(void *unused)
{
    (void)unused;
    (void)pthread_barrier_wait(&barrier);
}

static void count_met(void *unused)
{
    (void)unused;
    met++;
}

static bool all_met(void *unused)
{
    (void)unused;
    return met == HELPERS;
}

/* Until all that helpers were in when this was called has come back: each of them takes part, and
 * none can before what it was in is handed over. */
static void wait_helpers(void)
{
    met = 0;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, HELPERS), 0);
    for (int i = 0; i < HELPERS; i++) {
        assert_int_equal(loop_offload(loop, meet, count_met, NULL, NULL), 0);
    }
    run_until(all_met, NULL);
    assert_int_equal(pthread_barrier_destroy(&barrier), 0);
}

/* --- several addresses
 * ----------------------------------------------------------------------------- */

enum { REFUSES = INADDR_LOOPBACK + 1, SILENT = INADDR_LOOPBACK + 2 };

static void resolve_to(uint32_t first, uint32_t second, uint32_t third)
{
    addresses[0] = first;
    addresses[1] = second;
    addresses[2] = third;
    address_count = third != 0 ? 3 : 2;
}

static void assert_at(const struct node *n, const char *host)
{
    char text[ADDR_TEXT_MAX];

    addr_format_host(&n->addr, text);
    assert_string_equal(text, host);
}

/* A listener at SILENT with the peer's port whose queue is full: the kernel drops who else comes.
 */
struct silent {
    int listener;
    int waiting[2];
};

static void silent_open(struct silent *s)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(SILENT),
                             .sin_port = htons((uint16_t)addr_port(&peer.at))};

    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(s->listener, 0), 0);
    for (size_t i = 0; i < 2; i++) {
        int rv;

        s->waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        rv = connect(s->waiting[i], (struct sockaddr *)&in, sizeof(in));
        assert_true(rv == 0 || errno == EINPROGRESS);
    }
}

static void silent_close(struct silent *s)
{
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(close(s->waiting[i]), 0);
    }
    assert_int_equal(close(s->listener), 0);
}

static void an_address_that_refuses_is_followed_by_the_next(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    resolve_to(REFUSES, INADDR_LOOPBACK, 0);
    n = named_node();
    nodes_start(nodes);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    assert_at(n, "127.0.0.1");
    assert_int_equal(changes, 1); /* it was never down */
    wait_asked(1);
}

static void an_address_that_is_silent_is_followed_by_the_next(void **state)
{
    struct silent silent;
    struct node *n;

    (void)state;
    open_peer();
    silent_open(&silent);
    resolve_to(SILENT, REFUSES, INADDR_LOOPBACK);
    n = named_node();
    hold(true);
    nodes_start(nodes);
    wait_asked(1);
    hold(false);
    wait_helpers(); /* it is connecting now */
    move_clock_ms(999);
    assert_int_equal(n->state, NODE_STARTING);
    move_clock_ms(1);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    assert_at(n, "127.0.0.1");
    silent_close(&silent);
}

static void a_node_is_down_when_its_last_address_is(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    resolve_to(REFUSES, REFUSES, 0);
    n = named_node();
    nodes_start(nodes);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(n->why_down, "Connection refused");
    resolve_to(REFUSES, INADDR_LOOPBACK, 0);
    move_clock_ms(100);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    wait_asked(2);
}

/* Another one has the name now, and takes over in the same poll. */
static void a_node_that_moved_to_its_other_address_stays_up(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    resolve_to(INADDR_LOOPBACK, INADDR_LOOPBACK, 0);
    n = named_node();
    nodes_start(nodes);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    assert_int_equal(addr_parse(&n->addr, SLICE("127.0.0.2:1"), NULL), 0);
    peer_close(&peer, 0, false);
    run_turns(); /* it is in no pool any more */
    move_clock_ms(5000);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    assert_at(n, "127.0.0.1");
    wait_asked(1);
}

/* --- too late
 * -------------------------------------------------------------------------------------- */

static void a_look_up_may_come_too_late(void **state)
{
    struct node *n;

    (void)state;
    open_peer();
    n = named_node();
    hold(true);
    nodes_start(nodes);
    wait_asked(1);
    move_clock_ms(10000);
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(n->why_down, "no answer to a poll within 10 s");
    move_clock_ms(100);
    wait_asked(2);
    move_clock_ms(10000);
    assert_int_equal(n->state, NODE_DOWN);
    hold(false);
    wait_helpers();
    assert_false(n->has_addr); /* nobody took them */
    assert_int_equal(peer.count, 0);
    move_clock_ms(200);
    run_until(has_polled, n);
    assert_int_equal(n->state, NODE_UP);
    wait_asked(3);
}

static void nodes_may_go_while_their_names_are_looked_up(void **state)
{
    (void)state;
    open_peer();
    for (int i = 0; i < HELPERS; i++) {
        (void)named_node();
    }
    hold(true);
    nodes_start(nodes);
    wait_asked(HELPERS);
    nodes_free(&nodes);
    hold(false);
    wait_helpers();
    run_turns();
    assert_int_equal(peer.count, 0);
}

/* The process ends: nobody waits for a name server that does not answer. */
static void the_loop_may_go_while_names_are_looked_up(void **state)
{
    (void)state;
    open_peer();
    (void)named_node();
    hold(true);
    nodes_start(nodes);
    wait_asked(1);
    nodes_free(&nodes);
    loop_free(&loop);
    hold(false); /* the look-up frees what it has */
}

int main(void)
{
#define NAMES_TEST(f) cmocka_unit_test_setup_teardown(f, setup, node_teardown)
    const struct CMUnitTest tests[] = {
        NAMES_TEST(the_loop_goes_on_while_a_name_is_looked_up),
        NAMES_TEST(a_name_nobody_knows_is_looked_up_again),
        NAMES_TEST(a_node_that_went_down_is_looked_up_again),
        NAMES_TEST(an_address_that_refuses_is_followed_by_the_next),
        NAMES_TEST(an_address_that_is_silent_is_followed_by_the_next),
        NAMES_TEST(a_node_is_down_when_its_last_address_is),
        NAMES_TEST(a_node_that_moved_to_its_other_address_stays_up),
        NAMES_TEST(a_look_up_may_come_too_late),
        NAMES_TEST(nodes_may_go_while_their_names_are_looked_up),
        NAMES_TEST(the_loop_may_go_while_names_are_looked_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
