/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges that are ended from outside, wait, stream uploads, or find no memory: whatever happens,
 * nothing is left running or held, and the node's connection is closed at once. */
#include <string.h>

#include "alloc_fault.h"
#include "exchange_asker.h"

static struct peer peers[2];

#define GENERATE "{\"model\":\"m\",\"prompt\":\"hi\"}"
#define PART_A "{\"response\":\"a\"}\n"
#define DONE "{\"done\":true}"

/* Asked for, and the connection on which the node was. */
static size_t asked(struct asker *a, const char *json)
{
    ask(a, json);
    return asked_on(&peers[0], "/api/generate");
}

static void assert_all_gone(const struct node *n, size_t conn)
{
    assert_int_equal(sub.running.count, 0);
    assert_int_equal(bodies.held_bytes, 0);
    assert_int_equal(n->calls, 0);
    peer_wait_gone(&peers[0], conn);
    assert_int_equal(peers[0].count, conn + 1);
}

/* A node with one connection, which is in its pool. */
static struct node *open_node(void)
{
    struct node *n = ollama_node(&peers[0], "m:latest");

    node_pool_fini(&n->pool);
    for (size_t i = 0; i < peers[0].count; i++) {
        peer_close(&peers[0], i, false);
    }
    peers[0].count = 0;
    return n;
}

/* --- cancel
 * ---------------------------------------------------------------------------------------- */

static void what_is_cancelled_before_it_runs_asks_nothing(void **state)
{
    struct asker a = {0};
    struct asker b = {0};
    struct asker c = {0};

    (void)state;
    (void)open_node();
    asker_make(&a, GENERATE);
    exchange_cancel(&a.x);
    ask(&b, GENERATE);
    exchange_cancel(&b.x);
    (void)ollama_node(&peers[1], "other");
    peer_route_raw(&peers[1], "/api/tags", NULL);
    move_clock_ms(1001);
    ask(&c, "{\"model\":\"new\",\"prompt\":\"hi\"}");
    (void)asked_on(&peers[1], "/api/tags"); /* it waits for the catalogue */
    exchange_cancel(&c.x);
    move_clock_ms(10000);
    assert_string_equal(a.told, "");
    assert_string_equal(b.told, "");
    assert_string_equal(c.told, "");
    assert_int_equal(counted(COUNTER_EXCHANGE_CANCELLED), 3);
}

static void cancel_closes_the_nodes_connection(void **state)
{
    const char *const when = "cwhbp"; /* connecting, waiting, in the head, in bytes, in a part */
    struct node *n = open_node();

    (void)state;
    for (size_t i = 0; when[i] != '\0'; i++) {
        struct asker a = {.act_in = when[i], .act = 'c'};
        bool relayed = when[i] == 'h' || when[i] == 'b';

        peer_route_raw(&peers[0], "/api/generate", NULL);
        if (relayed) {
            ask_relay(&a, "/api/generate", "{\"model\":\"m\"}", STREAM_END_DONE);
        } else {
            ask(&a, GENERATE);
        }
        if (when[i] == 'c') {
            while (a.told[0] == '\0') {
                run_turns();
            }
        } else {
            peer_wait_conns(&peers[0], i + 1);
        }
        if (when[i] == 'c' || when[i] == 'w') {
            exchange_cancel(&a.x);
        } else {
            (void)asked_on(&peers[0], "/api/generate");
            answer(&peers[0], i, NDJSON_HEAD);
            answer_chunk(&peers[0], i, PART_A PART_A DONE);
            while (a.x != NULL) {
                run_turns();
            }
        }
        assert_all_gone(n, i);
        move_clock_ms(HOUR_MS);
        while (n->calls > 0) { /* its polls */
            run_turns();
        }
        for (size_t k = 0; k < peers[0].count; k++) {
            peer_close(&peers[0], k, false);
        }
        peers[0].count = i + 1;
        (void)peer_take_asked(&peers[0]);
    }
    assert_int_equal(counted(COUNTER_EXCHANGE_CANCELLED), 5);
}

/* --- ended from inside the gateway
 * ------------------------------------------------------------- */

static void a_deadline_ends_it_wherever_it_is(void **state)
{
    struct asker a = {0};
    struct asker b = {.act_in = 'p', .act = 'p'};
    struct node *n = open_node();
    size_t conn = asked(&a, "{\"model\":\"m\",\"prompt\":\"\",\"mcp\":{\"deadline_ms\":500}}");

    (void)state;
    move_clock_ms(499);
    assert_string_equal(a.told, "a");
    move_clock_ms(1);
    assert_string_equal(a.told, "ae");
    assert_ended(&a, MCP_EDEADLINE_EXCEEDED, "deadline");
    assert_all_gone(n, conn);
    /* While the client does not read, too. */
    conn = asked(&b, "{\"model\":\"m\",\"prompt\":\"\",\"mcp\":{\"deadline_ms\":400}}");
    answer(&peers[0], conn, NDJSON_HEAD);
    answer_chunk(&peers[0], conn, PART_A);
    asker_wait(&b, "ap");
    move_clock_ms(400);
    assert_ended(&b, MCP_EDEADLINE_EXCEEDED, "deadline");
    assert_all_gone(n, conn);
    assert_int_equal(counted(COUNTER_EXCHANGE_DEADLINE), 2);
}

static void a_deadline_ends_waiting_for_a_catalogue(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)open_node();
    peer_route_raw(&peers[0], "/api/tags", NULL);
    move_clock_ms(1001);
    ask(&a, "{\"model\":\"new\",\"prompt\":\"\",\"mcp\":{\"deadline_ms\":500}}");
    (void)asked_on(&peers[0], "/api/tags");
    move_clock_ms(500);
    assert_string_equal(a.told, "e");
    assert_ended(&a, MCP_EDEADLINE_EXCEEDED, "deadline");
}

static void an_abort_is_told_once(void **state)
{
    struct asker a = {0};
    struct asker b = {.act_in = 'p', .act = 'a'};
    struct node *n = open_node();
    size_t conn = asked(&a, GENERATE);

    (void)state;
    exchange_abort(a.x, MCP_ESHUTTING_DOWN, "aborted");
    exchange_abort(a.x, MCP_ESHUTTING_DOWN, "again");
    assert_string_equal(a.told, "a");
    asker_wait(&a, "ae");
    assert_ended(&a, MCP_ESHUTTING_DOWN, "aborted");
    assert_all_gone(n, conn);
    conn = asked(&b, GENERATE);
    answer(&peers[0], conn, NDJSON_HEAD);
    answer_chunk(&peers[0], conn, PART_A);
    asker_wait(&b, "ape");
    assert_ended(&b, MCP_ESHUTTING_DOWN, "aborted");
    assert_all_gone(n, conn);
}

static void a_gateway_that_drains_takes_nothing_new(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)open_node();
    sub.draining = true;
    ask(&a, GENERATE);
    asker_wait(&a, "e");
    assert_ended(&a, MCP_ESHUTTING_DOWN, "shutting down");
}

static void what_the_face_refuses_ends_with_its_words(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)open_node();
    asker_make(&a, GENERATE);
    exchange_refuse(a.x, MCP_EBAD_REQUEST, "not like that");
    assert_string_equal(a.told, "");
    asker_wait(&a, "e");
    assert_ended(&a, MCP_EBAD_REQUEST, "not like that");
}

static void keys_are_asked_for(void **state)
{
    static char name[] = "team";
    static char secret[] = "secret";
    struct config_key key = {.name = name, .key = secret};
    static const struct {
        const char *key;
        int code;
        const char *error;
    } cases[] = {
        {NULL, MCP_EUNAUTHORIZED, "an API key is required"},
        {"wrong", MCP_EUNAUTHORIZED, "not valid"},
        {"secret", MCP_OK, ""},
    };

    (void)state;
    (void)open_node();
    config.keys = &key;
    config.key_count = 1;
    for (size_t i = 0; i < 3; i++) {
        struct asker a = {0};

        asker_make(&a, GENERATE);
        if (cases[i].key != NULL) {
            a.x->has_key = buf_append_str(&a.x->key, cases[i].key);
        }
        exchange_start(a.x);
        if (cases[i].code == MCP_OK) {
            size_t conn = asked_on(&peers[0], "/api/generate");

            assert_string_equal(a.x->key_name, "team");
            assert_null(strstr(peers[0].conns[conn].in, "secret"));
            answer_json(&peers[0], conn, "200 OK", DONE);
        }
        asker_wait(&a, cases[i].code == MCP_OK ? "ale" : "e");
        assert_ended(&a, cases[i].code, cases[i].error);
    }
    assert_int_equal(counted(COUNTER_UNAUTHORIZED), 2);
}

/* --- back-pressure and uploads
 * ----------------------------------------------------------------- */

static void a_slow_client_stops_the_node(void **state)
{
    struct asker a = {.act_in = 'p', .act = 'p'};
    size_t conn;

    (void)state;
    (void)open_node();
    conn = asked(&a, GENERATE);
    answer(&peers[0], conn, NDJSON_HEAD);
    answer_chunk(&peers[0], conn, PART_A);
    asker_wait(&a, "ap");
    answer_chunk(&peers[0], conn, PART_A);
    move_clock_ms(HOUR_MS);
    assert_string_equal(a.text, PART_A);
    a.act_in = 0;
    exchange_resume(a.x);
    run_turns();
    assert_string_equal(a.text, PART_A PART_A);
    answer_chunk(&peers[0], conn, DONE "\n");
    asker_wait(&a, "aple");
    assert_int_equal(counted(COUNTER_BACKPRESSURE_PAUSES), 1);
}

static void a_client_that_takes_nothing_has_nothing_asked(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)open_node();
    ask(&a, GENERATE);
    exchange_pause(a.x);
    move_clock_ms(4000);
    assert_string_equal(a.told, "");
    assert_int_equal(peers[0].count, 0);
    exchange_resume(a.x);
    answer_json(&peers[0], asked_on(&peers[0], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "ale");
}

static void an_upload_goes_through(void **state)
{
    struct asker a = {0};
    size_t conn;

    (void)state;
    (void)open_node();
    peer_route_raw(&peers[0], "/api/blobs/sha256:1", NULL);
    ask_upload(&a, "/api/blobs/sha256:1", 5);
    assert_false(exchange_body_ready(a.x));
    asker_wait(&a, "ad");
    assert_true(exchange_body_ready(a.x));
    exchange_body(a.x, SLICE("ab"));
    exchange_body(a.x, SLICE("cde"));
    exchange_body_end(a.x);
    assert_false(exchange_body_over_high(a.x));
    conn = asked_on(&peers[0], "/api/blobs/sha256:1");
    answer(&peers[0], conn, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    asker_wait(&a, "adhe");
    assert_int_equal(a.status, 201);
    assert_ended(&a, MCP_OK, "");
    assert_int_equal(peers[0].conns[conn].gone, false);
}

static void an_upload_has_one_try(void **state)
{
    struct asker a = {0};
    struct asker b = {.act_in = 'd', .act = 'c'};
    struct node *n = open_node();

    (void)state;
    (void)ollama_node(&peers[1], "m:latest");
    peer_route_raw(&peers[0], "/api/blobs/sha256:1", NULL);
    ask_upload(&b, "/api/blobs/sha256:1", -1);
    while (b.x != NULL || n->calls > 0) {
        run_turns();
    }
    assert_string_equal(b.told, "ad");
    peer_refuse(&peers[0]);
    ask_upload(&a, "/api/blobs/sha256:1", 5);
    asker_wait(&a, "ade");
    assert_ended(&a, MCP_ENODE_UNAVAILABLE, "Connection refused");
    assert_string_equal(peer_take_asked(&peers[1]), "");
}

/* --- memory
 * ---------------------------------------------------------------------------------------- */

enum kind { KIND_NATIVE, KIND_RELAY, KIND_TRANSLATED, KIND_LIST, KIND_COUNT };

static void ask_kind(struct asker *a, enum kind kind)
{
    switch (kind) {
    case KIND_RELAY:
        ask_relay(a, "/api/generate", "{\"model\":\"m\"}", STREAM_END_DONE);
        break;
    case KIND_LIST:
        ask(a, "{\"mcp\":{\"op\":\"list\"}}");
        break;
    default:
        ask(a, GENERATE);
        break;
    }
}

/* Ends with everything it was asked for, or says that something inside went wrong. */
static void try_kind(enum kind kind)
{
    struct asker a = {0};
    const char *path = kind == KIND_TRANSLATED ? "/v1/chat/completions" : "/api/generate";

    peer_route_raw(&peers[0], path, NULL);
    ask_kind(&a, kind);
    while (a.x != NULL) {
        run_turns();
        if (strstr(peers[0].asked, path) == NULL) {
            continue;
        }
        (void)peer_take_asked(&peers[0]);
        if (kind == KIND_TRANSLATED) {
            answer(&peers[0], peers[0].last, SSE_HEAD);
            answer_chunk(&peers[0], peers[0].last,
                         "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},"
                         "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        } else {
            answer(&peers[0], peers[0].last, NDJSON_HEAD);
            answer_chunk(&peers[0], peers[0].last, PART_A "{\"done\"");
            answer_chunk(&peers[0], peers[0].last, ":true}\n");
        }
        answer(&peers[0], peers[0].last, CHUNKS_END);
    }
    if (a.told[0] != '\0' && a.code != MCP_OK) {
        assert_int_equal(a.code, MCP_EINTERNAL);
        assert_string_equal(a.error, "out of memory");
    }
    run_turns();
    assert_int_equal(sub.running.count, 0);
    assert_int_equal(bodies.held_bytes, 0);
}

static void memory_that_is_out_ends_that_exchange_alone(void **state)
{
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct node *n = kind >= KIND_TRANSLATED ? openai_node(&peers[0], "m")
                                                 : ollama_node(&peers[0], "m:latest");
        bool reached = true;
        size_t i;

        for (i = 1; reached; i++) {
            run_turns();
            for (size_t k = 0; k < peers[0].count; k++) {
                if (peers[0].conns[k].gone) {
                    peer_close(&peers[0], k, false);
                }
            }
            alloc_fault_at(i);
            try_kind((enum kind)kind);
            reached = alloc_fault_count() >= i;
            alloc_fault_at(0);
            assert_int_equal(n->state, NODE_UP);
            while (n->calls > 0) {
                run_turns();
            }
        }
        assert_in_range(i, 5, 200);
        node_mark_down(n, "the next one's turn");
        node_peers_close();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXCHANGE_TEST(what_is_cancelled_before_it_runs_asks_nothing),
        EXCHANGE_TEST(cancel_closes_the_nodes_connection),
        EXCHANGE_TEST(a_deadline_ends_it_wherever_it_is),
        EXCHANGE_TEST(a_deadline_ends_waiting_for_a_catalogue),
        EXCHANGE_TEST(an_abort_is_told_once),
        EXCHANGE_TEST(a_gateway_that_drains_takes_nothing_new),
        EXCHANGE_TEST(what_the_face_refuses_ends_with_its_words),
        EXCHANGE_TEST(keys_are_asked_for),
        EXCHANGE_TEST(a_slow_client_stops_the_node),
        EXCHANGE_TEST(a_client_that_takes_nothing_has_nothing_asked),
        EXCHANGE_TEST(an_upload_goes_through),
        EXCHANGE_TEST(an_upload_has_one_try),
        EXCHANGE_TEST(memory_that_is_out_ends_that_exchange_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
