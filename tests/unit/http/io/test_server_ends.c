/* SPDX-License-Identifier: Apache-2.0 */
/* How requests and connections end: the client leaves, is slow or does not read; drain, abort,
 * memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "app.h"

#define GET(target) SLICE("GET " target " HTTP/1.1\r\nHost: a\r\n\r\n")

static struct app *app_new(void)
{
    struct app *a = calloc(1, sizeof(*a));

    assert_non_null(a);
    return a;
}

/* --- the client leaves
 * ------------------------------------------------------------------------------- */

enum leaving { FIN, RST, HALF_CLOSE };
static const enum leaving leavings[] = {FIN, RST, HALF_CLOSE};

static void leave(struct peer *p, enum leaving how)
{
    if (how == HALF_CLOSE) {
        peer_half_close(p);
    } else {
        peer_close(p, how == RST);
    }
}

/* `in` starts a request; after `until` was told, and with the reply begun or not, the client
 * leaves. */
static void check_gone(struct slice in, const char *until, bool replying, enum leaving how)
{
    struct app *a = app_new();
    struct peer p;

    app_open(a, &p);
    peer_send(&p, in);
    app_wait(a, until);
    run_turns(3);
    if (replying) {
        http_reply_head(a->q, 200, NULL, 0, HTTP_LENGTH_CHUNKED);
        http_reply_body(a->q, SLICE("part"));
        peer_wait_text(&p, "part");
    }
    leave(&p, how);
    app_wait(a, "gone\n");
    assert_int_equal(http_server_open(a->server), 0);
    assert_int_equal(a->closed, 1);
    if (how == HALF_CLOSE) {
        peer_wait_end(&p);
        assert_null(strstr(p.in, "\r\n0\r\n")); /* never a clean end */
    }
    app_close(a, &p);
    free(a);
}

static void test_gone(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int replying = 0; replying < 2; replying++) {
            check_gone(GET("/hold"), "end\n", replying, leavings[i]);
            /* reading is paused: the second request is held back */
            check_gone(
                SLICE("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
                "end\n", replying, leavings[i]);
            /* reading is paused: the handler does not want the body yet */
            check_gone(SLICE("PUT /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
                       "/pause\n", replying, leavings[i]);
            check_gone(SLICE("PUT /want HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
                       "/want\n", replying, leavings[i]);
        }
    }
}

/* Head and FIN come together. */
static void test_gone_in_the_same_turn(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, GET("/hold"));
    peer_half_close(&p);
    app_wait(a, "gone\n");
    assert_string_equal(a->told, "GET /hold\nend\ngone\n");
    app_close(a, &p);
    free(a);
}

/* With no reply running the connection closes, and what was answered still arrives. */
static void test_fin_behind_replies(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, GET("/now"));
    peer_send(&p, GET("/now"));
    peer_send(&p, SLICE("GET /cut HT"));
    peer_half_close(&p);
    peer_wait_end(&p);
    assert_int_equal(p.error, 0);
    assert_string_equal(a->told, "GET /now\nGET /now\n");
    peer_take_text(&p);
    assert_string_equal(
        p.in + strlen(p.in) / 2,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(http_server_open(a->server), 0);
    app_close(a, &p);
    free(a);
}

/* --- slow clients
 * ------------------------------------------------------------------------------------ */

static void check_timeout(struct http_server_limits limits, struct slice in, const char *begin)
{
    struct app *a = app_new();
    struct peer p;

    a->limits = limits;
    app_open(a, &p);
    peer_send(&p, in);
    peer_wait_end(&p);
    assert_int_equal(p.error, 0);
    (void)peer_take_text(&p);
    assert_memory_equal(p.in, begin, strlen(begin) + (begin[0] == '\0' ? 1 : 0));
    assert_int_equal(http_server_open(a->server), 0);
    assert_null(a->q);
    app_close(a, &p);
    free(a);
}

static void test_timeouts(void **state)
{
    const struct http_server_limits head = {.head_timeout_ms = 20};
    const struct http_server_limits body = {.body_timeout_ms = 20};
    const struct http_server_limits idle = {.idle_timeout_ms = 20};

    (void)state;
    check_timeout(idle, SLICE(""), "");
    check_timeout(idle, SLICE("\r\n"), "");
    check_timeout(idle, GET("/now"), "HTTP/1.1 200 OK\r\n");
    check_timeout(head, SLICE("GET / HTTP/1.1\r\n"), "HTTP/1.1 408 Request Timeout\r\n");
    check_timeout(body, SLICE("PUT /want HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
                  "HTTP/1.1 408 Request Timeout\r\n");
    /* the rest of a body nobody wants */
    check_timeout(body, SLICE("PUT /now HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
                  "HTTP/1.1 200 OK\r\n");
    assert_int_equal(counters.values[COUNTER_HTTP_BAD], 2);
}

static void test_body_timeout_ends_the_request(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    a->limits.body_timeout_ms = 20;
    app_open(a, &p);
    peer_send(&p, SLICE("PUT /want HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"));
    app_wait(a, "/want\n");
    http_reply_head(a->q, 200, NULL, 0, HTTP_LENGTH_CHUNKED);
    http_reply_body(a->q, SLICE("part"));
    app_wait(a, "gone\n");
    peer_wait_end(&p);
    assert_string_equal(peer_take_text(&p),
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    app_close(a, &p);
    free(a);
}

static bool past(void *arg)
{
    return loop_now_us(loop) >= *(uint64_t *)arg;
}

/* Neither a request that is answered slowly nor a body that the handler does not want is the
 * client's fault. */
static void test_no_timeout(void **state)
{
    static const struct slice requests[] = {
        GET("/hold"), SLICE("PUT /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct app *a = app_new();
        struct peer p;
        uint64_t later;

        a->limits = (struct http_server_limits){10, 10, 10};
        app_open(a, &p);
        peer_send(&p, requests[i]);
        app_wait(a, "/");
        later = loop_now_us(loop) + 50 * 1000;
        run_until(past, &later);
        assert_non_null(a->q);
        http_reply_abort(&a->q);
        app_close(a, &p);
        free(a);
    }
}

/* A client that takes bytes of a long reply is not idle; one that took none for that long is. */
static void test_slow_reader_is_not_idle(void **state)
{
    static char body[4 << 20];
    const int small =
        16 * 1024; /* buffers of the kernel, so that what is read soon shows as written */
    struct app *a = app_new();
    struct peer p;
    uint64_t begin_us;
    int fds[2];

    (void)state;
    memset(body, 'z', sizeof(body));
    a->limits.idle_timeout_ms = 150;
    a->server = http_server_new(loop, &app_ops, a, &a->limits);
    tcp_pair(fds);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    peer_init(&p, fds[0]);
    http_server_accept(a->server, fds[1], &(struct addr){.len = 0});
    peer_send(&p, GET("/hold"));
    app_wait(a, "end\n");
    begin_us = loop_now_us(loop);
    http_reply_simple(&a->q, 200, SLICE("text/plain"), slice_of(body, sizeof(body)));
    while (loop_now_us(loop) < begin_us + 400 * 1000) {
        uint64_t later = loop_now_us(loop) + 2 * 1000;
        ssize_t n;

        run_until(past, &later);
        assert_int_equal(http_server_open(a->server), 1);
        n = read(p.fd, p.in, 8 * 1024);
        assert_true(n > 0 || errno == EAGAIN);
    }
    app_wait_closed(a);
    peer_close(&p, true);
    app_close(a, &p);
    free(a);
}

/* --- clients that do not read
 * ------------------------------------------------------------------------ */

static bool is_over_high(void *arg)
{
    struct app *a = arg;
    char piece[16 * 1024];

    memset(piece, 'x', sizeof(piece));
    http_reply_body(a->q, slice_of(piece, sizeof(piece)));
    return http_reply_over_high(a->q);
}

static bool is_delivered(void *arg)
{
    const struct app *a = arg;

    return http_reply_delivered(a->q) > 0;
}

static void test_back_pressure(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, GET("/hold"));
    app_wait(a, "end\n");
    http_reply_head(a->q, 200, NULL, 0, HTTP_LENGTH_CHUNKED);
    run_until(is_over_high, a);
    assert_true(http_reply_unsent(a->q) > 0);
    run_until(is_delivered, a); /* the kernel acknowledges when it likes */
    assert_false(app_was_told(a, "drained\n"));
    http_reply_notify_sent(a->q);
    assert_false(app_was_told(a, "sent\n"));
    while (!app_was_told(a, "sent\n")) {
        p.in_len = 0;
        peer_pull(&p);
        run_turns(2);
    }
    assert_non_null(strstr(a->told, "drained\nsent\n"));
    assert_false(http_reply_over_high(a->q));
    http_reply_end(&a->q);
    peer_wait_text(&p, "\r\n0\r\n\r\n");
    app_close(a, &p);
    free(a);
}

static void reply_long(struct app *a)
{
    static char long_body[256 * 1024];

    memset(long_body, 'y', sizeof(long_body));
    http_reply_simple(&a->q, 200, SLICE("text/plain"), slice_of(long_body, sizeof(long_body)));
}

/* Pipelined requests of a client that does not read its replies wait, instead of piling up replies.
 */
static void test_pipeline_without_reading(void **state)
{
    enum { REQUESTS = 60 };
    struct app *a = app_new();
    struct peer p;
    size_t count = 0;

    (void)state;
    a->act_in = "end";
    a->act = reply_long;
    app_open(a, &p);
    for (int i = 0; i < REQUESTS; i++) {
        peer_send(&p, GET("/hold"));
    }
    run_turns(50);
    assert_true(a->told_len < REQUESTS * strlen("GET /hold\nend\n"));
    peer_send(&p, SLICE("GET /now HTTP/1.0\r\n\r\n"));
    while (!p.eof) {
        peer_pull(&p);
        count += p.in_len;
        p.in_len = 0;
        assert_int_equal(p.error, 0);
        run_turns(1);
    }
    assert_true(count > (size_t)REQUESTS * 256 * 1024);
    app_close(a, &p);
    free(a);
}

static void test_sent(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, GET("/hold"));
    app_wait(a, "end\n");
    http_reply_head(a->q, 200, NULL, 0, HTTP_LENGTH_CHUNKED);
    http_reply_notify_sent(a->q);
    assert_false(app_was_told(a, "sent\n"));
    app_wait(a, "sent\n");
    assert_int_equal(http_reply_unsent(a->q), 0);
    /* not after the end, and not to the next request */
    http_reply_notify_sent(a->q);
    http_reply_end(&a->q);
    peer_send(&p, GET("/hold"));
    app_wait(a, "sent\nGET /hold\nend\n");
    http_reply_simple(&a->q, 200, SLICE("a/b"), SLICE("last"));
    peer_wait_text(&p, "last");
    assert_string_equal(a->told, "GET /hold\nend\nsent\nGET /hold\nend\n");
    app_close(a, &p);
    free(a);
}

/* --- ends of our own
 * --------------------------------------------------------------------------------- */

static void check_abort(struct slice in, int64_t length, const char *expected, bool reset)
{
    struct app *a = app_new();
    struct peer p;

    app_open(a, &p);
    peer_send(&p, in);
    app_wait(a, "end\n");
    if (expected[0] != '\0') {
        http_reply_head(a->q, 200, NULL, 0, length);
        http_reply_body(a->q, SLICE("part"));
        run_turns(3);
        http_reply_body(a->q, SLICE("tail"));
    }
    http_reply_abort(&a->q);
    assert_null(a->q);
    peer_wait_end(&p);
    assert_int_equal(p.error, reset ? ECONNRESET : 0);
    assert_string_equal(peer_take_text(&p), expected);
    assert_false(app_was_told(a, "gone"));
    app_close(a, &p);
    free(a);
}

static void test_abort(void **state)
{
    (void)state;
    check_abort(GET("/hold"), 0, "", false);
    check_abort(GET("/hold"), HTTP_LENGTH_CHUNKED,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n4\r\ntail\r\n",
                false);
    check_abort(GET("/hold"), 20, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nparttail", false);
    check_abort(SLICE("GET /hold HTTP/1.0\r\n\r\n"), HTTP_LENGTH_CHUNKED,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nparttail", true);
}

static void test_drain(void **state)
{
    struct app *a = app_new();
    struct peer idle;
    struct peer reading;
    struct peer running;
    int fds[2];

    (void)state;
    app_open(a, &idle);
    app_connect(a, &reading);
    app_connect(a, &running);
    peer_send(&idle, GET("/now"));
    peer_wait_text(&idle, "hi");
    peer_send(&reading, SLICE("GET /now HT"));
    peer_send(&running, GET("/hold"));
    app_wait(a, "end\n");
    assert_int_equal(http_server_open(a->server), 3);

    http_server_drain(a->server);
    assert_int_equal(http_server_open(a->server), 2);
    peer_wait_end(&idle);
    peer_send(&reading, SLICE("TP/1.1\r\nHost: a\r\n\r\n"));
    peer_wait_end(&reading);
    assert_non_null(strstr(reading.in, "Connection: close\r\n\r\nhi"));
    http_reply_simple(&a->q, 200, SLICE("a/b"), SLICE("last"));
    peer_wait_end(&running);
    assert_non_null(strstr(running.in, "Connection: close\r\n\r\nlast"));
    assert_int_equal(http_server_open(a->server), 0);

    tcp_pair(fds);
    http_server_accept(a->server, fds[1], &(struct addr){.len = 0});
    peer_fini(&reading);
    peer_init(&reading, fds[0]);
    peer_wait_end(&reading);
    assert_int_equal(a->closed, 4);
    peer_fini(&reading);
    peer_fini(&running);
    app_close(a, &idle);
    free(a);
}

static void free_server(struct app *a)
{
    http_server_free(&a->server);
    a->q = NULL;
    a->act_in = NULL;
    a->told[0] = 'X';
}

/* A handler may end the whole server in any callback. */
static void test_free_in_every_callback(void **state)
{
    static const char *const places[] = {"request", "body", "end", "gone", "sent", "drained"};

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct app *a = app_new();
        struct peer p;

        a->act_in = places[i];
        a->act = free_server;
        app_open(a, &p);
        peer_send(&p,
                  SLICE("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /now "
                        "HTTP/1.1\r\nHost: a\r\n\r\n"));
        if (i >= 3) {
            app_wait(a, "end\n");
            http_reply_head(a->q, 200, NULL, 0, HTTP_LENGTH_CHUNKED);
            if (i == 4) {
                http_reply_notify_sent(a->q);
            } else if (i == 5) {
                run_until(is_over_high, a);
            } else {
                peer_close(&p, true);
            }
        }
        while (a->told[0] != 'X') {
            p.in_len = 0;
            peer_pull(&p);
            run_turns(1);
        }
        assert_null(a->server);
        app_close(a, &p);
        free(a);
    }
}

/* --- memory
 * ------------------------------------------------------------------------------------------ */

struct memory_run {
    struct app *app;
    unsigned served;
};

/* Whatever allocation fails, the client gets its replies or sees the end, and nothing leaks. */
static void serve_once(void *arg)
{
    struct memory_run *run = arg;
    struct app *a = run->app;
    size_t failing = alloc_fault_count(); /* 0: it was just armed */
    struct peer p;
    int fds[2];

    assert_int_equal(failing, 0);
    a->told_len = 0;
    a->told[0] = '\0';
    tcp_pair(fds);
    p = (struct peer){.fd = fds[0], .in = run->app->body}; /* memory that is there */
    p.in[0] = '\0';
    http_server_accept(a->server, fds[1], &(struct addr){.len = 0});
    peer_send(&p, GET("/now"));
    peer_send(&p, SLICE("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    peer_wait_end(&p);
    if (p.error == 0 && strstr(p.in, "hiHTTP/1.1 200 OK") != NULL) {
        run->served++;
    }
    p.in = NULL;
    peer_close(&p, false);
    app_wait_closed(a);
}

static void test_out_of_memory(void **state)
{
    struct memory_run run = {.app = app_new()};
    struct peer unused;

    (void)state;
    app_open(run.app, &unused);
    peer_send(&unused, GET("/now")); /* the server's own buffers are there */
    peer_wait_text(&unused, "hi");
    peer_close(&unused, true);
    app_wait_closed(run.app);
    alloc_fault_each(serve_once, &run);
    assert_true(run.served >= 1);
    app_close(run.app, &unused);
    free(run.app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(test_gone),
        IO_TEST(test_gone_in_the_same_turn),
        IO_TEST(test_fin_behind_replies),
        IO_TEST(test_timeouts),
        IO_TEST(test_body_timeout_ends_the_request),
        IO_TEST(test_no_timeout),
        IO_TEST(test_slow_reader_is_not_idle),
        IO_TEST(test_back_pressure),
        IO_TEST(test_pipeline_without_reading),
        IO_TEST(test_sent),
        IO_TEST(test_abort),
        IO_TEST(test_drain),
        IO_TEST(test_free_in_every_callback),
        IO_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
