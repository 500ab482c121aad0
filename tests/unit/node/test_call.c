/* SPDX-License-Identifier: Apache-2.0 */
/* What a call sends, byte by byte, how it answers, and what happens to its connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node_caller.h"

static struct peer peer;

/* --- the request
 * ----------------------------------------------------------------------------------- */

static const struct http_header client_headers[] = {
    {SLICE("Content-Type"), SLICE("application/json")},
    {SLICE("Authorization"), SLICE("Bearer client-secret")},
    {SLICE("X-API-Key"), SLICE("client-secret")},
    {SLICE("cookie"), SLICE("session=client-secret")},
    {SLICE("Host"), SLICE("gateway:11435")},
    {SLICE("content-length"), SLICE("999")},
    {SLICE("Transfer-Encoding"), SLICE("chunked")},
    {SLICE("Connection"), SLICE("close")},
    {SLICE("Proxy-Connection"), SLICE("close")},
    {SLICE("Expect"), SLICE("100-continue")},
    {SLICE("x-tenant"), SLICE("the client's")},
    {SLICE("User-Agent"), SLICE("ollama/0.17")},
};

static void a_request_goes_out_with_the_nodes_headers_and_not_the_clients(void **state)
{
    static const struct http_header configured[] = {
        {SLICE("X-Tenant"), SLICE("ours")},
        {SLICE("X-Team"), SLICE("a b")},
    };
    const struct slice pieces[] = {SLICE("{\"model\":"), SLICE(""), SLICE("\"m\"}")};
    struct node_options options = {
        .api_key = "node-secret", .headers = configured, .header_count = 2};
    const struct node_call_request request = {
        .method = SLICE("POST"),
        .path = SLICE("/api/chat?a=b"),
        .headers = client_headers,
        .header_count = sizeof(client_headers) / sizeof(client_headers[0]),
        .pieces = pieces,
        .piece_count = 3,
        .has_body = true,
    };
    struct caller c = {0};
    char url[160];
    char want[600];
    struct node *n;

    (void)state;
    peer_open(&peer);
    (void)snprintf(url, sizeof(url), "%s/some/where/", peer.url);
    options.url = url;
    n = node_add_with(&options);
    n->addr = peer.at;
    n->has_addr = true;
    caller_start(&c, n, &request);
    (void)snprintf(want, sizeof(want),
                   "POST /some/where/api/chat?a=b HTTP/1.1\r\n"
                   "Host: 127.0.0.1:%u\r\n"
                   "Content-Type: application/json\r\n"
                   "User-Agent: ollama/0.17\r\n"
                   "Authorization: Bearer node-secret\r\n"
                   "X-Tenant: ours\r\n"
                   "X-Team: a b\r\n"
                   "Content-Length: 13\r\n"
                   "\r\n"
                   "{\"model\":\"m\"}",
                   addr_port(&peer.at));
    peer_wait_conns(&peer, 1);
    peer_wait_text(&peer, 0, want);
    assert_int_equal(counted(COUNTER_BYTES_TO_NODES), strlen(want));
    node_call_cancel(&c.call);
}

static void a_unix_node_has_a_host_too(void **state)
{
    char dir[] = "/tmp/mcpgate-test-XXXXXX";
    char path[64];
    struct caller c = {0};
    struct node *n;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/node", dir);
    peer_open_unix(&peer, path);
    n = peer_node(&peer);
    caller_get(&c, n);
    peer_wait_conns(&peer, 1);
    peer_wait_text(&peer, 0, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&c, "hbe");
    call_once(&peer, n, 0);
    node_peers_close();
    assert_int_equal(rmdir(dir), 0);
}

static void a_full_queue_of_connections_takes_no_node_down(void **state)
{
    char dir[] = "/tmp/mcpgate-test-XXXXXX";
    char path[64];
    struct caller calls[3] = {0};
    struct node *n;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/node", dir);
    peer_open_unix(&peer, path);
    assert_int_equal(listen(peer.listener, 0), 0); /* takes one */
    n = peer_node(&peer);
    node_mark_up(n);
    for (size_t i = 0; i < 3; i++) {
        caller_get(&calls[i], n);
    }
    for (size_t i = 1; i < 3; i++) {
        caller_wait(&calls[i], "f");
        assert_failed(&calls[i], MCP_EQUEUE_FULL, true, "Resource temporarily unavailable");
    }
    assert_int_equal(n->state, NODE_UP);
    peer_wait_conns(&peer, 1);
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&calls[0], "hbe");
    node_peers_close();
    assert_int_equal(rmdir(dir), 0);
}

/* Waits until this has come behind a request's head with the given framing line. */
static void wait_body(size_t conn, const char *framing, const char *body)
{
    char want[256];

    (void)snprintf(want, sizeof(want), "PUT /b HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n%s",
                   addr_port(&peer.at), framing, body);
    peer_wait_conns(&peer, conn + 1);
    peer_wait_text(&peer, conn, want);
}

static void uploads_are_framed_as_announced(void **state)
{
    struct node_call_request request = {
        .method = SLICE("PUT"), .path = SLICE("/b"), .upload = true, .upload_length = 5};
    struct node *n;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    for (size_t conn = 0; conn < 3; conn++) {
        static const char *const framing[] = {"Content-Length: 5\r\n",
                                              "Transfer-Encoding: chunked\r\n",
                                              "Transfer-Encoding: chunked\r\n"};
        static const char *const bodies[] = {"abcde", "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
                                             "0\r\n\r\n"};
        struct caller c = {0};

        request.upload_length = conn == 0 ? 5 : -1;
        caller_start(&c, n, &request);
        wait_body(conn, framing[conn], "");
        if (conn < 2) {
            assert_true(node_call_body(c.call, SLICE("ab")));
            assert_true(node_call_body(c.call, SLICE(""))); /* would end it, as a chunk */
            assert_true(node_call_body(c.call, SLICE("cde")));
        }
        node_call_body_end(c.call);
        wait_body(conn, framing[conn], bodies[conn]);
        peer_send(&peer, conn, SLICE("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"));
        caller_wait(&c, "he");
        assert_int_equal(c.status, 201);
        assert_int_equal(n->pool.unused.count, conn + 1); /* good for others, but none is taken */
    }
    assert_int_equal(counted(COUNTER_NODE_REUSED), 0);
}

/* --- the answer
 * ------------------------------------------------------------------------------------ */

static void an_answer_is_handed_on_and_the_connection_kept(void **state)
{
    struct node *n;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    for (int i = 0; i < 3; i++) {
        call_once(&peer, n, 0);
        assert_int_equal(n->pool.unused.count, 1);
        assert_int_equal(n->calls, 0);
    }
    assert_int_equal(counted(COUNTER_NODE_CONNECTS), 1);
    assert_int_equal(counted(COUNTER_NODE_REUSED), 2);
    assert_int_equal(counted(COUNTER_BYTES_FROM_NODES), 6);
}

static void each_call_at_once_has_a_connection_of_its_own(void **state)
{
    struct caller a = {0};
    struct caller b = {0};
    struct node *n;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    caller_get(&a, n);
    caller_get(&b, n);
    assert_int_equal(n->calls, 2);
    assert_ptr_equal(node_call_node(a.call), n);
    peer_wait_conns(&peer, 2);
    peer_wait_request(&peer, 0);
    peer_wait_request(&peer, 1);
    peer_send(&peer, 1, SLICE(ANSWER_HI));
    caller_wait(&b, "hbe");
    assert_string_equal(a.told, "");
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&a, "hbe");
    assert_int_equal(n->pool.unused.count, 2);
}

static void the_answer_to_head_has_no_body(void **state)
{
    const struct node_call_request request = {
        .method = SLICE("HEAD"), .path = SLICE("/"), .is_head = true};
    struct caller c = {0};
    struct node *n;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    caller_start(&c, n, &request);
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE(OK_HEAD("17")));
    caller_wait(&c, "he");
    call_once(&peer, n, 0);
}

/* What comes, and how it is taken. `close`: the node closes behind it, 'f'in or 'r'eset. */
struct answer_case {
    const char *name;
    const char *bytes;
    char close;
    const char *told;
    int code; /* of a failure */
    bool pooled;
    bool bad; /* counted as a bad answer */
};

static const struct answer_case answers[] = {
    {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 0,
     "hbe", 0, true, false},
    {"after 100", "HTTP/1.1 100 Continue\r\n\r\n" ANSWER_HI, 0, "hbe", 0, true, false},
    {"204", "HTTP/1.1 204 No Content\r\n\r\n", 0, "he", 0, true, false},
    {"told to close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 0,
     "hbe", 0, false, false},
    {"until close", "HTTP/1.1 200 OK\r\n\r\nhi", 'f', "hbe", 0, false, false},
    {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0, "hbe", 0, false, false},
    {"bytes behind it", ANSWER_HI "more", 0, "hbe", 0, false, true},
    {"nothing", "", 'f', "f", MCP_EUPSTREAM_ERROR, false, false},
    {"nothing and reset", "", 'r', "f", MCP_EUPSTREAM_ERROR, false, false},
    {"cut in the status line", "HTTP/1.", 'f', "f", MCP_ESTREAM_INTERRUPTED, false, false},
    {"cut in the head", "HTTP/1.1 200 OK\r\nContent-", 'f', "f", MCP_ESTREAM_INTERRUPTED, false,
     false},
    {"cut in the body", OK_HEAD("3") "hi", 'f', "hbf", MCP_ESTREAM_INTERRUPTED, false, false},
    {"reset in the body", OK_HEAD("3") "hi", 'r', "hbf", MCP_ESTREAM_INTERRUPTED, false, false},
    {"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", 'f',
     "hbf", MCP_ESTREAM_INTERRUPTED, false, false},
    {"reset while nothing ends it", "HTTP/1.1 200 OK\r\n\r\nhi", 'r', "hbf",
     MCP_ESTREAM_INTERRUPTED, false, false},
    {"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", 0, "f", MCP_EUPSTREAM_ERROR, false, true},
    {"binary", "\x16\x03\x01\x02", 0, "f", MCP_EUPSTREAM_ERROR, false, true},
    {"broken head", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 0, "f", MCP_EUPSTREAM_ERROR, false,
     true},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", 0, "f",
     MCP_EUPSTREAM_ERROR, false, true},
    {"broken chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n",
     0, "hbf", MCP_EUPSTREAM_ERROR, false, true},
    {"broken chunk end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx", 0, "hbf",
     MCP_EUPSTREAM_ERROR, false, true},
};

static void answers_good_and_bad(void **state)
{
    const size_t count = sizeof(answers) / sizeof(answers[0]);
    struct node *n;
    size_t conns = 0;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    node_mark_up(n);
    for (size_t i = 0; i < count; i++) {
        const struct answer_case *a = &answers[i];
        struct caller c = {0};
        int64_t bad = counted(COUNTER_NODE_BAD_ANSWER);

        print_message("%s\n", a->name);
        caller_get(&c, n);
        peer_wait_conns(&peer, conns + 1);
        peer_wait_request(&peer, conns);
        peer_send(&peer, conns, slice_str(a->bytes));
        if (a->close == 'r' && a->bytes[0] != '\0') {
            caller_wait(&c, "hb"); /* the reset must not overtake it */
        }
        if (a->close != 0) {
            peer_close(&peer, conns, a->close == 'r');
        }
        caller_wait(&c, a->told);
        assert_int_equal(c.code, a->code);
        assert_false(c.sent_nothing);
        assert_int_equal(counted(COUNTER_NODE_BAD_ANSWER) - bad, a->bad);
        assert_int_equal(n->pool.unused.count, a->pooled);
        if (a->pooled) {
            call_once(&peer, n, conns);
            peer_close(&peer, conns, false);
            run_turns();
            assert_int_equal(n->pool.unused.count, 0);
        }
        if (a->close == 0 && !a->pooled) {
            peer_wait_gone(&peer, conns);
        }
        conns++;
    }
    assert_int_equal(n->calls, 0);
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 0);
    assert_int_equal(n->state, NODE_UP); /* that is for polls to say */
}

static void an_answer_before_the_upload_is_over_ends_it(void **state)
{
    const struct node_call_request request = {
        .method = SLICE("PUT"), .path = SLICE("/b"), .upload = true, .upload_length = 5};
    struct caller c = {0};
    struct node *n;

    (void)state;
    peer_open(&peer);
    n = peer_node(&peer);
    caller_start(&c, n, &request);
    assert_true(node_call_body(c.call, SLICE("abc")));
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno"));
    caller_wait(&c, "hbe");
    assert_int_equal(c.status, 409);
    assert_int_equal(n->pool.unused.count, 0);
    peer_wait_gone(&peer, 0);
}

static void a_large_upload_waits_for_the_node(void **state)
{
    static char megabyte[1 << 20];
    const size_t count = 20;
    const struct node_call_request request = {.method = SLICE("PUT"),
                                              .path = SLICE("/b"),
                                              .upload = true,
                                              .upload_length = (int64_t)(count * sizeof(megabyte))};
    struct caller c = {0};
    size_t head;

    (void)state;
    peer_open(&peer);
    caller_start(&c, peer_node(&peer), &request);
    peer_wait_conns(&peer, 1);
    run_turns();
    head = peer.conns[0].in_total;
    assert_false(node_call_over_high(c.call));
    peer.conns[0].deaf = true;
    for (size_t i = 0; i < count; i++) {
        assert_true(node_call_body(c.call, slice_of(megabyte, sizeof(megabyte))));
    }
    node_call_body_end(c.call);
    run_turns();
    assert_true(node_call_over_high(c.call));
    assert_string_equal(c.told, "");
    peer.conns[0].deaf = false;
    caller_wait(&c, "d");
    assert_false(node_call_over_high(c.call));
    while (peer.conns[0].in_total < head + count * sizeof(megabyte)) {
        run_turns();
    }
    peer_send(&peer, 0, SLICE(ANSWER_HI));
    caller_wait(&c, "dhbe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(a_request_goes_out_with_the_nodes_headers_and_not_the_clients),
        NODE_TEST(a_unix_node_has_a_host_too),
        NODE_TEST(a_full_queue_of_connections_takes_no_node_down),
        NODE_TEST(uploads_are_framed_as_announced),
        NODE_TEST(an_answer_is_handed_on_and_the_connection_kept),
        NODE_TEST(each_call_at_once_has_a_connection_of_its_own),
        NODE_TEST(the_answer_to_head_has_no_body),
        NODE_TEST(answers_good_and_bad),
        NODE_TEST(an_answer_before_the_upload_is_over_ends_it),
        NODE_TEST(a_large_upload_waits_for_the_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
