/* SPDX-License-Identifier: Apache-2.0 */
/* Names of DNS as nodes; what DNS says is scripted. */
#include "node_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"
#include "gateway/discovery.h"

enum { INTERVAL_MS = 30 * 1000, LEAST_MS = 5000, FIRST_AGAIN_MS = 1000 };

#define POOL "dns://pool.test:80/x/"
#define OTHER "srv://_o._tcp.test"

/* What the next look-ups find: addresses with ports, separated by spaces; NULL: they fail. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    const char *says;
    uint32_t ttl_s;
    unsigned asked;
    char name[DNS_NAME_MAX];
    bool is_service, has_server;
    unsigned port;
} dns = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct discovery *discovery;
static unsigned looked, others;
static bool refuses; /* other nodes cannot be used */

static int answer(const char *says, struct dns_found *out, struct err *e)
{
    *out = (struct dns_found){.ttl_s = dns.ttl_s};
    if (says == NULL) {
        return err_set(e, MCP_ECONNECT, "no answer");
    }
    out->at = calloc(8, sizeof(*out->at));
    if (out->at == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    while (*says != '\0') {
        size_t len = strcspn(says, " ");

        (void)addr_parse(&out->at[out->count++], slice_of(says, len), NULL);
        says += len + (says[len] == ' ');
    }
    return MCP_OK;
}

static int scripted(const struct dns_question *q, struct dns_found *out, struct err *e)
{
    int rv;

    (void)pthread_mutex_lock(&dns.lock);
    dns.asked++;
    (void)strcpy(dns.name, q->name);
    dns.is_service = q->is_service;
    dns.has_server = q->server != NULL;
    dns.port = q->port;
    rv = answer(dns.says, out, e);
    (void)pthread_mutex_unlock(&dns.lock);
    return rv;
}

static void say(const char *says, uint32_t ttl_s)
{
    (void)pthread_mutex_lock(&dns.lock);
    dns.says = says;
    dns.ttl_s = ttl_s;
    (void)pthread_mutex_unlock(&dns.lock);
}

static bool on_looked(void *owner, bool is_other)
{
    (void)owner;
    looked++;
    others += is_other;
    return !(is_other && refuses);
}

static int setup(void **state)
{
    int rv = node_setup(state);

    looked = others = dns.asked = 0;
    refuses = false;
    say("", 3600);
    discovery = discovery_new(loop, scripted, on_looked, NULL);
    discovery_configure(discovery, INTERVAL_MS, NULL);
    return rv;
}

static int teardown(void **state)
{
    discovery_free(&discovery);
    return node_teardown(state);
}

static bool has_looked(void *arg)
{
    return looked >= *(const unsigned *)arg;
}

static void wait_looked(unsigned count)
{
    run_until(has_looked, &count);
    assert_int_equal(looked, count);
}

static void want(const char *url)
{
    assert_non_null(discovery_want(discovery, url));
    discovery_settle(discovery, true);
}

static void assert_names(const char *url, const char *names)
{
    const struct found *f = discovery_find(discovery, url);
    char out[256] = "";

    assert_non_null(f);
    for (size_t i = 0; i < f->count; i++) {
        (void)strcat(strcat(out, i == 0 ? "" : " "), f->nodes[i].name);
    }
    assert_string_equal(out, names);
}

static void what_is_found_is_in_order_and_there_once(void **state)
{
    (void)state;
    say("10.0.0.2:80 [::1]:80 10.0.0.1:80 10.0.0.2:80", 3600);
    want(POOL);
    assert_true(discovery_pending(discovery));
    assert_names(POOL, "");
    wait_looked(1);
    assert_false(discovery_pending(discovery));
    assert_names(POOL, "10.0.0.1:80 10.0.0.2:80 [::1]:80");
    assert_string_equal(discovery_find(discovery, POOL)->nodes[0].url, "http://10.0.0.1:80/x");
    assert_string_equal(dns.name, "pool.test");
    assert_int_equal(dns.port, 80);
    assert_false(dns.is_service);
    assert_false(dns.has_server);
    assert_int_equal(others, 1);
    assert_int_equal(counted(COUNTER_DISCOVERY_FOUND), 3);
    say("[::1]:80 10.0.0.1:80", 3600);
    move_clock_ms(INTERVAL_MS);
    wait_looked(2);
    assert_names(POOL, "10.0.0.1:80 [::1]:80");
    assert_int_equal(counted(COUNTER_DISCOVERY_GONE), 1);
    move_clock_ms(INTERVAL_MS);
    wait_looked(3);
    assert_int_equal(others, 2); /* the third found the same */
    assert_int_equal(counted(COUNTER_DISCOVERY_LOOKUPS), 3);
}

static void a_failure_keeps_what_there_was_and_is_tried_again_later_and_later(void **state)
{
    static const unsigned pauses_ms[] = {1000, 2000, 4000, 8000, 16000, INTERVAL_MS, INTERVAL_MS};
    unsigned count = 1;

    (void)state;
    say("10.0.0.1:80", 3600);
    want(OTHER);
    wait_looked(count);
    assert_true(dns.is_service);
    say(NULL, 0);
    move_clock_ms(INTERVAL_MS);
    wait_looked(++count);
    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        assert_string_equal(discovery_find(discovery, OTHER)->why, "no answer");
        assert_names(OTHER, "10.0.0.1:80");
        move_clock_ms(pauses_ms[i] - 1);
        assert_int_equal(looked, count);
        move_clock_ms(1);
        wait_looked(++count);
    }
    say("10.0.0.1:80", 3600);
    move_clock_ms(INTERVAL_MS);
    wait_looked(++count);
    assert_string_equal(discovery_find(discovery, OTHER)->why, "");
    assert_int_equal(others, 1);
    assert_int_equal(counted(COUNTER_DISCOVERY_FAILED), 8);
}

static void answers_that_hold_for_less_are_asked_for_sooner(void **state)
{
    static const struct {
        uint32_t ttl_s;
        unsigned pause_ms;
    } cases[] = {{10, 10000}, {0, LEAST_MS}, {30, INTERVAL_MS}, {UINT32_MAX, INTERVAL_MS}};
    unsigned count = 0;

    (void)state;
    say("10.0.0.1:80", cases[0].ttl_s);
    want(POOL);
    wait_looked(++count);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say("10.0.0.1:80", i + 1 < 4 ? cases[i + 1].ttl_s : 0);
        move_clock_ms(cases[i].pause_ms - 1);
        assert_int_equal(looked, count);
        move_clock_ms(1);
        wait_looked(++count);
    }
}

static void nodes_that_cannot_be_used_come_again(void **state)
{
    (void)state;
    say("10.0.0.1:80", 3600);
    want(POOL);
    wait_looked(1);
    refuses = true;
    say("10.0.0.2:80", 3600);
    move_clock_ms(INTERVAL_MS);
    wait_looked(3); /* the second time it is told as a failure */
    assert_names(POOL, "10.0.0.1:80");
    assert_int_equal(counted(COUNTER_DISCOVERY_GONE), 0);
    refuses = false;
    move_clock_ms(FIRST_AGAIN_MS);
    wait_looked(4);
    assert_names(POOL, "10.0.0.2:80");
}

static void names_come_and_go_and_come_back_as_they_were(void **state)
{
    (void)state;
    say("10.0.0.1:80", 3600);
    want(POOL);
    wait_looked(1);
    assert_non_null(discovery_want(discovery, OTHER));
    discovery_settle(discovery, false); /* it was nothing after all */
    assert_null(discovery_find(discovery, OTHER));
    assert_names(POOL, "10.0.0.1:80");
    assert_non_null(discovery_want(discovery, POOL));
    want(OTHER);
    assert_names(POOL, "10.0.0.1:80");
    wait_looked(2);
    assert_names(OTHER, "10.0.0.1:80");
    want(OTHER);
    assert_null(discovery_find(discovery, POOL));
    assert_int_equal(counted(COUNTER_DISCOVERY_GONE), 0); /* nobody asks for it any more */
}

static void another_server_is_asked_at_once(void **state)
{
    (void)state;
    say("10.0.0.1:80", 3600);
    want(POOL);
    wait_looked(1);
    discovery_configure(discovery, INTERVAL_MS, "127.0.0.1:8600");
    wait_looked(2);
    assert_true(dns.has_server);
}

/* Also while it is being looked up, then and once more. */
static void what_is_asked_for_may_change_meanwhile(void **state)
{
    (void)state;
    (void)pthread_mutex_lock(&dns.lock); /* the helper thread waits */
    want(POOL);
    run_turns();
    discovery_configure(discovery, INTERVAL_MS, "127.0.0.1:8600");
    want(OTHER);
    dns.says = "10.0.0.1:80";
    (void)pthread_mutex_unlock(&dns.lock);
    wait_looked(1); /* of a name that nobody wants any more nothing is told */
    assert_names(OTHER, "10.0.0.1:80");
    assert_true(dns.has_server);
    (void)pthread_mutex_lock(&dns.lock);
    discovery_configure(discovery, INTERVAL_MS, NULL);
    run_turns();
    discovery_free(&discovery); /* and nobody at all */
    (void)pthread_mutex_unlock(&dns.lock);
}

/* Whatever allocation fails, it is told, and the next try finds them. */
static void memory_may_run_out_anywhere(void **state)
{
    bool failed = true;

    (void)state;
    for (size_t at = 1; failed; at++) {
        const struct found *f;

        assert_true(at < 200);
        looked = 0;
        say("10.0.0.1:80 10.0.0.2:80", 3600);
        alloc_fault_at(at);
        f = discovery_want(discovery, POOL);
        discovery_settle(discovery, f != NULL);
        if (f == NULL) {
            alloc_fault_at(0);
            assert_null(discovery_find(discovery, POOL));
            continue;
        }
        wait_looked(1);
        alloc_fault_at(0);
        failed = f->why[0] != '\0';
        move_clock_ms(INTERVAL_MS);
        wait_looked(2);
        assert_names(POOL, "10.0.0.1:80 10.0.0.2:80");
        assert_string_equal(f->why, "");
        discovery_settle(discovery, true); /* not wanted: it goes */
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_found_is_in_order_and_there_once),
        TEST(a_failure_keeps_what_there_was_and_is_tried_again_later_and_later),
        TEST(answers_that_hold_for_less_are_asked_for_sooner),
        TEST(nodes_that_cannot_be_used_come_again),
        TEST(names_come_and_go_and_come_back_as_they_were),
        TEST(another_server_is_asked_at_once),
        TEST(what_is_asked_for_may_change_meanwhile),
        TEST(memory_may_run_out_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
