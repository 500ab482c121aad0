/* SPDX-License-Identifier: Apache-2.0 */
/* One request on each face of the whole gateway, again and again, with the i-th system call or the
 * i-th allocation going wrong, for every i: of the client's and the node's ends too, which are on
 * the same loop. What happens in good health changes no byte of the answer; whatever else happens
 * comes to an end, says so, and is over with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "call_fault.h"
#include "gateway/acceptor.h"
#include "http/parse/message.h"
#include "reactor/sock.h"
#include "whole_gateway.h"
#include "wire/frame.h"

enum { PARTS = 3, IN_BYTES = 16 * 1024, LIMIT_MS = 20 * 1000, NODE_ENDS = 32 };

#define PART "{\"model\":\"m:latest\",\"response\":\" word\",\"done\":false}"
#define LAST "{\"model\":\"m:latest\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}"
#define BODY "{\"model\":\"m\",\"prompt\":\"Why is the sky blue?\"}"
#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "

/* Whichever end of a connection the test has. */
struct end {
    struct sock *sock;
    char in[IN_BYTES];
    size_t len;
    bool over;
};

static struct loop *loop;
static struct gateway gateway;
static struct config *config;
static struct listener *node_listener;
static struct end node_ends[NODE_ENDS];
static size_t node_end_count;
static struct end user;
static struct buf request;
static enum exchange_face face;
static struct timer limit;
static bool timed_out;

static bool holds(const struct end *e, const char *text)
{
    return memmem(e->in, e->len, text, strlen(text)) != NULL;
}

static void keep(struct end *e, struct slice in)
{
    assert_true(e->len + in.len <= sizeof(e->in));
    memcpy(e->in + e->len, in.ptr, in.len);
    e->len += in.len;
}

static void close_end(struct end *e)
{
    sock_close(&e->sock, false);
    e->over = true;
}

/* --- the node */

static void put(struct end *e, const char *text)
{
    (void)sock_write(e->sock, slice_str(text)); /* out of memory comes as closed too */
}

static void put_part(struct end *e, const char *part)
{
    char size[32];

    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(part) + 1);
    put(e, size);
    put(e, part);
    put(e, "\n\r\n");
}

static void node_answer(struct end *e)
{
    char head[256];
    const char *body = "{\"models\":[]}";

    if (holds(e, "POST ")) {
        put(e, HEAD "application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 1; i < PARTS; i++) {
            put_part(e, PART);
        }
        put_part(e, LAST);
        put(e, "0\r\n\r\n");
    } else {
        if (holds(e, "GET /api/version ")) {
            body = "{\"version\":\"0.33.0\"}";
        } else if (holds(e, "GET /api/tags ")) {
            body = "{\"models\":[{\"name\":\"m:latest\"}]}";
        }
        (void)snprintf(head, sizeof(head), HEAD "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       strlen(body), body);
        put(e, head);
    }
    sock_shutdown(e->sock);
}

static void on_node_data(void *owner, struct slice in)
{
    struct end *e = owner;

    keep(e, in);
    if (e->in[e->len - 1] == '}' || (holds(e, "GET ") && holds(e, "\r\n\r\n"))) {
        node_answer(e);
    }
}

static void on_node_gone(void *owner)
{
    close_end(owner);
}

static void on_node_closed(void *owner, int error)
{
    (void)error;
    close_end(owner);
}

static const struct sock_ops node_ops = {
    .data = on_node_data, .eof = on_node_gone, .closed = on_node_closed};

static void on_node_accept(void *owner, int fd, const struct addr *peer)
{
    struct end *e = &node_ends[node_end_count++];

    (void)owner;
    (void)peer;
    assert_true(node_end_count <= NODE_ENDS);
    *e = (struct end){.over = false};
    e->sock = sock_adopt(loop, fd, &node_ops, e); /* NULL: closed, which the gateway sees */
}

/* --- the user */

static void on_connected(void *owner)
{
    (void)owner;
}

static void user_over(void)
{
    user.over = true;
    loop_stop(loop);
}

static void on_user_data(void *owner, struct slice in)
{
    (void)owner;
    keep(&user, in);
    if (face == FACE_MCP && user.in[user.len - 1] == '}' && holds(&user, "\"done\":true")) {
        user_over();
    }
}

static void on_user_gone(void *owner)
{
    (void)owner;
    user_over();
}

static void on_user_closed(void *owner, int error)
{
    (void)owner;
    (void)error;
    user_over();
}

static const struct sock_ops user_ops = {
    .connected = on_connected, .data = on_user_data, .eof = on_user_gone, .closed = on_user_closed};

/* Made before anything goes wrong. */
static void make_request(void)
{
    buf_clear(&request);
    if (face == FACE_MCP) {
        assert_true(wire_frame_append(&request, WIRE_OP_REQUEST, 1, SLICE(BODY)));
        return;
    }
    assert_true(buf_printf(&request,
                           "POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                           "Connection: close\r\nContent-Length: %zu\r\n\r\n" BODY,
                           strlen(BODY)));
}

/* One request on a connection of its own, to its end. */
static void ask(void)
{
    const struct addr *at = acceptor_addr(face == FACE_MCP ? gateway.mcp : gateway.http);

    user = (struct end){.sock = sock_connect(loop, at, &user_ops, &user)};
    if (user.sock == NULL) {
        return;
    }
    (void)sock_write(user.sock, buf_slice(&request)); /* out of memory comes as closed too */
    timer_arm(loop, &limit, LIMIT_MS);
    loop_run(loop);
    timer_cancel(loop, &limit);
    assert_false(timed_out);
    assert_true(user.over);
    sock_close(&user.sock, false);
}

static bool mcp_is_whole(void)
{
    struct buf expected = {0};
    bool same;

    for (int i = 1; i <= PARTS; i++) {
        assert_true(wire_frame_append(&expected, WIRE_OP_RESPONSE, 1,
                                      i < PARTS ? SLICE(PART) : SLICE(LAST)));
    }
    same = slice_eq(buf_slice(&expected), slice_of(user.in, user.len));
    buf_fini(&expected);
    return same;
}

static bool http_is_whole(void)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_RESPONSES);
    struct http_event ev = {.kind = HTTP_EV_HEAD};
    struct buf body = {0};
    struct buf expected = {0};
    size_t used = 0;
    bool whole = true;

    assert_non_null(p);
    while (whole && ev.kind != HTTP_EV_MORE && ev.kind != HTTP_EV_END) {
        ptrdiff_t n = http_parser_feed(p, slice_of(user.in + used, user.len - used), &ev, NULL);

        assert_true(n >= 0);
        used += (size_t)n;
        whole = ev.kind != HTTP_EV_HEAD || ev.head->status == 200;
        assert_true(ev.kind != HTTP_EV_BODY || buf_append(&body, ev.body));
    }
    for (int i = 1; i <= PARTS; i++) {
        assert_true(buf_append_str(&expected, i < PARTS ? PART "\n" : LAST "\n"));
    }
    whole = whole && ev.kind == HTTP_EV_END && used == user.len &&
            slice_eq(buf_slice(&body), buf_slice(&expected));
    buf_fini(&body);
    buf_fini(&expected);
    http_parser_free(&p);
    return whole;
}

static bool is_whole(void)
{
    return face == FACE_MCP ? mcp_is_whole() : http_is_whole();
}

/* --- the gateway */

static void on_limit(void *owner)
{
    (void)owner;
    timed_out = true;
    loop_stop(loop);
}

static void on_tick(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static void open_gateway(void)
{
    make_request();
    call_fault_at(CALL_FAULT_SHORT, 0);
    loop = loop_new_on(&backend_epoll, &call_fault_sys);
    assert_non_null(loop);
    timer_init(&limit, on_limit, NULL);
    timed_out = false;
    node_end_count = 0;
    node_listener = whole_gateway_open(&gateway, &config, loop, on_node_accept);
}

static void close_gateway(void)
{
    timer_arm(loop, &limit, LIMIT_MS);
    gateway_stop(&gateway, on_tick, NULL);
    loop_run(loop);
    timer_cancel(loop, &limit);
    assert_false(timed_out);
    gateway_close(&gateway);
    for (size_t i = 0; i < node_end_count; i++) {
        sock_close(&node_ends[i].sock, false);
    }
    listener_free(&node_listener);
    loop_free(&loop);
    config_unref(&config);
    buf_fini(&request);
}

/* --- the tests */

/* A node that it lost is found again by its next poll. */
static void check_well(void)
{
    whole_gateway_wait_ready(&gateway, loop);
    ask();
    assert_true(is_whole());
}

static void check_calls(enum call_fault fault)
{
    size_t fatal = 0;
    size_t at = 0;
    size_t count;

    do {
        at++;
        open_gateway();
        call_fault_at(fault, at);
        ask();
        count = call_fault_count();
        fatal += call_fault_was_fatal() ? 1 : 0;
        assert_true(call_fault_was_fatal() || is_whole());
        call_fault_at(fault, 0);
        check_well();
        close_gateway();
    } while (count >= at);
    assert_true(at > 15);
    assert_int_equal(fatal > 3, fault == CALL_FAULT_ECONNRESET || fault == CALL_FAULT_ENOMEM);
}

static void check_face(void **state, enum call_fault fault)
{
    face = *(const enum exchange_face *)*state;
    check_calls(fault);
}

static void short_calls(void **state)
{
    check_face(state, CALL_FAULT_SHORT);
}

static void calls_to_be_made_again(void **state)
{
    check_face(state, CALL_FAULT_EAGAIN);
    check_face(state, CALL_FAULT_EINTR);
}

static void calls_that_end_a_connection(void **state)
{
    check_face(state, CALL_FAULT_ECONNRESET);
    check_face(state, CALL_FAULT_ENOMEM);
}

static void no_memory(void **state)
{
    size_t at = 0;
    size_t whole = 0;
    size_t count;

    face = *(const enum exchange_face *)*state;
    do {
        at++;
        open_gateway();
        alloc_fault_at(at);
        ask();
        count = alloc_fault_count();
        alloc_fault_at(0);
        whole += is_whole() ? 1 : 0;
        check_well();
        close_gateway();
    } while (count >= at);
    assert_true(at > 20);
    assert_true(whole > 0 && whole < at);
}

int main(void)
{
    static enum exchange_face http = FACE_HTTP;
    static enum exchange_face mcp = FACE_MCP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(short_calls, &http),
        cmocka_unit_test_prestate(short_calls, &mcp),
        cmocka_unit_test_prestate(calls_to_be_made_again, &http),
        cmocka_unit_test_prestate(calls_to_be_made_again, &mcp),
        cmocka_unit_test_prestate(calls_that_end_a_connection, &http),
        cmocka_unit_test_prestate(calls_that_end_a_connection, &mcp),
        cmocka_unit_test_prestate(no_memory, &http),
        cmocka_unit_test_prestate(no_memory, &mcp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
