/* SPDX-License-Identifier: Apache-2.0 */
/* One request that is done on two nodes: whatever happens to it, nothing is left running or held,
 * on either. */
#include <string.h>

#include "alloc_fault.h"
#include "exchange_asker.h"
#include "node/poll.h"

enum { NODES = 2 };

static struct peer peers[NODES];
static struct node *on[NODES];

#define PULL "{\"model\":\"n\",\"mcp\":{\"op\":\"pull\"}}"
#define PATH "/api/pull"
#define LINE(text) text "\n"
#define MANIFEST "{\"status\":\"pulling manifest\"}"
#define FILE_OF(total, rest)                                                                       \
    "{\"status\":\"pulling x\",\"digest\":\"sha256:x\",\"total\":" total rest "}"
#define SUCCESS "{\"status\":\"success\"}"
#define DONE "{\"done\":true}"

static void open_nodes(void)
{
    for (size_t i = 0; i < NODES; i++) {
        on[i] = ollama_node(&peers[i], "m:latest");
        peer_route_raw(&peers[i], PATH, NULL);
    }
}

static size_t conn_of(size_t node)
{
    return peer_asked_on(&peers[node], PATH);
}

static bool first_asked(void *arg)
{
    (void)arg;
    return strstr(peers[0].asked, PATH) != NULL;
}

static bool all_asked(void *arg)
{
    (void)arg;
    return strstr(peers[0].asked, PATH) != NULL && strstr(peers[1].asked, PATH) != NULL;
}

/* Both nodes were asked; each begins to answer. */
static void begin(struct asker *a)
{
    ask(a, PULL);
    run_until(all_asked, NULL);
    for (size_t i = 0; i < NODES; i++) {
        (void)peer_take_asked(&peers[i]);
        answer(&peers[i], conn_of(i), NDJSON_HEAD);
    }
}

static void tell(size_t node, const char *lines)
{
    answer_chunk(&peers[node], conn_of(node), lines);
}

static bool call_has_ended(void *arg)
{
    int64_t before = *(const int64_t *)arg;

    return counted(COUNTER_SPREAD_CALLS) + counted(COUNTER_SPREAD_CALLS_FAILED) > before;
}

/* One node is done, and that was noticed. */
static void finish(size_t node)
{
    int64_t before = counted(COUNTER_SPREAD_CALLS) + counted(COUNTER_SPREAD_CALLS_FAILED);

    answer_chunk(&peers[node], conn_of(node), LINE(SUCCESS));
    answer(&peers[node], conn_of(node), CHUNKS_END);
    run_until(call_has_ended, &before);
    run_turns();
}

struct wanted {
    const struct asker *asker;
    const char *text;
};

static bool has_text(void *arg)
{
    const struct wanted *w = arg;

    return strlen(w->asker->text) >= strlen(w->text);
}

/* Waits until the client was told exactly this. */
static void wait_text(const struct asker *a, const char *text)
{
    struct wanted w = {a, text};

    run_until(has_text, &w);
    run_turns();
    assert_string_equal(a->text, text);
}

static bool is_gone(void *arg)
{
    return ((const struct asker *)arg)->x == NULL;
}

static void assert_all_gone(void)
{
    run_turns();
    assert_int_equal(sub.running.count, 0);
    assert_int_equal(bodies.held_bytes, 0);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(on[i]->calls, 0);
    }
}

/* --- its answer ------------------------------------------------------------------------------- */

static void two_nodes_answer_as_one(void **state)
{
    struct asker a = {0};

    (void)state;
    open_nodes();
    begin(&a);
    tell(0, LINE(MANIFEST) LINE(FILE_OF("10", ",\"completed\":4")));
    wait_text(&a, LINE(MANIFEST) LINE(FILE_OF("20", ",\"completed\":4")));
    tell(1, LINE(MANIFEST) LINE(FILE_OF("10", ",\"completed\":10")));
    wait_text(&a, LINE(MANIFEST) LINE(FILE_OF("20", ",\"completed\":4"))
                      LINE(FILE_OF("20", ",\"completed\":14")));
    finish(1);
    assert_string_equal(a.told, "ap");
    finish(0);
    asker_wait(&a, "aple");
    assert_ended(&a, MCP_OK, "");
    assert_non_null(
        strstr(a.text, LINE(FILE_OF("20", ",\"completed\":20")) LINE(SUCCESS) LINE(DONE)));
    assert_all_gone();
    assert_int_equal(counted(COUNTER_SPREADS), 1);
    assert_int_equal(counted(COUNTER_SPREAD_CALLS), 2);
}

static void one_that_fails_does_not_end_the_other(void **state)
{
    struct asker a = {0};

    (void)state;
    open_nodes();
    begin(&a);
    tell(0, LINE("{\"error\":\"no space\"}"));
    tell(1, LINE(MANIFEST));
    wait_text(&a, LINE(MANIFEST));
    finish(1);
    asker_wait(&a, "ape");
    assert_ended(&a, MCP_EUPSTREAM_ERROR, ": no space (done on ");
    assert_non_null(strstr(a.node_body, "{\"error\":\"node "));
    assert_all_gone();
    assert_int_equal(counted(COUNTER_SPREAD_CALLS_FAILED), 1);
}

/* --- its end ---------------------------------------------------------------------------------- */

static void assert_cancelled(const struct asker *a, const char *told)
{
    assert_null(a->x);
    assert_string_equal(a->told, told);
    for (size_t i = 0; i < NODES; i++) {
        peer_wait_gone(&peers[i], conn_of(i));
    }
    assert_all_gone();
    assert_int_equal(counted(COUNTER_SPREAD_CALLS_CANCELLED), 2);
}

static void a_client_that_leaves_ends_both(void **state)
{
    struct asker a = {0};

    (void)state;
    open_nodes();
    begin(&a);
    exchange_cancel(&a.x);
    assert_cancelled(&a, "a");
}

static void a_client_may_leave_on_hearing_anything(void **state)
{
    struct asker told_first = {.act_in = 'a', .act = 'c'};
    struct asker told_part = {.act_in = 'p', .act = 'c'};
    struct asker told_last = {.act_in = 'l', .act = 'c'};

    (void)state;
    open_nodes();
    ask(&told_first, PULL);
    while (told_first.x != NULL) {
        run_turns();
    }
    assert_all_gone();
    assert_null(strstr(peers[0].asked, PATH));
    begin(&told_part);
    tell(0, LINE(MANIFEST));
    run_until(is_gone, &told_part);
    assert_all_gone();
    for (size_t i = 0; i < NODES; i++) {
        peer_wait_gone(&peers[i], conn_of(i));
        peer_close(&peers[i], conn_of(i), false);
    }
    begin(&told_last);
    finish(0);
    finish(1);
    asker_wait(&told_last, "apl");
    assert_all_gone();
}

static void an_abort_and_a_deadline_end_both(void **state)
{
    struct asker aborted = {0};
    struct asker late = {0};

    (void)state;
    open_nodes();
    begin(&aborted);
    exchange_abort(aborted.x, MCP_ESHUTTING_DOWN, "aborted");
    asker_wait(&aborted, "ae");
    assert_ended(&aborted, MCP_ESHUTTING_DOWN, "aborted");
    for (size_t i = 0; i < NODES; i++) {
        peer_wait_gone(&peers[i], conn_of(i));
        peer_close(&peers[i], conn_of(i), false);
    }
    asker_make(&late, "{\"model\":\"n\",\"mcp\":{\"op\":\"pull\",\"deadline_ms\":50}}");
    exchange_start(late.x);
    run_until(all_asked, NULL);
    move_clock_ms(60);
    assert_ended(&late, MCP_EDEADLINE_EXCEEDED, "deadline");
    assert_all_gone();
}

static void a_slow_client_is_told_the_latest(void **state)
{
    struct asker a = {.act_in = 'p', .act = 'p'};

    (void)state;
    open_nodes();
    begin(&a);
    tell(0, LINE(MANIFEST));
    wait_text(&a, LINE(MANIFEST));
    tell(0, LINE(FILE_OF("10", ",\"completed\":1")) LINE(FILE_OF("10", ",\"completed\":2")));
    finish(0);
    assert_string_equal(a.text, LINE(MANIFEST));
    a.act_in = 0;
    exchange_resume(a.x);
    wait_text(&a, LINE(MANIFEST) LINE(FILE_OF("20", ",\"completed\":10")));
    finish(1);
    asker_wait(&a, "aple");
    assert_all_gone();
}

/* A success is told, however long a node takes to say what it has now. */
static void nodes_that_say_nothing_are_not_waited_for_long(void **state)
{
    struct asker a = {0};

    (void)state;
    open_nodes();
    begin(&a);
    for (size_t i = 0; i < NODES; i++) {
        peer_route_raw(&peers[i], "/api/tags", NULL);
    }
    finish(0);
    finish(1);
    assert_string_equal(a.told, "a");
    move_clock_ms(1001);
    asker_wait(&a, "aple");
    assert_ended(&a, MCP_OK, "");
}

static bool was_read(void *arg)
{
    (void)arg;
    return strstr(peers[0].asked, "/api/tags") != NULL;
}

/* Where one node does it, nobody waits for what it has then; but it is asked, long before the next
 * poll: the clock stands still. */
static void one_node_is_asked_at_once_what_it_has_now(void **state)
{
    struct asker a = {0};

    (void)state;
    open_nodes();
    config.replicas = 1;
    ask(&a, PULL);
    run_until(first_asked, NULL);
    answer(&peers[0], conn_of(0), NDJSON_HEAD);
    answer_chunk(&peers[0], conn_of(0), LINE(MANIFEST));
    wait_text(&a, LINE(MANIFEST));
    (void)peer_take_asked(&peers[0]);
    run_turns();
    assert_false(was_read(NULL)); /* not in the midst of it */
    answer(&peers[0], conn_of(0), CHUNKS_END);
    asker_wait(&a, "aple");
    run_until(was_read, NULL);
    assert_null(strstr(peers[1].asked, PATH));
    assert_int_equal(counted(COUNTER_SPREADS), 0);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Ends as if nothing had happened, or says that something inside went wrong. */
static void try_without(size_t at, bool *reached)
{
    struct asker a = {0};
    bool answered[NODES] = {false};

    alloc_fault_at(at);
    ask(&a, PULL);
    while (a.x != NULL) {
        run_turns();
        for (size_t i = 0; i < NODES; i++) {
            if (!answered[i] && strstr(peers[i].asked, PATH) != NULL) {
                answered[i] = true;
                (void)peer_take_asked(&peers[i]);
                answer(&peers[i], conn_of(i), NDJSON_HEAD);
                tell(i, LINE(MANIFEST) LINE(FILE_OF("10", "")));
                finish(i);
            }
        }
    }
    *reached = alloc_fault_count() >= at;
    alloc_fault_at(0);
    if (a.told[0] != '\0' && a.code != MCP_OK) {
        assert_true(a.code == MCP_EINTERNAL || a.code == MCP_EUPSTREAM_ERROR);
        assert_non_null(strstr(a.error, "out of memory"));
    }
    for (size_t i = 0; i < NODES; i++) {
        while (on[i]->state != NODE_UP || on[i]->calls > 0) { /* a poll may have failed, too */
            node_poll_now(on[i]->poll);
            run_turns();
        }
        for (size_t k = 0; k < peers[i].count; k++) {
            if (peers[i].conns[k].gone) {
                peer_close(&peers[i], k, false);
            }
        }
    }
    assert_all_gone();
}

static void memory_that_is_out_ends_it_well(void **state)
{
    bool reached = true;
    size_t i;

    (void)state;
    open_nodes();
    for (i = 1; reached; i++) {
        try_without(i, &reached);
    }
    assert_in_range(i, 20, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXCHANGE_TEST(two_nodes_answer_as_one),
        EXCHANGE_TEST(one_that_fails_does_not_end_the_other),
        EXCHANGE_TEST(a_client_that_leaves_ends_both),
        EXCHANGE_TEST(a_client_may_leave_on_hearing_anything),
        EXCHANGE_TEST(an_abort_and_a_deadline_end_both),
        EXCHANGE_TEST(a_slow_client_is_told_the_latest),
        EXCHANGE_TEST(nodes_that_say_nothing_are_not_waited_for_long),
        EXCHANGE_TEST(one_node_is_asked_at_once_what_it_has_now),
        EXCHANGE_TEST(memory_that_is_out_ends_it_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
