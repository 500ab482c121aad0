/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "fixture.h"
#include "http/io/client.h"

#define REQUEST SLICE("GET / HTTP/1.1\r\nHost: n\r\n\r\n")
#define RESPONSE SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

/* The owner of a connection: writes down what it is told, and acts in one callback. */
struct node {
    struct http_client *client;
    struct peer peer;
    int listener;
    char told[512]; /* "connected\n", "head 200\n", "end 1\n", "failed 2\n", "drained\n" */
    size_t told_len;
    char body[1 << 16];
    size_t body_len;
    size_t body_total;
    int error;
    char text[128];
    const char *act_in; /* "connected", "head", "body", "end", "failed", "drained" */
    void (*act)(struct node *n);
};

static void tell(struct node *n, const char *name, int value)
{
    int len = value < 0
                  ? snprintf(n->told + n->told_len, sizeof(n->told) - n->told_len, "%s\n", name)
                  : snprintf(n->told + n->told_len, sizeof(n->told) - n->told_len, "%s %d\n", name,
                             value);

    if (n->told_len + (size_t)len < sizeof(n->told)) {
        n->told_len += (size_t)len;
    }
    if (n->act_in != NULL && strcmp(n->act_in, name) == 0) {
        n->act(n);
    }
}

static void on_connected(void *owner)
{
    tell(owner, "connected", -1);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct node *n = owner;

    assert_true(http_client_got_bytes(n->client));
    n->body_len = n->body_total = 0;
    tell(n, "head", (int)head->status);
}

static void on_body(void *owner, struct slice bytes)
{
    struct node *n = owner;

    assert_true(http_client_read_us(n->client) > 0);
    n->body_total += bytes.len;
    if (n->body_len + bytes.len < sizeof(n->body)) {
        memcpy(n->body + n->body_len, bytes.ptr, bytes.len);
        n->body_len += bytes.len;
        n->body[n->body_len] = '\0';
    }
    if (n->act_in != NULL && strcmp(n->act_in, "body") == 0) {
        n->act(n);
    }
}

static void on_end(void *owner, bool reusable)
{
    tell(owner, "end", reusable ? 1 : 0);
}

static void on_failed(void *owner, enum http_failure why, int error, const char *text)
{
    struct node *n = owner;

    n->error = error;
    (void)snprintf(n->text, sizeof(n->text), "%s", text == NULL ? "" : text);
    tell(n, "failed", (int)why);
}

static void on_drained(void *owner)
{
    tell(owner, "drained", -1);
}

static const struct http_client_ops node_ops = {
    .connected = on_connected,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .failed = on_failed,
    .drained = on_drained,
};

/* Connecting; the other end is accepted and raw. */
static struct node *node_open(void)
{
    struct node *n = calloc(1, sizeof(*n));
    struct addr at;
    int fd;

    assert_non_null(n);
    n->listener = listen_local(&at);
    n->client = http_client_connect(loop, &at, &node_ops, n);
    assert_non_null(n->client);
    fd = accept(n->listener, NULL, NULL);
    assert_true(fd >= 0);
    peer_init(&n->peer, fd);
    return n;
}

static void node_close(struct node *n)
{
    http_client_close(&n->client);
    peer_fini(&n->peer);
    assert_int_equal(close(n->listener), 0);
    free(n);
}

struct wanted {
    struct node *node;
    const char *told;
};

static bool was_told(void *arg)
{
    struct wanted *w = arg;

    return strstr(w->node->told, w->told) != NULL;
}

static void node_wait(struct node *n, const char *told)
{
    struct wanted w = {n, told};

    run_until(was_told, &w);
}

/* Sends a request and waits until the node has it: an answer to one that is not sent is another
 * matter. */
static void send_get(struct node *n)
{
    assert_true(http_client_send(n->client, REQUEST, NULL, 0, false, false));
    peer_wait_text(&n->peer, "\r\n\r\n");
    (void)peer_take_text(&n->peer);
    n->peer.in[0] = '\0';
}

/* --- answers
 * ----------------------------------------------------------------------------------------- */

static void test_two_requests(void **state)
{
    struct node *n = node_open();
    const struct slice pieces[] = {SLICE("{\"a\":"), SLICE("1}")};
    const struct slice head_request = SLICE("HEAD / HTTP/1.1\r\nHost: n\r\n\r\n");

    (void)state;
    /* queued before the connection stands */
    assert_true(http_client_send(n->client,
                                 SLICE("POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 7\r\n\r\n"),
                                 pieces, 2, false, false));
    peer_wait_text(&n->peer, "{\"a\":1}");
    assert_string_equal(peer_take_text(&n->peer),
                        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_false(http_client_got_bytes(n->client));
    peer_send(&n->peer, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(&n->peer, RESPONSE);
    node_wait(n, "end 1\n");
    assert_string_equal(n->told, "connected\nhead 200\nend 1\n");
    assert_string_equal(n->body, "hi");

    assert_true(http_client_send(n->client, head_request, NULL, 0, true, false));
    assert_false(http_client_got_bytes(n->client));
    peer_wait_text(&n->peer, "HEAD / HTTP/1.1");
    peer_send(&n->peer, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"));
    node_wait(n, "end 1\nhead 200\nend 1\n");
    send_get(n);
    peer_send(&n->peer,
              SLICE("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"));
    node_wait(n, "head 404\nend 1\n");
    assert_string_equal(n->body, "no");
    assert_int_equal(counters.values[COUNTER_NODE_BAD_ANSWER], 0);
    node_close(n);
}

static bool got_bytes(void *arg)
{
    struct node *n = arg;

    return http_client_got_bytes(n->client);
}

/* An answer cut at every point by the network. */
static void test_every_cut(void **state)
{
    static const struct slice in = SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                         "chunked\r\nContent-Type: text/event-stream\r\n\r\n8\r\n"
                                         "data: 1\n\r\n1\r\n\n\r\n0\r\n\r\n");
    struct node *n = node_open();

    (void)state;
    for (size_t cut = 1; cut < in.len; cut++) {
        n->told_len = 0;
        n->told[0] = '\0';
        send_get(n);
        peer_send(&n->peer, slice_first(in, cut));
        run_until(got_bytes, n);
        run_turns(1);
        peer_send(&n->peer, slice_skip(in, cut));
        node_wait(n, "end 1\n");
        assert_string_equal(n->body, "data: 1\n\n");
    }
    n->told_len = 0;
    n->told[0] = '\0';
    send_get(n);
    for (size_t at = 0; at < in.len; at++) {
        peer_send(&n->peer, slice_of(in.ptr + at, 1));
        run_turns(1);
    }
    node_wait(n, "head 200\nend 1\n");
    assert_string_equal(n->body, "data: 1\n\n");
    node_close(n);
}

/* What makes a connection not fit for another request. */
static const struct {
    const char *response;
    bool fin;
    const char *told;
    const char *body;
    int bad; /* answers counted as bad */
} last_answers[] = {
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", false,
     "head 200\nend 0\n", "hi", 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "head 200\nend 0\n", "hi", 0},
    {"HTTP/1.1 200 OK\r\n\r\nhi there", true, "head 200\nend 0\n", "hi there", 0},
    {"HTTP/1.0 200 OK\r\n\r\n", true, "head 200\nend 0\n", "", 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\n", false, "head 200\nend 0\n", "hi", 1},
    {"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false, "head 204\nend 0\n", "", 1},
};

static void test_not_reusable(void **state)
{
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(last_answers) / sizeof(last_answers[0]); i++) {
        struct node *n = node_open();

        send_get(n);
        peer_send(&n->peer, slice_str(last_answers[i].response));
        if (last_answers[i].fin) {
            peer_half_close(&n->peer);
        }
        node_wait(n, "end 0\n");
        assert_non_null(strstr(n->told, last_answers[i].told));
        assert_string_equal(n->body, last_answers[i].body);
        bad += last_answers[i].bad;
        assert_int_equal(counters.values[COUNTER_NODE_BAD_ANSWER], bad);
        assert_int_equal(http_client_unsent(n->client), 0);
        assert_false(http_client_over_high(n->client));
        run_turns(3); /* nothing more is told */
        assert_null(strstr(n->told, "failed"));
        node_close(n);
    }
}

/* --- failures
 * ---------------------------------------------------------------------------------------- */

enum { NO_FIN, PEER_FIN, PEER_RST };

static const struct {
    const char *response;
    int end;
    enum http_failure why;
} failures[] = {
    {"", PEER_FIN, HTTP_FAIL_STALE},
    {"", PEER_RST, HTTP_FAIL_STALE},
    {"H", PEER_FIN, HTTP_FAIL_CUT},
    {"HTTP/1.1 100 Continue\r\n\r\n", PEER_FIN, HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", PEER_FIN, HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", PEER_FIN, HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", PEER_RST, HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", PEER_FIN, HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", PEER_FIN,
     HTTP_FAIL_CUT},
    {"HTTP/1.1 200 OK\r\n\r\nhi", PEER_RST,
     HTTP_FAIL_CUT}, /* until the end, and it is no good end */
    {"garbage\n", NO_FIN, HTTP_FAIL_GARBAGE},
    {"{\"error\":\"x\"}\n", PEER_FIN, HTTP_FAIL_GARBAGE},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\n", NO_FIN, HTTP_FAIL_GARBAGE},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NO_FIN,
     HTTP_FAIL_GARBAGE},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", NO_FIN, HTTP_FAIL_GARBAGE},
};

static void test_failures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct node *n = node_open();
        char told[32];

        send_get(n);
        if (failures[i].response[0] != '\0') {
            peer_send(&n->peer, slice_str(failures[i].response));
        }
        if (failures[i].end == PEER_RST) {
            if (failures[i].response[0] != '\0') {
                run_until(got_bytes, n);
            }
            peer_close(&n->peer, true);
        } else if (failures[i].end == PEER_FIN) {
            peer_close(&n->peer, false);
        }
        (void)snprintf(told, sizeof(told), "failed %d\n", (int)failures[i].why);
        node_wait(n, "failed");
        if (strstr(n->told, told) == NULL) {
            print_error("case %zu: %s\n", i, n->told);
        }
        assert_non_null(strstr(n->told, told));
        assert_null(strstr(n->told, "end"));
        assert_int_equal(n->error, failures[i].end == PEER_RST ? ECONNRESET : 0);
        assert_true((n->text[0] != '\0') == (failures[i].why == HTTP_FAIL_GARBAGE));
        node_close(n);
    }
}

static void test_idle_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct node *n = node_open();

        send_get(n);
        peer_send(&n->peer, RESPONSE);
        node_wait(n, "end 1\n");
        if (i == 0) {
            peer_send(&n->peer, SLICE("HTTP/1.1 408 Too late\r\n\r\n"));
        } else {
            peer_close(&n->peer, i == 1);
        }
        node_wait(n, "failed");
        assert_non_null(strstr(n->told, i == 0 ? "end 1\nfailed 3\n" : "end 1\nfailed 1\n"));
        node_close(n);
    }
    assert_int_equal(counters.values[COUNTER_NODE_BAD_ANSWER], 1);
}

static void test_refused(void **state)
{
    struct node *n = calloc(1, sizeof(*n));
    struct addr at;

    (void)state;
    assert_non_null(n);
    assert_int_equal(close(listen_local(&at)), 0);
    n->client = http_client_connect(loop, &at, &node_ops, n);
    assert_non_null(n->client);
    assert_true(http_client_send(n->client, REQUEST, NULL, 0, false, false));
    node_wait(n, "failed 0\n");
    assert_string_equal(n->told, "failed 0\n");
    assert_int_equal(n->error, ECONNREFUSED);
    http_client_close(&n->client);
    free(n);
}

/* --- back-pressure
 * ----------------------------------------------------------------------------------- */

static void pause_client(struct node *n)
{
    http_client_pause(n->client);
}

/* Paused in every callback, the answer comes piece by piece and loses nothing; the node's FIN
 * behind it does not overtake what is held. */
static void check_paused(const char *place, bool fin)
{
    struct node *n = node_open();
    uint64_t read_us;

    n->act_in = place;
    n->act = pause_client;
    send_get(n);
    peer_send(&n->peer,
              SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"));
    node_wait(n, "head 200\n");
    run_turns(3);
    peer_send(&n->peer, SLICE("1\r\nc\r\n0\r\n\r\n"));
    if (fin) {
        peer_half_close(&n->peer);
    }
    read_us = http_client_read_us(n->client);
    for (size_t total = strcmp(place, "body") == 0 ? 1 : 0; total < 3; total++) {
        run_turns(5);
        assert_int_equal(n->body_total, total);
        assert_null(strstr(n->told, "end"));
        if (total < 2 && strcmp(place, "body") == 0) {
            assert_int_equal(http_client_read_us(n->client), read_us);
        } else if (strcmp(place, "head") == 0) {
            total = 2;
        }
        http_client_resume(n->client);
        http_client_resume(n->client);
    }
    if (strcmp(place, "body") == 0) {
        run_turns(5);
        http_client_resume(n->client);
    }
    node_wait(n, "end");
    assert_string_equal(n->body, "abc");
    assert_memory_equal(n->told, "connected\nhead 200\nend 1\n", 25);
    if (fin) {
        node_wait(n, "failed 1\n"); /* then the idle connection closed */
    } else {
        n->act_in = NULL; /* and it reads again */
        send_get(n);
        peer_send(&n->peer, RESPONSE);
        node_wait(n, "end 1\nhead 200\nend 1\n");
    }
    node_close(n);
}

static void test_paused(void **state)
{
    (void)state;
    check_paused("head", false);
    check_paused("body", false);
    check_paused("head", true);
    check_paused("body", true);
}

static void pause_and_resume(struct node *n)
{
    http_client_pause(n->client);
    http_client_resume(n->client);
}

static void test_pause_and_resume_at_once(void **state)
{
    struct node *n = node_open();

    (void)state;
    n->act_in = "body";
    n->act = pause_and_resume;
    for (int i = 0; i < 3; i++) {
        n->told_len = 0;
        n->told[0] = '\0';
        send_get(n);
        peer_send(&n->peer, RESPONSE);
        node_wait(n, "head 200\nend 1\n");
    }
    node_close(n);
}

static void test_paused_for_long(void **state)
{
    static char zeros[4 << 20];
    struct node *n = node_open();
    struct buf head = {0};

    (void)state;
    n->act_in = "head";
    n->act = pause_client;
    send_get(n);
    assert_true(buf_printf(&head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof(zeros)));
    peer_send(&n->peer, buf_slice(&head));
    peer_send(&n->peer, slice_of(zeros, 100000));
    node_wait(n, "head 200\n");
    run_turns(5);
    assert_int_equal(n->body_total, 0);
    http_client_resume(n->client);
    peer_send(&n->peer, slice_of(zeros, sizeof(zeros) - 100000));
    node_wait(n, "end 1\n");
    assert_int_equal(n->body_total, sizeof(zeros));
    buf_fini(&head);
    node_close(n);
}

/* --- uploads
 * ----------------------------------------------------------------------------------------- */

#define UPLOAD SLICE("POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 8000000\r\n\r\n")

static bool is_over_high(void *arg)
{
    struct node *n = arg;
    static char piece[100 * 1000];

    memset(piece, 'p', sizeof(piece));
    assert_true(http_client_body(n->client, slice_of(piece, sizeof(piece))));
    n->body_total += sizeof(piece);
    return http_client_over_high(n->client);
}

static void test_upload(void **state)
{
    struct node *n = node_open();
    size_t received = 0;

    (void)state;
    assert_true(http_client_send(n->client, UPLOAD, NULL, 0, false, true));
    run_until(is_over_high, n);
    assert_true(http_client_unsent(n->client) > 0);
    while (n->body_total < 8000000) {
        assert_true(http_client_body(n->client, slice_of("0123456789", 10)));
        n->body_total += 10;
    }
    http_client_body_end(n->client);
    while (received < n->body_total + UPLOAD.len) {
        n->peer.in_len = 0;
        peer_pull(&n->peer);
        received += n->peer.in_len;
        run_turns(2);
    }
    assert_non_null(strstr(n->told, "connected\ndrained\n"));
    peer_send(&n->peer, RESPONSE);
    node_wait(n, "end 1\n");
    node_close(n);
}

/* The node answers before it has everything: its answer counts, the connection does not. */
static void test_early_answer(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        struct node *n = node_open();

        assert_true(http_client_send(n->client, UPLOAD, NULL, 0, false, true));
        if (whole) { /* handed over whole, but not yet taken by the kernel */
            run_until(is_over_high, n);
            http_client_body_end(n->client);
        }
        peer_send(&n->peer, SLICE("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"));
        node_wait(n, "end");
        assert_string_equal(n->told, "connected\nhead 413\nend 0\n");
        assert_true(http_client_body(n->client, SLICE("dropped")));
        http_client_body_end(n->client);
        node_close(n);
    }
}

/* The same, and the node closes with unread input, which is an RST; the answer was there before it.
 */
static void test_answer_before_reset(void **state)
{
    struct node *n = node_open();

    (void)state;
    assert_true(http_client_send(n->client, UPLOAD, NULL, 0, false, true));
    assert_true(http_client_body(n->client, SLICE("unread")));
    node_wait(n, "connected\n");
    run_turns(3);
    peer_send(&n->peer, SLICE("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"));
    peer_close(&n->peer, false);
    node_wait(n, "end 0\n");
    assert_string_equal(n->told, "connected\nhead 413\nend 0\n");
    node_close(n);
}

/* --- owners
 * ------------------------------------------------------------------------------------------ */

static void close_client(struct node *n)
{
    http_client_close(&n->client);
    assert_null(n->client);
}

static void test_close_in_every_callback(void **state)
{
    static const char *const places[] = {"connected", "head", "body", "end", "failed", "drained"};

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct node *n = node_open();

        n->act_in = places[i];
        n->act = close_client;
        assert_true(http_client_send(n->client, REQUEST, NULL, 0, false, false));
        if (strcmp(places[i], "drained") == 0) {
            run_until(is_over_high, n);
        } else if (strcmp(places[i], "failed") == 0) {
            peer_send(&n->peer, SLICE("garbage\r\n"));
        } else {
            peer_send(
                &n->peer,
                SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"
                      "0\r\n\r\n"));
        }
        while (n->client != NULL) {
            n->peer.in_len = 0;
            peer_pull(&n->peer);
            run_turns(1);
        }
        run_turns(3);
        assert_true(n->body_total <= 1 || i >= 3);
        node_close(n);
    }
}

static struct node second;

static void hand_over(struct node *n)
{
    http_client_set_owner(n->client, &node_ops, &second);
    second.client = n->client;
    n->client = NULL;
    assert_true(http_client_send(second.client, REQUEST, NULL, 0, false, false));
}

/* In `end` the connection may go to another owner, who may send at once. */
static void test_hand_over(void **state)
{
    struct node *n = node_open();

    (void)state;
    second = (struct node){0};
    n->act_in = "end";
    n->act = hand_over;
    send_get(n);
    peer_send(&n->peer, RESPONSE);
    node_wait(n, "end 1\n");
    peer_wait_text(&n->peer, "GET / HTTP/1.1");
    peer_send(&n->peer, RESPONSE);
    node_wait(&second, "end 1\n");
    assert_string_equal(n->told, "connected\nhead 200\nend 1\n");
    assert_string_equal(second.told, "head 200\nend 1\n");
    http_client_close(&second.client);
    node_close(n);
}

/* --- memory
 * ------------------------------------------------------------------------------------------ */

struct memory_run {
    struct addr at;
    struct node *node;
    int listener;
    unsigned served;
};

static bool is_over(void *arg)
{
    struct node *n = arg;

    return strstr(n->told, "end") != NULL || strstr(n->told, "failed") != NULL;
}

static bool has_request_or_is_over(void *arg)
{
    struct node *n = arg;
    char seen[8];

    return is_over(n) || recv(n->peer.fd, seen, sizeof(seen), MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Whatever allocation fails: no connection, or the answer, or `failed`. */
static void ask_once(void *arg)
{
    struct memory_run *run = arg;
    struct node *n = run->node;
    struct http_client *client = http_client_connect(loop, &run->at, &node_ops, n);
    bool ok;

    if (client == NULL) {
        return;
    }
    n->client = client;
    n->told_len = 0;
    n->told[0] = '\0';
    n->peer.fd = accept(run->listener, NULL, NULL);
    assert_true(n->peer.fd >= 0);
    ok = http_client_send(client, REQUEST, NULL, 0, false, false);
    run_until(has_request_or_is_over, n);
    peer_send(&n->peer, RESPONSE);
    run_until(is_over, n);
    assert_true(ok || strstr(n->told, "failed 4\n") != NULL);
    run->served += strstr(n->told, "end 1\n") != NULL ? 1 : 0;
    http_client_close(&n->client);
    peer_close(&n->peer, false);
    run_turns(1);
}

static void test_out_of_memory(void **state)
{
    struct memory_run run = {.node = calloc(1, sizeof(struct node))};

    (void)state;
    assert_non_null(run.node);
    run.listener = listen_local(&run.at);
    run.node->peer.fd = -1;
    alloc_fault_each(ask_once, &run);
    assert_true(run.served >= 1);
    assert_int_equal(close(run.listener), 0);
    free(run.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(test_two_requests),
        IO_TEST(test_every_cut),
        IO_TEST(test_not_reusable),
        IO_TEST(test_failures),
        IO_TEST(test_idle_connection),
        IO_TEST(test_refused),
        IO_TEST(test_paused),
        IO_TEST(test_pause_and_resume_at_once),
        IO_TEST(test_paused_for_long),
        IO_TEST(test_upload),
        IO_TEST(test_early_answer),
        IO_TEST(test_answer_before_reset),
        IO_TEST(test_close_in_every_callback),
        IO_TEST(test_hand_over),
        IO_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
