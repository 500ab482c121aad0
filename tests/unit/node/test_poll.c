/* SPDX-License-Identifier: Apache-2.0 */
/* What a node is found to be, from what it answers; when it is asked again. */
#include "node/poll.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc_fault.h"
#include "node_caller.h"

static const char version_ok[] = "{\"version\":\"0.17.4\"}";
static const char tags_ok[] = "{\"models\":[{\"name\":\"m:latest\"}]}";
static const char tags_two[] = "{\"models\":[{\"name\":\"a\"},{\"name\":\"m:latest\"}]}";
static const char ps_ok[] = "{\"models\":[{\"name\":\"m:latest\",\"context_length\":4096}]}";
static const char models_ok[] = "{\"object\":\"list\",\"data\":[{\"id\":\"g\"}]}";
static const char loading[] = "{\"error\":\"Loading a model\"}";

static struct peer peer;

static bool has_polled(void *node)
{
    struct node *n = node;

    return !node_poll_running(n->poll);
}

static void wait_polled(struct node *n)
{
    run_until(has_polled, n);
}

static bool is_up(void *node)
{
    const struct node *n = node;

    return n->state == NODE_UP;
}

static void be_ollama(struct peer *p)
{
    peer_route(p, "/api/version", "200 OK", version_ok);
    peer_route(p, "/api/tags", "200 OK", tags_ok);
}

/* A node that answers as Ollama does and was polled. */
static struct node *ollama_up(void)
{
    struct node *n;

    peer_open(&peer);
    be_ollama(&peer);
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    return n;
}

/* --- what it is
 * ------------------------------------------------------------------------------------ */

struct answer {
    const char *status; /* NULL: raw */
    const char *body;
};

struct kind_case {
    const char *name;
    enum node_kind configured;
    struct answer version;
    struct answer tags;
    struct answer models;
    enum node_state state;
    enum node_kind kind; /* where it is up */
    const char *why;
    const char *asked;
};

#define NODE_KIND_ANY NODE_KIND_UNKNOWN
#define OK(body)                                                                                   \
    {                                                                                              \
        "200 OK", body                                                                             \
    }
#define VERSION_OK OK(version_ok)
#define TAGS_OK OK(tags_ok)
#define MODELS_OK OK(models_ok)
#define ERROR(status)                                                                              \
    {                                                                                              \
        status, "sorry"                                                                            \
    }
#define NONE ERROR("404 Not Found")
#define RAW(bytes)                                                                                 \
    {                                                                                              \
        NULL, bytes                                                                                \
    }
#define LOOP(instance)                                                                             \
    "HTTP/1.1 508 Loop Detected\r\nX-Mcpgate-Probe: " instance "\r\nContent-Length: 0\r\n\r\n"
#define ECHO(instance) RAW(LOOP(instance))
#define BOTH "/api/version /api/tags /api/ps "
#define READ "/api/version /api/tags "
#define OPENAI "/api/version /v1/models "
#define VERSION "/api/version "
#define UP(kind) NODE_UP, NODE_KIND_##kind, ""
#define DOWN(why) NODE_DOWN, NODE_KIND_ANY, why
#define REFUSED NODE_REFUSED, NODE_KIND_ANY, "this node is the gateway itself"

/* clang-format off */
static const struct kind_case kinds[] = {
    {"ollama", NODE_KIND_ANY, VERSION_OK, TAGS_OK, NONE, UP(OLLAMA), BOTH},
    {"llama.cpp", NODE_KIND_ANY, NONE, NONE, MODELS_OK, UP(OPENAI), OPENAI},
    {"wants gzip", NODE_KIND_ANY, ERROR("415 Unsupported"), NONE, MODELS_OK, UP(OPENAI), OPENAI},
    {"has other methods", NODE_KIND_ANY, ERROR("405 Not"), NONE, MODELS_OK, UP(OPENAI), OPENAI},
    {"wants a key", NODE_KIND_ANY, ERROR("401 Who"), NONE, ERROR("401 Who"),
     DOWN("/v1/models answered 401 sorry"), OPENAI},
    {"ollama by order", NODE_KIND_OLLAMA, VERSION_OK, TAGS_OK, NONE, UP(OLLAMA), BOTH},
    {"no ollama, against orders", NODE_KIND_OLLAMA, NONE, NONE, MODELS_OK,
     DOWN("/api/version answered 404 sorry"), VERSION},
    {"openai by order", NODE_KIND_OPENAI, VERSION_OK, TAGS_OK, MODELS_OK, UP(OPENAI),
     "/v1/models "},
    {"loading", NODE_KIND_ANY, {"503 Wait", loading}, {"503 Wait", loading},
     {"503 Wait", loading}, DOWN("/api/version answered 503 {\"error\":\"Loading a model\"}"),
     VERSION},
    {"broken", NODE_KIND_ANY, ERROR("500 Oops"), TAGS_OK, MODELS_OK,
     DOWN("/api/version answered 500 sorry"), VERSION},
    {"elsewhere", NODE_KIND_ANY, ERROR("302 Found"), TAGS_OK, MODELS_OK,
     DOWN("/api/version answered 302 sorry"), VERSION},
    {"a page", NODE_KIND_ANY, OK("<html>"), TAGS_OK, MODELS_OK,
     DOWN("/api/version answered 200 <html>"), VERSION},
    {"a version that is a number", NODE_KIND_ANY, OK("{\"version\":1}"), TAGS_OK, MODELS_OK,
     DOWN("/api/version answered 200 {\"version\":1}"), VERSION},
    {"not HTTP", NODE_KIND_ANY, RAW("220 mail.test ESMTP\r\n"), NONE, NONE, DOWN(""), VERSION},
    {"broken chunk", NODE_KIND_ANY,
     RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), NONE, NONE, DOWN(""),
     VERSION},
    {"no catalogue", NODE_KIND_ANY, VERSION_OK, ERROR("500 Oops"), NONE,
     DOWN("/api/tags answered 500 sorry"), READ},
    {"no JSON", NODE_KIND_ANY, VERSION_OK, OK("{"), NONE,
     DOWN("its list of models cannot be read"), READ},
    {"no list", NODE_KIND_ANY, VERSION_OK, OK("{\"models\":{}}"), NONE,
     DOWN("its list of models cannot be read"), READ},
    {"itself", NODE_KIND_ANY, ECHO("test-instance"), TAGS_OK, NONE, REFUSED, VERSION},
    {"itself, as openai", NODE_KIND_OPENAI, NONE, NONE, ECHO("test-instance"), REFUSED,
     "/v1/models "},
    {"another gateway's loop", NODE_KIND_ANY, ECHO("other-instance"), TAGS_OK, NONE,
     DOWN("/api/version answered 508"), VERSION},
    {"any loop", NODE_KIND_ANY, ERROR("508 Loop Detected"), TAGS_OK, NONE,
     DOWN("/api/version answered 508 sorry"), VERSION},
};
/* clang-format on */

static void a_node_is_what_it_answers(void **state)
{
    const size_t count = sizeof(kinds) / sizeof(kinds[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct kind_case *k = &kinds[i];
        struct node *n;

        print_message("%s\n", k->name);
        peer_open(&peer);
        peer_route(&peer, "/api/version", k->version.status, k->version.body);
        peer_route(&peer, "/api/tags", k->tags.status, k->tags.body);
        peer_route(&peer, "/v1/models", k->models.status, k->models.body);
        n = node_add_with(&(struct node_options){.url = peer.url, .kind = k->configured});
        assert_int_equal(n->state, NODE_STARTING);
        assert_int_equal(n->kind, k->configured);
        node_poll_now(n->poll);
        wait_polled(n);
        assert_int_equal(n->state, k->state);
        assert_non_null(strstr(n->why_down, k->why));
        assert_int_equal(n->why_down[0] == '\0', n->state == NODE_UP);
        assert_string_equal(peer_take_asked(&peer), k->asked);
        assert_int_equal(changes, i + 1);
        if (n->state == NODE_UP) {
            assert_int_equal(n->kind, k->kind);
            assert_int_equal(n->catalogue.count, 1);
            assert_string_equal(n->version, k->kind == NODE_KIND_OLLAMA ? "0.17.4" : "");
            assert_int_equal(n->catalogue_ms, loop_now_ms(loop));
        }
        node_peers_close();
    }
    assert_true(nodes_all_polled(nodes));
    assert_int_equal(nodes_up(nodes), 6);
}

static void polls_carry_the_nodes_headers_and_the_instance(void **state)
{
    static const struct http_header configured[] = {{SLICE("X-Team"), SLICE("a")}};
    char url[160];
    char want[320];
    struct node *n;

    (void)state;
    peer_open(&peer);
    (void)snprintf(url, sizeof(url), "%s/deep", peer.url);
    n = node_add_with(&(struct node_options){
        .url = url, .api_key = "secret", .headers = configured, .header_count = 1});
    nodes_start(nodes);
    peer_wait_conns(&peer, 1);
    (void)snprintf(want, sizeof(want),
                   "GET /deep/api/version HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                   "Accept: application/json\r\nX-Mcpgate-Probe: test-instance\r\n"
                   "Authorization: Bearer secret\r\nX-Team: a\r\n\r\n",
                   addr_port(&peer.at));
    peer_wait_text(&peer, 0, want);
    assert_true(node_poll_running(n->poll));
}

static void a_long_version_is_cut(void **state)
{
    char version[256];
    struct node *n;

    (void)state;
    peer_open(&peer);
    be_ollama(&peer);
    (void)snprintf(version, sizeof(version), "{\"version\":\"%0200d\"}", 7);
    peer_route(&peer, "/api/version", "200 OK", version);
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    assert_int_equal(strlen(n->version), sizeof(n->version) - 1);
}

/* --- when
 * ------------------------------------------------------------------------------------------ */

static void what_is_up_is_read_every_5_s(void **state)
{
    struct node *n = ollama_up();

    (void)state;
    assert_string_equal(peer_take_asked(&peer), BOTH);
    for (int i = 0; i < 3; i++) {
        peer_route(&peer, "/api/tags", "200 OK", i == 0 ? tags_two : tags_ok);
        move_clock_ms(4999);
        assert_false(node_poll_running(n->poll));
        assert_string_equal(peer_take_asked(&peer), "");
        move_clock_ms(1);
        wait_polled(n);
        assert_string_equal(peer_take_asked(&peer), BOTH);
        assert_int_equal(n->catalogue.count, i == 0 ? 2 : 1);
    }
    node_poll_now(n->poll); /* puts off the next */
    wait_polled(n);
    assert_string_equal(peer_take_asked(&peer), BOTH);
    assert_int_equal(changes, 1);
    assert_true(peer.count <= 2);
}

static void what_is_resident_is_read_within_a_second_of_an_answer(void **state)
{
    struct node *n = ollama_up();

    (void)state;
    assert_null(n->residency.users); /* the peer does not know such a question */
    (void)peer_take_asked(&peer);
    move_clock_ms(2000);
    assert_string_equal(peer_take_asked(&peer), "");
    peer_route(&peer, "/api/ps", "200 OK", ps_ok);
    node_heard(n, loop_now_ms(loop));
    move_clock_ms(1000);
    wait_polled(n);
    assert_string_equal(peer_take_asked(&peer), "/api/ps ");
    assert_non_null(residency_find(&n->residency, SLICE("m")));
    move_clock_ms(1000);
    assert_string_equal(peer_take_asked(&peer), ""); /* nothing was said meanwhile */
    move_clock_ms(1000);
    wait_polled(n);
    assert_string_equal(peer_take_asked(&peer), BOTH); /* 5 s after the first */
    peer_route(&peer, "/api/ps", "200 OK", "nonsense");
    move_clock_ms(5000);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    assert_null(n->residency.users);
}

static void what_was_resident_is_forgotten_with_a_node_that_goes_down(void **state)
{
    struct node *n;

    (void)state;
    peer_open(&peer);
    be_ollama(&peer);
    peer_route(&peer, "/api/ps", "200 OK", ps_ok);
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_int_equal(n->residency.count, 1);
    node_mark_down(n, "connection refused");
    assert_null(n->residency.users);
}

static void a_node_that_does_not_say_what_is_resident_is_up(void **state)
{
    struct node *n;

    (void)state;
    peer_open(&peer);
    be_ollama(&peer);
    peer_route_raw(&peer, "/api/ps", NULL);
    n = node_add(peer.url);
    nodes_start(nodes);
    run_until(is_up, n);
    assert_true(node_poll_running(n->poll));
    assert_false(node_poll_reading(n->poll));
    move_clock_ms(10000);
    assert_false(node_poll_reading(n->poll));
    assert_int_equal(n->state, NODE_UP);
    (void)peer_take_asked(&peer);
    /* A poll does not wait for it either. */
    move_clock_ms(5000);
    node_poll_now(n->poll);
    run_turns();
    assert_int_equal(n->state, NODE_UP);
}

static void an_openai_node_is_asked_what_it_is_when_it_was_down(void **state)
{
    struct node *n;

    (void)state;
    peer_open(&peer);
    peer_route(&peer, "/v1/models", "200 OK", models_ok);
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_string_equal(peer_take_asked(&peer), OPENAI);
    move_clock_ms(5000);
    wait_polled(n);
    assert_string_equal(peer_take_asked(&peer), "/v1/models ");
    peer_route(&peer, "/v1/models", "503 Wait", loading);
    move_clock_ms(5000);
    wait_polled(n);
    assert_int_equal(n->state, NODE_DOWN);
    /* It comes back as something else, and the other way round. */
    be_ollama(&peer);
    move_clock_ms(100);
    wait_polled(n);
    assert_int_equal(n->kind, NODE_KIND_OLLAMA);
    assert_string_equal(n->version, "0.17.4");
    peer_route(&peer, "/api/version", "503 Wait", loading);
    move_clock_ms(5000);
    wait_polled(n);
    assert_int_equal(n->state, NODE_DOWN);
    peer_route(&peer, "/api/version", "404 Not Found", "");
    peer_route(&peer, "/v1/models", "200 OK", models_ok);
    move_clock_ms(100);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    assert_int_equal(n->kind, NODE_KIND_OPENAI);
    assert_string_equal(n->version, "");
}

static bool count_is(void *arg)
{
    return counted(COUNTER_NODE_CONNECT_FAILED) == *(const int64_t *)arg;
}

/* The delays after failures `from` on; `failed` polls were there before. */
static void check_delays(struct node *n, const unsigned *delays_ms, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t failed = counted(COUNTER_NODE_CONNECT_FAILED) + 1;

        move_clock_ms(delays_ms[i] - 1);
        assert_false(node_poll_running(n->poll));
        move_clock_ms(1);
        run_until(count_is, &failed);
        wait_polled(n);
    }
}

static void what_is_down_is_tried_after_100_ms_doubling_to_5_s(void **state)
{
    static const unsigned delays_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct node *n;

    (void)state;
    peer_open(&peer);
    be_ollama(&peer);
    peer_refuse(&peer);
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_int_equal(n->state, NODE_DOWN);
    assert_non_null(strstr(n->why_down, "Connection refused"));
    check_delays(n, delays_ms, 8);
    assert_int_equal(changes, 1);
    peer_listen(&peer);
    move_clock_ms(5000);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    assert_string_equal(n->why_down, "");
    /* And from the start again. */
    peer_refuse(&peer);
    for (size_t i = 0; i < peer.count; i++) {
        peer_close(&peer, i, false);
    }
    move_clock_ms(5000);
    wait_polled(n);
    assert_int_equal(n->state, NODE_DOWN);
    check_delays(n, delays_ms, 3);
    peer_listen(&peer);
    move_clock_ms(800);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
    assert_int_equal(changes, 4);
    assert_int_equal(counted(COUNTER_NODE_UP), 2);
    assert_int_equal(counted(COUNTER_NODE_DOWN), 2);
}

static void so_is_what_answers_badly(void **state)
{
    static const unsigned delays_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct node *n = ollama_up();

    (void)state;
    peer_route(&peer, "/api/version", "500 Oops", "");
    move_clock_ms(5000);
    for (size_t i = 0; i < 8; i++) {
        wait_polled(n);
        assert_int_equal(n->state, NODE_DOWN);
        (void)peer_take_asked(&peer);
        move_clock_ms(delays_ms[i] - 1);
        assert_false(node_poll_running(n->poll));
        move_clock_ms(1);
        wait_polled(n);
        assert_string_equal(peer_take_asked(&peer), VERSION);
    }
    assert_int_equal(changes, 2);
}

static void a_call_that_finds_it_down_has_it_polled_soon(void **state)
{
    struct caller c = {0};
    struct node *n = ollama_up();

    (void)state;
    for (size_t i = 0; i < peer.count; i++) {
        peer_close(&peer, i, false);
    }
    peer_refuse(&peer);
    run_turns();
    caller_get(&c, n);
    caller_wait(&c, "f");
    assert_int_equal(n->state, NODE_DOWN);
    peer_listen(&peer);
    move_clock_ms(99);
    assert_false(node_poll_running(n->poll));
    move_clock_ms(1);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
}

static void a_silent_node_is_down_after_10_s(void **state)
{
    struct node *n = ollama_up();

    (void)state;
    peer_route_raw(&peer, "/api/tags", NULL);
    move_clock_ms(5000);
    while (strstr(peer.asked, "tags") == NULL) {
        run_turns();
    }
    move_clock_ms(9999);
    assert_int_equal(n->state, NODE_UP);
    assert_true(node_poll_running(n->poll));
    move_clock_ms(1);
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(n->why_down, "no answer to a poll within 10 s");
    assert_int_equal(n->calls, 0);
    be_ollama(&peer);
    move_clock_ms(100);
    wait_polled(n);
    assert_int_equal(n->state, NODE_UP);
}

static void a_node_at_work_need_not_answer_polls(void **state)
{
    struct node *n = ollama_up();
    struct caller c = {0};

    (void)state;
    peer_route_raw(&peer, "/x", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    caller_get(&c, n);
    caller_wait(&c, "hb");
    peer_route_raw(&peer, "/api/version", NULL);
    for (int polls = 0; polls < 4; polls++) { /* every 15 s, until 60 s after the last byte */
        move_clock_ms(5000);
        assert_true(node_poll_running(n->poll));
        move_clock_ms(10000);
        assert_false(node_poll_running(n->poll));
        assert_int_equal(n->state, NODE_UP);
    }
    move_clock_ms(5000);
    move_clock_ms(10000);
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(c.told, "hb"); /* its own limits are what ends it */
    node_call_cancel(&c.call);
}

static void a_refused_node_is_left_alone(void **state)
{
    struct node *n;

    (void)state;
    peer_open(&peer);
    peer_route_raw(&peer, "/api/version", LOOP("test-instance"));
    n = node_add(peer.url);
    nodes_start(nodes);
    wait_polled(n);
    assert_int_equal(n->state, NODE_REFUSED);
    be_ollama(&peer);
    move_clock_ms(HOUR_MS);
    node_poll_now(n->poll);
    assert_false(node_poll_running(n->poll));
    node_mark_up(n);
    node_mark_down(n, "no");
    node_mark_refused(n);
    assert_int_equal(n->state, NODE_REFUSED);
    assert_string_equal(peer_take_asked(&peer), VERSION);
    assert_int_equal(changes, 1);
}

/* --- what comes
 * ------------------------------------------------------------------------------------ */

static void a_catalogue_without_end_is_refused(void **state)
{
    static char much[64 * 1024];
    struct node *n = ollama_up();
    size_t conn;
    size_t sent = 0;

    (void)state;
    peer_route_raw(&peer, "/api/tags", NULL);
    (void)peer_take_asked(&peer);
    move_clock_ms(5000);
    while (strstr(peer.asked, "tags") == NULL) {
        run_turns();
    }
    conn = peer.last;
    peer_send(&peer, conn, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"));
    memset(much, ' ', sizeof(much));
    while (n->state == NODE_UP && sent < (64 << 20)) {
        ssize_t some = send(peer.conns[conn].fd, much, sizeof(much), MSG_NOSIGNAL);

        sent += some > 0 ? (size_t)some : 0;
        run_turns();
    }
    assert_int_equal(n->state, NODE_DOWN);
    assert_string_equal(n->why_down, "its answer is too large");
    peer_wait_gone(&peer, conn);
    assert_int_equal(n->catalogue.count, 1);
}

/* Not its fault: what is up stays up, and is asked again. */
static void memory_that_is_out_takes_no_node_down(void **state)
{
    struct node *n = ollama_up();
    bool reached = true;
    size_t i;

    (void)state;
    for (i = 1; reached; i++) {
        node_pool_fini(&n->pool);
        run_turns();
        for (size_t k = 0; k < peer.count; k++) {
            peer_close(&peer, k, false);
        }
        peer.count = 0;
        peer_route(&peer, "/api/tags", "200 OK", n->catalogue.count == 1 ? tags_two : tags_ok);
        alloc_fault_at(i);
        node_poll_now(n->poll);
        wait_polled(n);
        reached = alloc_fault_count() >= i;
        alloc_fault_at(0);
        assert_int_equal(n->state, NODE_UP);
        assert_int_equal(n->calls, 0);
        assert_true(n->has_addr);
        if (reached) {
            /* Soon, not in 5 s; unless it went well without. */
            move_clock_ms(100);
            wait_polled(n);
        }
        assert_int_equal(n->catalogue.count, strcmp(peer.routes[1].answer, tags_two) == 0 ? 2 : 1);
    }
    assert_in_range(i, 10, 60);
    assert_int_equal(changes, 1);
}

static void memory_that_is_out_at_the_first_poll_is_tried_again(void **state)
{
    bool reached = true;

    (void)state;
    for (size_t i = 1; reached; i++) {
        struct node *n;

        peer_open(&peer);
        be_ollama(&peer);
        n = node_add(peer.url);
        alloc_fault_at(i);
        node_poll_now(n->poll);
        wait_polled(n);
        reached = alloc_fault_count() >= i;
        alloc_fault_at(0);
        if (n->state == NODE_DOWN) {
            assert_string_equal(n->why_down, "out of memory");
            move_clock_ms(100);
            wait_polled(n);
        }
        assert_int_equal(n->state, NODE_UP);
        node_peers_close();
        nodes_free(&nodes);
        node_set_make();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(a_node_is_what_it_answers),
        NODE_TEST(polls_carry_the_nodes_headers_and_the_instance),
        NODE_TEST(a_long_version_is_cut),
        NODE_TEST(what_is_up_is_read_every_5_s),
        NODE_TEST(what_is_resident_is_read_within_a_second_of_an_answer),
        NODE_TEST(what_was_resident_is_forgotten_with_a_node_that_goes_down),
        NODE_TEST(a_node_that_does_not_say_what_is_resident_is_up),
        NODE_TEST(an_openai_node_is_asked_what_it_is_when_it_was_down),
        NODE_TEST(what_is_down_is_tried_after_100_ms_doubling_to_5_s),
        NODE_TEST(so_is_what_answers_badly),
        NODE_TEST(a_call_that_finds_it_down_has_it_polled_soon),
        NODE_TEST(a_silent_node_is_down_after_10_s),
        NODE_TEST(a_node_at_work_need_not_answer_polls),
        NODE_TEST(a_refused_node_is_left_alone),
        NODE_TEST(a_catalogue_without_end_is_refused),
        NODE_TEST(memory_that_is_out_takes_no_node_down),
        NODE_TEST(memory_that_is_out_at_the_first_poll_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
