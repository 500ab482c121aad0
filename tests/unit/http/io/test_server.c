/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wire: framing, pipelining, HEAD, HTTP/1.0, Expect, errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
#define HI OK_HEAD "\r\nhi"
#define HI_CLOSE OK_HEAD "Connection: close\r\n\r\nhi"

static struct app *app_new(void)
{
    struct app *a = calloc(1, sizeof(*a));

    assert_non_null(a);
    return a;
}

/* Sends, and compares all that comes until the connection ends. Returns bytes received. */
static size_t check_dialogue(const char *name, struct slice in, const char *expected)
{
    struct app *a = app_new();
    struct peer p;
    size_t received;

    app_open(a, &p);
    peer_send(&p, in);
    peer_wait_end(&p);
    received = p.in_len;
    if (strcmp(peer_take_text(&p), expected) != 0) {
        print_error("%s\n", name);
    }
    assert_string_equal(p.in, expected);
    app_wait_closed(a);
    assert_int_equal(a->closed, 1);
    app_close(a, &p);
    free(a);
    return received;
}

static const struct {
    const char *name;
    struct slice in;
    const char *out;
} dialogues[] = {
    {"close", SLICE("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), HI_CLOSE},
    {"keep-alive, then close",
     SLICE("GET /now HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /now?2 HTTP/1.1\r\nHost: a\r\nConnection: "
           "close\r\n\r\n"),
     HI HI_CLOSE},
    {"nothing behind close",
     SLICE("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /now HTTP/1.1\r\nHost: "
           "a\r\n\r\n"),
     HI_CLOSE},
    {"1.0", SLICE("GET /now HTTP/1.0\r\n\r\n"), HI_CLOSE},
    {"1.0 keep-alive",
     SLICE("GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /now HTTP/1.0\r\n\r\n"),
     OK_HEAD "Connection: keep-alive\r\n\r\nhi" HI_CLOSE},
    {"HEAD",
     SLICE("HEAD /now HTTP/1.1\r\nHost: a\r\n\r\nHEAD /now HTTP/1.1\r\nHost: a\r\nConnection: "
           "close\r\n\r\n"),
     OK_HEAD "\r\n" OK_HEAD "Connection: close\r\n\r\n"},
    {"absolute form",
     SLICE("GET http://x:1/now?a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), HI_CLOSE},
    {"body dropped behind an early reply",
     SLICE("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /refuse "
           "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /now "
           "HTTP/1.0\r\n\r\n"),
     "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"
     "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno" HI_CLOSE},
    {"not waiting for a body that waits for 100",
     SLICE("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
     "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: "
     "close\r\n\r\nno"},
    {"expect",
     SLICE("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\nExpect: "
           "100-continue\r\n\r\nhi"),
     "HTTP/1.1 100 Continue\r\n\r\n" HI_CLOSE},
    {"expect in 1.0",
     SLICE("POST /echo HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"), HI_CLOSE},
};

static void test_dialogues(void **state)
{
    size_t sent = 0;
    size_t received = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
        received += check_dialogue(dialogues[i].name, dialogues[i].in, dialogues[i].out);
        sent += dialogues[i].in.len;
    }
    assert_int_equal(counters.values[COUNTER_HTTP_BAD], 0);
    assert_int_equal(counters.values[COUNTER_BYTES_FROM_CLIENTS], sent);
    assert_int_equal(counters.values[COUNTER_BYTES_TO_CLIENTS], received);
}

static const struct {
    const char *in;
    unsigned status;
    const char *reason;
    const char *says;
} bad[] = {
    {"GET / HTTP/1.1\r\n\r\n", 400, "Bad Request", "missing required Host header"},
    {"garbage\r\n\r\n", 400, "Bad Request", ""},
    {"\x16\x03\x01", 400, "Bad Request", ""},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "Bad Request", ""},
    {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Method Not Allowed", "CONNECT"},
    {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "Expectation Failed", "100-continue"},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", "* is for OPTIONS"},
    {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", ""},
    {"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", "target without a path"},
    {"GET http://a?b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", "target without a path"},
    {"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", ""},
    {"GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", "malformed host"},
    {"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request", ""},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
     "Not Implemented", "chunked"},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP Version Not Supported",
     "unsupported protocol version"},
    {"POST /want HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400,
     "Bad Request", ""},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct app *a = app_new();
        struct peer p;
        char begin[128];

        app_open(a, &p);
        peer_send(&p, slice_str(bad[i].in));
        peer_wait_end(&p);
        assert_int_equal(p.error, 0);
        assert_true(
            snprintf(
                begin, sizeof(begin),
                "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ",
                bad[i].status, bad[i].reason) < (int)sizeof(begin));
        (void)peer_take_text(&p);
        if (strncmp(p.in, begin, strlen(begin)) != 0) {
            print_error("%s: %s\n", bad[i].in, p.in);
        }
        assert_memory_equal(p.in, begin, strlen(begin));
        assert_non_null(strstr(p.in, "\r\nConnection: close\r\n\r\n"));
        assert_true(
            snprintf(begin, sizeof(begin), "\r\n\r\n%u %s: ", bad[i].status, bad[i].reason) > 0);
        assert_non_null(strstr(p.in, begin));
        assert_non_null(strstr(p.in, bad[i].says));
        assert_null(a->q);
        app_close(a, &p);
        free(a);
    }
    assert_int_equal(counters.values[COUNTER_HTTP_BAD], sizeof(bad) / sizeof(bad[0]));
}

/* Left to the handler: behind a reply that was queued before, and as late as it likes. */
static void on_broken(void *owner, unsigned status, const char *reason)
{
    struct app *a = owner;

    assert_non_null(a->q);
    a->told_len += (size_t)snprintf(a->told + a->told_len, sizeof(a->told) - a->told_len,
                                    "broken %u %s\n", status, reason);
}

static void check_broken(struct slice rest, const char *told)
{
    struct http_server_ops ops = app_ops;
    struct app *a = app_new();
    struct peer p;

    ops.broken = on_broken;
    a->limits.body_timeout_ms = 20;
    a->server = http_server_new(loop, &ops, a, &a->limits);
    app_connect(a, &p);
    peer_send(&p, SLICE("GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
                        "PUT /want HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    peer_send(&p, rest);
    app_wait(a, told);
    peer_send(&p, SLICE("0\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n")); /* of no interest */
    http_reply_simple(&a->q, 418, SLICE("text/tea"), SLICE("no"));
    peer_wait_end(&p);
    assert_string_equal(
        peer_take_text(&p),
        HI "HTTP/1.1 418 \r\nContent-Type: text/tea\r\nContent-Length: 2\r\nConnection: "
           "close\r\n\r\nno");
    assert_false(app_was_told(a, "end\n"));
    assert_false(app_was_told(a, "gone\n"));
    app_close(a, &p);
    free(a);
}

static void test_broken_is_the_handlers(void **state)
{
    (void)state;
    check_broken(SLICE("zz\r\n"), "broken 400 Invalid character in chunk size\n");
    check_broken(SLICE("1\r\nx"), "broken 408 the body of the request took too long\n");
}

static void test_too_large(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, SLICE("GET /now HTTP/1.1\r\nHost: a\r\nX: "));
    for (int i = 0; i < 5000; i++) {
        peer_send(&p, SLICE("xxxxxxxxxxxxxxxx"));
    }
    peer_wait_end(&p);
    assert_int_equal(p.error, 0);
    assert_non_null(strstr(peer_take_text(&p), "HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    app_close(a, &p);
    free(a);
}

static bool all_read(void *arg)
{
    return (size_t)counters.values[COUNTER_BYTES_FROM_CLIENTS] >= *(size_t *)arg;
}

/* The same requests cut at every point, and byte by byte, get the same replies. */
static void test_every_cut(void **state)
{
    static const struct slice in = SLICE(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n"
        "\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nConnection: "
        "close\r\nContent-Length: 2\r\n\r\nhi");
    static const char expected[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nabcde" HI HI_CLOSE;
    struct app *a = app_new();

    (void)state;
    for (size_t cut = 0; cut < in.len; cut++) {
        size_t step = cut == 0 ? 1 : in.len; /* cut 0: byte by byte */
        struct peer p;

        counters.values[COUNTER_BYTES_FROM_CLIENTS] = 0;
        a->told_len = 0;
        app_open(a, &p);
        for (size_t at = 0, len = cut == 0 ? 1 : cut; at < in.len; len = step) {
            len = len < in.len - at ? len : in.len - at;
            peer_send(&p, slice_of(in.ptr + at, len));
            at += len;
            run_until(all_read, &at);
        }
        peer_wait_end(&p);
        assert_string_equal(peer_take_text(&p), expected);
        assert_string_equal(a->told, "POST /echo\nend\nGET /now\nPOST /echo\nend\n");
        app_close(a, &p);
    }
    free(a);
}

/* --- streams
 * ----------------------------------------------------------------------------------------- */

static void reply_in_chunks(struct app *a)
{
    const struct http_header header = {SLICE("X-A"), SLICE("b")};
    const struct slice pieces[] = {SLICE("{\"x\":1}"), SLICE(""), SLICE("\n")};

    assert_false(http_reply_started(a->q));
    http_reply_head(a->q, 200, &header, 1, HTTP_LENGTH_CHUNKED);
    assert_true(http_reply_started(a->q));
    http_reply_body(a->q, SLICE("one"));
    http_reply_body(a->q, SLICE(""));
    http_reply_bodyv(a->q, pieces, 3);
    http_reply_bodyv(a->q, pieces, 0);
}

static void check_stream(const char *request, const char *expected)
{
    struct app *a = app_new();
    struct peer p;

    app_open(a, &p);
    peer_send(&p, slice_str(request));
    app_wait(a, "end\n");
    reply_in_chunks(a);
    http_reply_end(&a->q);
    assert_null(a->q);
    peer_send(&p, SLICE("GET /now HTTP/1.0\r\n\r\n"));
    peer_wait_end(&p);
    assert_int_equal(p.error, 0);
    assert_string_equal(peer_take_text(&p), expected);
    app_close(a, &p);
    free(a);
}

static void test_streams(void **state)
{
    (void)state;
    check_stream("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
                 "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\none\r\n8\r\n{\"x\":1}\n"
                 "\r\n0\r\n\r\n" HI_CLOSE);
    check_stream("HEAD /hold HTTP/1.1\r\nHost: a\r\n\r\n",
                 "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n" HI_CLOSE);
    check_stream("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                 "HTTP/1.1 200 OK\r\nX-A: b\r\nConnection: close\r\n\r\none{\"x\":1}\n");
}

static void test_lengths(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, SLICE("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    app_wait(a, "end\n");
    http_reply_head(a->q, 204, NULL, 0, HTTP_LENGTH_NONE);
    http_reply_body(a->q, SLICE("dropped"));
    http_reply_end(&a->q);
    peer_send(&p, SLICE("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    app_wait(a, "end\nGET /hold\nend\n");
    http_reply_head(a->q, 299, NULL, 0, 5);
    http_reply_body(a->q, SLICE("abc"));
    http_reply_body(a->q, SLICE("defg")); /* two more than announced */
    http_reply_end(&a->q);
    peer_send(&p, SLICE("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    app_wait(a, "end\nGET /hold\nend\nGET /hold\nend\n");
    http_reply_head(a->q, 200, NULL, 0, 5);
    http_reply_body(a->q, SLICE("abc"));
    http_reply_end(&a->q); /* two short: the client sees that by the end of the connection */
    peer_wait_end(&p);
    assert_string_equal(
        peer_take_text(&p),
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 299 \r\nContent-Length: 5\r\n\r\nabcde"
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    app_close(a, &p);
    free(a);
}

/* The second request is not looked at before the first reply is over, however much of it came. */
static void test_pipelined_waits(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    app_open(a, &p);
    peer_send(&p, SLICE("GET /hold?1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /hold?2 HTTP/1.1\r\nHost: "
                        "a\r\nContent-Length: 3\r\n\r\nab"));
    app_wait(a, "end\n");
    run_turns(5);
    peer_send(&p, SLICE("cGET /now HTTP/1.1\r\nHost: a\r\n\r\n"));
    run_turns(5);
    assert_string_equal(a->told, "GET /hold?1\nend\n");
    assert_true(slice_eq(a->head->target, SLICE("/hold?1")));
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("hi"));
    app_wait(a, "POST /hold?2\nend\n");
    run_turns(5);
    assert_string_equal(a->told, "GET /hold?1\nend\nPOST /hold?2\nend\n");
    assert_true(slice_eq(slice_of(a->body, a->body_len), SLICE("abc")));
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("hi"));
    app_wait(a, "GET /now\n");
    peer_wait_text(&p, "hiHTTP/1.1 200 OK");
    peer_wait_bytes(&p, 3 * (strlen(HI) + 37));
    assert_string_equal(peer_take_text(&p), HI HI HI);
    app_close(a, &p);
    free(a);
}

/* A request that came while the reply was going on is taken up in a later turn when the reply ends
 * in a callback of its own. */
static void end_reply(struct app *a)
{
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("hi"));
}

static void test_reply_in_every_callback(void **state)
{
    static const char *const places[] = {"request", "body", "end"};

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct app *a = app_new();
        struct peer p;

        a->act_in = places[i];
        a->act = end_reply;
        app_open(a, &p);
        for (int round = 0; round < 2; round++) {
            peer_send(&p, SLICE("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"));
        }
        peer_wait_text(&p, "hiHTTP/1.1");
        peer_wait_bytes(&p, 2 * (strlen(HI) + 37));
        assert_string_equal(peer_take_text(&p), HI HI);
        assert_int_equal(http_server_open(a->server), 1);
        app_close(a, &p);
        free(a);
    }
}

/* --- request bodies
 * ---------------------------------------------------------------------------------- */

static void test_paused_body(void **state)
{
    struct app *a = app_new();
    struct peer p;
    struct buf body = {0};

    (void)state;
    app_open(a, &p);
    peer_send(&p, SLICE("PUT /pause HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
                        "1000000\r\n\r\n"));
    app_wait(a, "PUT /pause\n");
    for (int i = 0; i < 10; i++) {
        assert_true(buf_append(&body, SLICE("0123456789")));
    }
    http_request_continue(a->q);
    peer_wait_text(&p, "HTTP/1.1 100 Continue\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        peer_send(&p, buf_slice(&body)); /* stays in the kernel */
    }
    run_turns(5);
    assert_int_equal(a->body_total, 0);
    http_request_resume(a->q);
    for (int i = 100; i < 10000; i++) {
        peer_send(&p, buf_slice(&body));
    }
    app_wait(a, "end\n");
    assert_int_equal(a->body_total, 1000000);
    assert_memory_equal(a->body + 60000, "0123456789", 10);
    http_request_pause(a->q); /* nothing left to pause */
    http_request_resume(a->q);
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("hi"));
    peer_wait_text(&p, "\r\n\r\nhi");
    buf_fini(&body);
    app_close(a, &p);
    free(a);
}

static void pause_body(struct app *a)
{
    http_request_pause(a->q);
}

/* Paused in each body callback, the body comes in pieces and its end with the last resume. */
static void test_pause_in_body(void **state)
{
    struct app *a = app_new();
    struct peer p;

    (void)state;
    a->act_in = "body";
    a->act = pause_body;
    app_open(a, &p);
    peer_send(&p, SLICE("PUT /want HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"
                        "1\r\nc\r\n0\r\n\r\n"));
    app_wait(a, "PUT /want\n");
    for (size_t total = 1; total <= 3; total++) {
        run_turns(5);
        assert_int_equal(a->body_total, total);
        assert_false(app_was_told(a, "end"));
        http_request_resume(a->q);
    }
    app_wait(a, "end\n");
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("hi"));
    peer_wait_text(&p, "\r\n\r\nhi");
    app_close(a, &p);
    free(a);
}

/* An early reply arrives though the client is still sending; the connection is not kept where the
 * rest of the body is long. */
static void check_long_body(const char *head, bool closes)
{
    struct app *a = app_new();
    struct peer p;
    struct buf chunk = {0};

    for (int i = 0; i < 4096; i++) {
        assert_true(buf_append(&chunk, SLICE("2\r\nab\r\n")));
    }
    app_open(a, &p);
    peer_send(&p, slice_str(head));
    peer_wait_text(&p, "\r\n\r\nno");
    assert_true((strstr(p.in, "Connection: close") != NULL) == closes);
    for (int i = 0; i < 150; i++) {
        peer_send(&p, buf_slice(&chunk));
    }
    app_wait_closed(a);
    peer_half_close(&p);
    peer_wait_end(&p);
    assert_int_equal(p.error, 0);
    buf_fini(&chunk);
    app_close(a, &p);
    free(a);
}

static void test_long_body_dropped(void **state)
{
    (void)state;
    check_long_body("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                    false);
    check_long_body("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", true);
}

/* An upload that is answered in its middle: its sender is told that nobody waits for the rest. */
static void test_chunked_upload_answered_early(void **state)
{
    struct app *a = app_new();
    struct buf chunk = {0};
    struct peer p;

    (void)state;
    assert_true(buf_append(&chunk, SLICE("8000\r\n")));
    for (int i = 0; i < 0x8000; i++) {
        assert_true(buf_append(&chunk, SLICE("x")));
    }
    assert_true(buf_append(&chunk, SLICE("\r\n")));
    app_open(a, &p);
    peer_send(&p, SLICE("POST /want HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    app_wait(a, "POST /want\n");
    for (int i = 0; i < 3; i++) {
        peer_send(&p, buf_slice(&chunk));
    }
    while (a->body_total < 3 * 0x8000) {
        run_turns(1);
    }
    http_reply_simple(&a->q, 200, SLICE("text/plain"), SLICE("there"));
    peer_wait_text(&p, "\r\n\r\nthere");
    assert_non_null(strstr(p.in, "Connection: close"));
    app_wait_closed(a);
    buf_fini(&chunk);
    app_close(a, &p);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(test_dialogues),
        IO_TEST(test_bad),
        IO_TEST(test_broken_is_the_handlers),
        IO_TEST(test_too_large),
        IO_TEST(test_every_cut),
        IO_TEST(test_streams),
        IO_TEST(test_lengths),
        IO_TEST(test_pipelined_waits),
        IO_TEST(test_reply_in_every_callback),
        IO_TEST(test_paused_body),
        IO_TEST(test_pause_in_body),
        IO_TEST(test_long_body_dropped),
        IO_TEST(test_chunked_upload_answered_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
