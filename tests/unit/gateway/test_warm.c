/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway has a node load: of its own accord, and before the node serves again. */
#include "node_fixture.h"

#include <string.h>

#include "alloc_fault.h"
#include "gateway/config.h"
#include "gateway/warm.h"
#include "mcp/error.h"
#include "node_peer.h"

enum { TICK_MS = 500, PATIENCE_MS = 10 * 1000 };

static struct peer peer;
static struct node *node;
static struct warm warm;
static unsigned warmed;

static void on_warmed(void *owner)
{
    assert_ptr_equal(owner, &warm);
    warmed++;
}

/* A node that is up and has told what it lists and has in memory. */
static int setup(void **state)
{
    int rv = node_setup(state);

    warmed = 0;
    peer_open(&peer);
    peer_route(&peer, "/api/generate", "200 OK", "{\"done\":true}");
    node = peer_node(&peer);
    node->kind = NODE_KIND_OLLAMA;
    node_mark_up(node);
    warm_init(&warm, nodes, NULL, on_warmed, &warm);
    warm_patience(&warm, PATIENCE_MS);
    warm_use(&warm, node->id);
    assert_int_equal(
        catalogue_read(&node->catalogue, SLICE("{\"models\":[{\"name\":\"a:latest\"},"
                                               "{\"name\":\"b:latest\"},{\"name\":\"e:latest\","
                                               "\"details\":{\"family\":\"bert\"}}]}")),
        MCP_OK);
    return rv;
}

static int teardown(void **state)
{
    warm_fini(&warm);
    return node_teardown(state);
}

static void says_resident(const char *body)
{
    assert_int_equal(residency_read(&node->residency, slice_str(body)), MCP_OK);
}

static bool is_idle(void *arg)
{
    (void)arg;
    return warm.call == NULL;
}

/* What was asked until nothing is being loaded any more. */
static const char *asked(void)
{
    run_until(is_idle, NULL);
    return peer_take_asked(&peer);
}

/* Of the latest load. */
static void assert_body(const char *text)
{
    assert_int_equal(buf_len(&warm.body), strlen(text));
    assert_memory_equal(buf_slice(&warm.body).ptr, text, strlen(text));
}

static void declare(const char *name)
{
    char text[32];
    char *names[] = {text};

    (void)strcpy(text, name);
    assert_true(warm_declare(&warm, names, 1));
    warm_look(&warm);
}

static void what_is_declared_is_loaded_when_it_is_not_there(void **state)
{
    (void)state;
    declare("a");
    run_turns();
    assert_null(warm.call); /* the node has not said yet what it has */
    says_resident("{\"models\":[]}");
    warm_look(&warm);
    assert_body("{\"model\":\"a\",\"stream\":false,\"keep_alive\":-1}");
    assert_string_equal(asked(), "/api/generate ");
    assert_int_equal(counted(COUNTER_NODE_LOADS), 1);
    says_resident("{\"models\":[{\"name\":\"a:latest\"}]}");
    move_clock_ms(60 * 1000);
    assert_string_equal(asked(), "");
    says_resident("{\"models\":[]}");
    move_clock_ms(TICK_MS);
    assert_string_equal(asked(), "/api/generate ");
    assert_int_equal(warmed, 0);
}

static void before_it_serves_again_it_has_all_it_had(void **state)
{
    (void)state;
    says_resident("{\"models\":[]}");
    peer_route(&peer, "/api/embed", "200 OK", "{}");
    assert_true(warm_remember(&warm, SLICE("a:latest"), 8192));
    assert_true(warm_remember(&warm, SLICE("e"), 0));
    assert_int_equal(warm_remembered(&warm), 2);
    nodes_serve(nodes, node, NODE_CORDONED);
    warm_look(&warm);
    move_clock_ms(TICK_MS);
    assert_string_equal(asked(), "");
    nodes_serve(nodes, node, NODE_WARMING);
    warm_begin(&warm);
    warm_look(&warm);
    assert_body("{\"model\":\"a:latest\",\"stream\":false,\"options\":{\"num_ctx\":8192}}");
    assert_string_equal(asked(), "/api/generate /api/embed ");
    assert_body("{\"model\":\"e\",\"input\":\"\"}");
    assert_int_equal(warmed, 1);
    assert_int_equal(node->service, NODE_SERVING);
    assert_int_equal(counted(COUNTER_NODE_LOADS), 2);
    warm_forget(&warm);
    assert_false(warm_is_needed(&warm));
}

static void what_cannot_be_loaded_is_given_up(void **state)
{
    (void)state;
    says_resident("{\"models\":[]}");
    peer_route(&peer, "/api/generate", "500 Internal Server Error", "{\"error\":\"no room\"}");
    assert_true(warm_remember(&warm, SLICE("a"), 0));
    nodes_serve(nodes, node, NODE_WARMING);
    warm_look(&warm);
    (void)asked();
    assert_int_equal(warmed, 0);
    move_clock_ms(1000);
    (void)asked();
    assert_int_equal(warmed, 0);
    move_clock_ms(2000);
    (void)asked();
    assert_int_equal(warmed, 1);
    assert_int_equal(counted(COUNTER_NODE_LOADS_FAILED), 3);
}

/* One that is unknown to the node will be so the next time too. */
static void what_is_not_there_is_given_up_at_once(void **state)
{
    (void)state;
    says_resident("{\"models\":[]}");
    peer_route(&peer, "/api/generate", "404 Not Found", "{\"error\":\"not found\"}");
    assert_true(warm_remember(&warm, SLICE("x"), 0));
    nodes_serve(nodes, node, NODE_WARMING);
    warm_look(&warm);
    (void)asked();
    assert_int_equal(warmed, 1);
}

static void a_cordon_or_another_node_ends_the_load(void **state)
{
    (void)state;
    says_resident("{\"models\":[]}");
    peer_route_raw(&peer, "/api/generate", NULL);
    declare("a");
    assert_non_null(warm.call);
    nodes_serve(nodes, node, NODE_CORDONED);
    warm_look(&warm);
    assert_null(warm.call);
    nodes_serve(nodes, node, NODE_SERVING);
    warm_look(&warm);
    assert_non_null(warm.call);
    warm_use(&warm, 0);
    assert_null(warm.call);
    warm_look(&warm);
    assert_null(warm.call);
}

/* Asked by the scheduler's rules: not while requests run for what would have to go, but then
 * anyway. */
static void a_node_that_serves_is_not_disturbed_for_long(void **state)
{
    struct err e = {0};
    struct config_args args = {0};
    struct config *config = config_load(&args, &e);
    struct brain *brain;
    struct brain_home home;
    struct sched_job job = {.model = SLICE("registry.ollama.ai/library/b:latest"), .weight = 1};
    struct sched_answer answer;

    (void)state;
    assert_non_null(config);
    brain = brain_new(loop, config);
    brain_home_init(&home, brain, loop, NULL, NULL);
    says_resident("{\"models\":[{\"name\":\"b:latest\",\"size\":5}]}");
    brain_nodes_changed(brain, nodes);
    warm.brain = brain;
    job.model = slice_str(catalogue_find(&node->catalogue, SLICE("b"))->canonical);
    assert_int_equal(brain_arrive(&home, &job, &answer), SCHED_GRANTED);
    declare("a");
    assert_null(warm.call);
    assert_int_equal(counted(COUNTER_NODE_LOADS_PUT_OFF), 1);
    move_clock_ms(PATIENCE_MS - 1);
    assert_null(warm.call);
    assert_int_equal(counted(COUNTER_NODE_LOADS_PUT_OFF), 1);
    move_clock_ms(TICK_MS);
    (void)asked();
    assert_int_equal(counted(COUNTER_NODE_LOADS), 1);
    brain_leave(&home, answer.ticket, BRAIN_NOW, &(struct sched_outcome){.end = SCHED_DONE});
    warm.brain = NULL;
    brain_home_fini(&home);
    brain_free(&brain);
    config_unref(&config);
}

static void memory_may_run_out_anywhere(void **state)
{
    char text[] = "b";
    char *names[] = {text};
    bool done = false;

    (void)state;
    says_resident("{\"models\":[]}");
    for (size_t at = 1; !done; at++) {
        assert_true(at < 100);
        alloc_fault_at(at);
        done = warm_remember(&warm, SLICE("a"), 1);
        done = warm_declare(&warm, names, 1) && done;
        alloc_fault_at(0);
        assert_int_equal(warm_remembered(&warm) > 0, warm.count > 0 && warm.models[0].remembered);
        warm_forget(&warm);
        assert_true(warm_declare(&warm, NULL, 0));
        assert_false(warm_is_needed(&warm));
    }
    /* A load that could not begin is tried again. */
    for (size_t at = 1; counted(COUNTER_NODE_LOADS) < 5; at++) {
        assert_true(at < 200);
        assert_true(warm_declare(&warm, names, 1));
        alloc_fault_at(at);
        warm_look(&warm);
        (void)asked();
        alloc_fault_at(0);
        move_clock_ms(60 * 1000);
        (void)asked();
        assert_true(counted(COUNTER_NODE_LOADS) > 0);
        assert_true(warm_declare(&warm, NULL, 0));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_declared_is_loaded_when_it_is_not_there),
        TEST(before_it_serves_again_it_has_all_it_had),
        TEST(what_cannot_be_loaded_is_given_up),
        TEST(what_is_not_there_is_given_up_at_once),
        TEST(a_cordon_or_another_node_ends_the_load),
        TEST(a_node_that_serves_is_not_disturbed_for_long),
        TEST(memory_may_run_out_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
