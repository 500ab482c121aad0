/* SPDX-License-Identifier: Apache-2.0 */
/* The whole gateway on one loop, between a client and a node that allocate nothing themselves: once
 * warm, requests and parts cost no allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/block.h"
#include "gateway/acceptor.h"
#include "reactor/sock.h"
#include "whole_gateway.h"
#include "wire/frame.h"

enum { PARTS = 32, WARM_UP = 50, ROUNDS = 5, REQUESTS = 20, IN_BYTES = 64 * 1024 };

#define PART "{\"model\":\"m:latest\",\"response\":\" word\",\"done\":false}\n"
#define LAST "{\"model\":\"m:latest\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: "
#define LENGTH_OF(text) ((int)sizeof(text) - 1)

static struct loop *loop;
static struct gateway gateway;
static struct config *config;

/* Whichever end of a connection the test has. */
struct end {
    struct sock *sock;
    char in[IN_BYTES];
    size_t len;
    struct task more; /* node: the next part */
    size_t parts_left;
    bool by_part;
};

static struct listener *node_listener;
static struct end node_ends[8];
static size_t node_end_count;
static bool parts_one_by_one;
static struct end user;
static struct slice user_mark; /* what the answer ends with */

static bool ends_with(const struct end *e, struct slice mark)
{
    return e->len >= mark.len && memcmp(e->in + e->len - mark.len, mark.ptr, mark.len) == 0;
}

static bool holds(const struct end *e, const char *text)
{
    return memmem(e->in, e->len, text, strlen(text)) != NULL;
}

/* --- the node */

static void put(struct end *e, const char *text)
{
    assert_true(sock_write(e->sock, slice_str(text)));
}

static void put_part(struct end *e, const char *part)
{
    char size[32];

    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(part));
    put(e, size);
    put(e, part);
    put(e, "\r\n");
}

static void put_more(void *owner)
{
    struct end *e = owner;

    do {
        e->parts_left--;
        put_part(e, e->parts_left > 0 ? PART : LAST);
    } while (e->parts_left > 0 && !e->by_part);
    if (e->parts_left > 0) {
        task_defer(loop, &e->more);
    } else {
        put(e, "0\r\n\r\n");
    }
}

static void node_answer(struct end *e)
{
    static const char version[] = "{\"version\":\"0.33.0\"}";
    static const char tags[] = "{\"models\":[{\"name\":\"m:latest\"}]}";
    char head[128];
    const char *body = NULL;

    if (holds(e, "GET /api/version ")) {
        body = version;
    } else if (holds(e, "GET ")) {
        body = holds(e, "/api/tags") ? tags : "{\"models\":[]}";
    } else if (holds(e, "\"stream\":false")) {
        body = LAST;
    }
    if (body == NULL) {
        put(e, HEAD "application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
        e->parts_left = PARTS;
        e->by_part = parts_one_by_one;
        put_more(e);
        return;
    }
    (void)snprintf(head, sizeof(head), HEAD "application/json\r\nContent-Length: %zu\r\n\r\n",
                   strlen(body));
    put(e, head);
    put(e, body);
}

static void on_node_data(void *owner, struct slice in)
{
    struct end *e = owner;

    assert_true(e->len + in.len <= sizeof(e->in));
    memcpy(e->in + e->len, in.ptr, in.len);
    e->len += in.len;
    if (ends_with(e, SLICE("}")) || (holds(e, "GET ") && ends_with(e, SLICE("\r\n\r\n")))) {
        node_answer(e);
        e->len = 0;
    }
}

static void on_gone(void *owner)
{
    struct end *e = owner;

    task_cancel(loop, &e->more);
    sock_close(&e->sock, false);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    on_gone(owner);
}

static const struct sock_ops node_ops = {.data = on_node_data, .eof = on_gone, .closed = on_closed};

static void on_node_accept(void *owner, int fd, const struct addr *peer)
{
    struct end *e = &node_ends[node_end_count++];

    (void)owner;
    (void)peer;
    assert_true(node_end_count <= sizeof(node_ends) / sizeof(node_ends[0]));
    task_init(&e->more, put_more, e);
    e->sock = sock_adopt(loop, fd, &node_ops, e);
    assert_non_null(e->sock);
}

/* --- the user */

static void on_connected(void *owner)
{
    (void)owner;
}

static void on_user_data(void *owner, struct slice in)
{
    assert_ptr_equal(owner, &user);
    assert_true(user.len + in.len <= sizeof(user.in));
    memcpy(user.in + user.len, in.ptr, in.len);
    user.len += in.len;
    if (ends_with(&user, user_mark)) {
        loop_stop(loop);
    }
}

static const struct sock_ops user_ops = {
    .connected = on_connected, .data = on_user_data, .eof = on_gone, .closed = on_closed};

static size_t count_in_answer(const char *text)
{
    size_t count = 0;
    const char *at = user.in;

    while ((at = memmem(at, (size_t)(user.in + user.len - at), text, strlen(text))) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* --- the test */

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static int setup(void **state)
{
    (void)state;
    blocks_set_keeping(true);
    loop = loop_new();
    assert_non_null(loop);
    node_listener = whole_gateway_open(&gateway, &config, loop, on_node_accept);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gateway_stop(&gateway, stop, NULL);
    loop_run(loop);
    gateway_close(&gateway);
    for (size_t i = 0; i < node_end_count; i++) {
        if (node_ends[i].sock != NULL) {
            on_gone(&node_ends[i]);
        }
    }
    listener_free(&node_listener);
    loop_free(&loop);
    config_unref(&config);
    return 0;
}

static void ask(struct slice request, size_t parts)
{
    user.len = 0;
    assert_true(sock_write(user.sock, request));
    loop_run(loop);
    assert_int_equal(count_in_answer("\"done\":false"), parts - 1);
    assert_int_equal(count_in_answer("\"done\":true"), 1);
}

/* Polls allocate, and may fall into some of the rounds, never into all: what a request allocates
 * shows in each. */
static void check(const struct addr *at, struct slice hello, struct slice request,
                  struct slice mark, size_t parts)
{
    size_t least = SIZE_MAX;

    user.sock = sock_connect(loop, at, &user_ops, &user);
    assert_non_null(user.sock);
    if (hello.len > 0) {
        user.len = 0;
        user_mark = SLICE("}"); /* of WELCOME */
        assert_true(sock_write(user.sock, hello));
        loop_run(loop);
    }
    user_mark = mark;
    for (int i = 0; i < WARM_UP; i++) {
        ask(request, parts);
    }
    for (int round = 0; round < ROUNDS; round++) {
        alloc_fault_at(0);
        for (int i = 0; i < REQUESTS; i++) {
            ask(request, parts);
        }
        least = alloc_fault_count() < least ? alloc_fault_count() : least;
    }
    assert_int_equal(least, 0);
    sock_close(&user.sock, false);
}

#define SHORT_BODY "{\"model\":\"m\",\"prompt\":\"Why is the sky blue?\",\"stream\":false}"
#define STREAM_BODY "{\"model\":\"m\",\"prompt\":\"Why is the sky blue?\",\"options\":{}}"

static void check_http(const char *body, struct slice mark, size_t parts)
{
    struct buf request = {0};

    buf_printf(&request,
               "POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               strlen(body), body);
    check(acceptor_addr(gateway.http), SLICE(""), buf_slice(&request), mark, parts);
    buf_fini(&request);
}

/* `hello` NULL: the base profile. */
static void check_mcp(const char *hello, const char *body, size_t parts)
{
    struct buf request = {0}, greeting = {0};

    assert_true(wire_frame_append(&request, WIRE_OP_REQUEST, 1, slice_str(body)));
    if (hello != NULL) {
        assert_true(wire_frame_append(&greeting, WIRE_OP_HELLO, 0, slice_str(hello)));
    }
    check(acceptor_addr(gateway.mcp), buf_slice(&greeting), buf_slice(&request),
          slice_of(LAST, (size_t)LENGTH_OF(LAST) - 1), parts);
    buf_fini(&request);
    buf_fini(&greeting);
}

static void short_answers_over_http(void **state)
{
    (void)state;
    check_http(SHORT_BODY, slice_str(LAST), 1);
}

static void streams_over_http(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        parts_one_by_one = i == 1;
        check_http(STREAM_BODY, SLICE("0\r\n\r\n"), PARTS);
    }
}

static void short_answers_over_mcp(void **state)
{
    (void)state;
    check_mcp(NULL, SHORT_BODY, 1);
}

static void streams_over_mcp(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        parts_one_by_one = i == 1;
        check_mcp(NULL, STREAM_BODY, PARTS);
    }
}

#define HELLO "{\"features\":[\"ack\",\"cancel\",\"credit\",\"goaway\",\"chunk\"]}"

static void answers_over_negotiated_mcp(void **state)
{
    (void)state;
    check_mcp(HELLO, SHORT_BODY, 1);
    for (int i = 0; i < 2; i++) {
        parts_one_by_one = i == 1;
        check_mcp(HELLO, STREAM_BODY, PARTS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_answers_over_http),     cmocka_unit_test(streams_over_http),
        cmocka_unit_test(short_answers_over_mcp),      cmocka_unit_test(streams_over_mcp),
        cmocka_unit_test(answers_over_negotiated_mcp),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
