/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request through the gateway: which node, how the answer is told, and each way it can
 * end. Scripted nodes, and a clock that stands still. */
#include "gateway/exchange.h"

#include <string.h>

#include "exchange_asker.h"

static struct peer peers[3];

#define GENERATE "{\"model\":\"m\",\"prompt\":\"hi\"}"
#define PART_A "{\"response\":\"a\"}\n"
#define DONE "{\"done\":true}"

/* --- answers
 * --------------------------------------------------------------------------------------- */

static void a_stream_is_told_part_by_part(void **state)
{
    struct asker a = {0};
    struct node *n = ollama_node(&peers[0], "m:latest");
    size_t conn;

    (void)state;
    ask(&a, GENERATE);
    assert_string_equal(a.told, ""); /* not from inside the call */
    assert_int_equal(sub.running.count, 1);
    assert_true(bodies.held_bytes >= strlen(GENERATE));
    conn = asked_on(&peers[0], "/api/generate");
    assert_string_equal(a.told, "a");
    assert_int_equal(a.x->node_id, n->id);
    answer(&peers[0], conn, NDJSON_HEAD);
    answer_chunk(&peers[0], conn, PART_A "{\"");
    asker_wait(&a, "ap");
    assert_string_equal(a.text, PART_A);
    assert_int_equal(bodies.held_bytes, 0); /* it cannot be sent again */
    answer_chunk(&peers[0], conn, "response\":\"\",\"done\":true");
    answer_chunk(&peers[0], conn, "}\n\n");
    asker_wait(&a, "aple");
    assert_string_equal(a.text, PART_A "{\"response\":\"\",\"done\":true}\n");
    assert_ended(&a, MCP_OK, "");
    /* The rest is drained for the next one. */
    assert_int_equal(n->calls, 1);
    answer(&peers[0], conn, CHUNKS_END);
    run_turns();
    assert_int_equal(n->calls, 0);
    assert_int_equal(counted(COUNTER_EXCHANGE_OK), 1);
    assert_int_equal(counted(COUNTER_PARTS), 2);
}

/* `status`: with `text` as its body; else `text` as a chunk of a stream, or NULL for none. */
struct end_case {
    const char *name;
    const char *status;
    const char *text;
    char close; /* 'c': the node closes behind it; 'e': it ends the stream */
    const char *told;
    int code;
    const char *error;
    const char *node_body;
    enum counter_id counter;
};

#define NO_BODY "{\"error\":\"no\"}"

/* clang-format off */
static const struct end_case native_ends[] = {
    {"whole", "200 OK", DONE, 0, "ale", MCP_OK, "", "", COUNTER_EXCHANGE_OK},
    {"without its end", NULL, PART_A, 'e', "ape", MCP_ESTREAM_INTERRUPTED, "without saying so", "",
     COUNTER_EXCHANGE_INTERRUPTED},
    {"cut", NULL, PART_A, 'c', "ape", MCP_ESTREAM_INTERRUPTED, "closed the connection within", "",
     COUNTER_EXCHANGE_INTERRUPTED},
    {"an error within", NULL, PART_A NO_BODY "\n", 0, "ape", MCP_EUPSTREAM_ERROR,
     "reported an error", NO_BODY, COUNTER_EXCHANGE_NODE_ERROR},
    {"no JSON", NULL, "oops\n", 0, "ae", MCP_EUPSTREAM_ERROR, "not JSON", "",
     COUNTER_EXCHANGE_NODE_ERROR},
    {"400", "400 Bad", NO_BODY, 0, "ae", MCP_EBAD_REQUEST, "", NO_BODY,
     COUNTER_EXCHANGE_CLIENT_ERROR},
    {"404", "404 Not Found", NO_BODY, 0, "ae", MCP_EUNKNOWN_MODEL, "", NO_BODY,
     COUNTER_EXCHANGE_CLIENT_ERROR},
    {"500", "500 Oops", NO_BODY, 0, "ae", MCP_EUPSTREAM_ERROR, "", NO_BODY,
     COUNTER_EXCHANGE_NODE_ERROR},
    {"nothing", NULL, NULL, 'c', "ae", MCP_EUPSTREAM_ERROR, "without an answer", "",
     COUNTER_EXCHANGE_NODE_ERROR},
};
/* clang-format on */

static void each_end_is_told_once(void **state)
{
    const size_t count = sizeof(native_ends) / sizeof(native_ends[0]);
    struct node *n = ollama_node(&peers[0], "m:latest");

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct end_case *end = &native_ends[i];
        struct asker a = {0};
        int64_t before = counted(end->counter);
        size_t conn;

        print_message("%s\n", end->name);
        node_pool_fini(&n->pool); /* a fresh connection is not retried */
        ask(&a, GENERATE);
        conn = asked_on(&peers[0], "/api/generate");
        if (end->status != NULL) {
            answer_json(&peers[0], conn, end->status, end->text);
        } else if (end->text != NULL) {
            answer(&peers[0], conn, NDJSON_HEAD);
            answer_chunk(&peers[0], conn, end->text);
        }
        if (end->close == 'e') {
            answer(&peers[0], conn, CHUNKS_END);
        } else if (end->close == 'c') {
            peer_close(&peers[0], conn, false);
        }
        asker_wait(&a, end->told);
        assert_ended(&a, end->code, end->error);
        assert_string_equal(a.node_body, end->node_body);
        assert_int_equal(counted(end->counter), before + 1);
        assert_int_equal(n->calls, 0);
    }
}

static void a_relayed_answer_is_what_the_node_said(void **state)
{
    struct asker a = {0};
    size_t conn;

    (void)state;
    (void)openai_node(&peers[0], "m");
    ask_relay(&a, "/v1/chat/completions", "{\"model\":\"m\"}", STREAM_END_SSE_DONE);
    conn = asked_on(&peers[0], "/v1/chat/completions");
    answer(&peers[0], conn, SSE_HEAD);
    run_turns();
    assert_string_equal(a.told, "a"); /* a status can still be an error's */
    answer_chunk(&peers[0], conn, "data: 1\n");
    answer_chunk(&peers[0], conn, "\n");
    asker_wait(&a, "ahb");
    assert_int_equal(a.status, 200);
    answer_chunk(&peers[0], conn, "data: [DONE]\n\n");
    answer(&peers[0], conn, CHUNKS_END);
    asker_wait(&a, "ahbe");
    assert_string_equal(a.text, "data: 1\n\ndata: [DONE]\n\n");
    assert_ended(&a, MCP_OK, "");
}

static void a_relayed_answer_that_dies_early_is_an_error(void **state)
{
    struct asker a = {0};
    size_t conn;

    (void)state;
    (void)openai_node(&peers[0], "m");
    ask_relay(&a, "/v1/responses", "{\"model\":\"m\"}", STREAM_END_FRAMING);
    conn = asked_on(&peers[0], "/v1/responses");
    answer(&peers[0], conn, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    run_turns();
    peer_close(&peers[0], conn, false);
    asker_wait(&a, "ae");
    assert_ended(&a, MCP_EUPSTREAM_ERROR, "closed the connection within its answer");
}

static void a_translated_stream_ends_with_its_last_part(void **state)
{
    struct asker a = {0};
    size_t conn;

    (void)state;
    (void)openai_node(&peers[0], "m");
    ask(&a, GENERATE);
    conn = asked_on(&peers[0], "/v1/chat/completions");
    answer(&peers[0], conn, SSE_HEAD);
    answer_chunk(&peers[0], conn, "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n");
    asker_wait(&a, "ap");
    assert_non_null(strstr(a.text, "\"response\":\"ab\""));
    answer_chunk(&peers[0], conn,
                 "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                 "data: [DONE]\n\n");
    asker_wait(&a, "aple");
    assert_ended(&a, MCP_OK, "");
    assert_non_null(strstr(a.text, "\"done\":true"));
}

/* --- which node
 * ------------------------------------------------------------------------------------ */

static void a_node_that_lists_the_model_is_asked(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)ollama_node(&peers[0], "other");
    (void)ollama_node(&peers[1], "m:latest");
    ask(&a, GENERATE);
    answer_json(&peers[1], asked_on(&peers[1], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "ale");
}

static void the_session_s_last_node_is_preferred(void **state)
{
    struct asker a = {0};
    struct node *second;

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    second = ollama_node(&peers[1], "m:latest");
    asker_make(&a, GENERATE);
    a.x->prefer_node_id = second->id;
    exchange_start(a.x);
    answer_json(&peers[1], asked_on(&peers[1], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "ale");
}

static void a_new_model_is_found_by_reading_again(void **state)
{
    struct asker a = {0};

    (void)state;
    (void)ollama_node(&peers[0], "other");
    move_clock_ms(1001);
    peer_route(&peers[0], "/api/tags", "200 OK", "{\"models\":[{\"name\":\"m:latest\"}]}");
    ask(&a, GENERATE);
    answer_json(&peers[0], asked_on(&peers[0], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "ale");
}

static void a_model_nobody_has_is_unknown(void **state)
{
    static const char *const asks[][2] = {
        {GENERATE, "model 'm' not found"},
        {"{\"model\":\"m\",\"input\":\"x\"}", "model \"m\" not found, try pulling it first"},
    };

    (void)state;
    (void)ollama_node(&peers[0], "other");
    for (size_t i = 0; i < 2; i++) {
        struct asker a = {0};

        move_clock_ms(1001);
        ask(&a, asks[i][0]);
        asker_wait(&a, "e");
        assert_ended(&a, MCP_EUNKNOWN_MODEL, asks[i][1]);
        assert_non_null(strstr(peer_take_asked(&peers[0]), "/api/tags"));
    }
    assert_int_equal(counted(COUNTER_EXCHANGE_CLIENT_ERROR), 2);
}

static void without_a_node_it_says_why(void **state)
{
    struct asker a = {0};
    struct asker b = {0};
    struct node *n = openai_node(&peers[0], "m");

    (void)state;
    ask(&a, "{\"model\":\"m\",\"mcp\":{\"op\":\"pull\"}}");
    asker_wait(&a, "e");
    assert_ended(&a, MCP_EUNSUPPORTED_OP, "it needs an Ollama node");
    node_mark_down(n, "it burns");
    ask(&b, GENERATE);
    asker_wait(&b, "e");
    assert_ended(&b, MCP_ENODE_UNAVAILABLE, "no node is up (127.0.0.1:");
    assert_non_null(strstr(b.error, "it burns"));
}

static void close_all(struct peer *p)
{
    for (size_t i = 0; i < p->count; i++) {
        peer_close(p, i, false);
    }
    run_turns();
}

static void a_node_that_refuses_is_passed_over(void **state)
{
    struct asker a = {0};
    struct node *first = ollama_node(&peers[0], "m:latest");

    (void)state;
    (void)ollama_node(&peers[1], "m:latest");
    close_all(&peers[0]);
    peer_refuse(&peers[0]);
    ask(&a, GENERATE);
    answer_json(&peers[1], asked_on(&peers[1], "/api/generate"), "200 OK", DONE);
    asker_wait(&a, "aale");
    assert_int_equal(first->state, NODE_DOWN);
}

static void all_refuse(void **state)
{
    struct asker a = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)ollama_node(&peers[i], "m:latest");
        close_all(&peers[i]);
        peer_refuse(&peers[i]);
    }
    ask(&a, GENERATE);
    asker_wait(&a, "aaae");
    assert_ended(&a, MCP_ENODE_UNAVAILABLE, "Connection refused");
    assert_int_equal(nodes_up(nodes), 0);
    assert_int_equal(counted(COUNTER_NODE_CONNECT_FAILED), 3);
}

/* What a node may have seen is not given to another. */
static void a_node_that_died_of_it_is_the_last(void **state)
{
    struct asker a = {0};
    size_t conn;

    (void)state;
    (void)ollama_node(&peers[0], "m:latest");
    (void)ollama_node(&peers[1], "m:latest");
    ask(&a, GENERATE);
    conn = asked_on(&peers[0], "/api/generate"); /* on a pooled connection */
    peer_refuse(&peers[0]);
    peer_close(&peers[0], conn, false);
    asker_wait(&a, "ae");
    assert_ended(&a, MCP_ENODE_UNAVAILABLE, "Connection refused");
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 1);
    assert_string_equal(peer_take_asked(&peers[1]), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXCHANGE_TEST(a_stream_is_told_part_by_part),
        EXCHANGE_TEST(each_end_is_told_once),
        EXCHANGE_TEST(a_relayed_answer_is_what_the_node_said),
        EXCHANGE_TEST(a_relayed_answer_that_dies_early_is_an_error),
        EXCHANGE_TEST(a_translated_stream_ends_with_its_last_part),
        EXCHANGE_TEST(a_node_that_lists_the_model_is_asked),
        EXCHANGE_TEST(the_session_s_last_node_is_preferred),
        EXCHANGE_TEST(a_new_model_is_found_by_reading_again),
        EXCHANGE_TEST(a_model_nobody_has_is_unknown),
        EXCHANGE_TEST(without_a_node_it_says_why),
        EXCHANGE_TEST(a_node_that_refuses_is_passed_over),
        EXCHANGE_TEST(all_refuse),
        EXCHANGE_TEST(a_node_that_died_of_it_is_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
