/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "asker.h"
#include "server.h"
#include "wire/frame.h"

/* The base profile. */
static struct mcp_client *client_to(const char *address, int retries, const char *key)
{
    return client_offering(0, address, retries, key);
}

/* --- exchanges -----------------------------------------------------------------------------------
 */

static void script_two_sessions(struct server *s)
{
    int fd = server_accept(s);

    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 5, "session 5");
    server_check(s,
                 slice_eq(buf_slice(&s->payload),
                          SLICE("{\"mcp\":{\"auth\":\"k\\\"\"},\"model\":\"m\",\"prompt\":\"a\"}")),
                 "the body with the key");
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 6, "session 6");
    server_write(s, fd, WIRE_OP_RESPONSE, 6, "{\"done\":false}");
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":false}");
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_write(s, fd, WIRE_OP_RESPONSE, 6,
                 "{\"error\":\"no\",\"code\":\"upstream_error\",\"done\":true}");
    server_wait_closed(s, fd);
}

static void two_sessions(enum server_where where)
{
    struct server s;
    struct mcp_client *c;

    server_start(&s, where, script_two_sessions);
    c = client_to(s.address, 3, "k\"");
    assert_int_equal(request(c, 5, GENERATE), MCP_ECLOSED); /* not connected yet */
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, GENERATE), 0);
    assert_int_equal(request(c, 6, GENERATE), 0);
    assert_int_equal(request(c, 6, GENERATE), MCP_ESESSION_BUSY);
    assert_non_null(strstr(mcp_client_error(c), "session 6"));
    assert_int_equal(mcp_client_in_flight(c), 2);
    expect_part(c, 6, "{\"done\":false}", false, 0);
    expect_part(c, 5, "{\"done\":false}", false, 0);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    expect_part(c, 6, NULL, true, MCP_EUPSTREAM_ERROR);
    assert_int_equal(mcp_client_in_flight(c), 0);
    mcp_client_free(&c);
    assert_null(c);
    server_stop(&s);
}

static void parts_arrive_over_tcp(void **state)
{
    (void)state;
    two_sessions(SERVER_TCP);
}

static void parts_arrive_over_a_unix_socket(void **state)
{
    (void)state;
    two_sessions(SERVER_UNIX);
}

enum { BIG = 3 * 1024 * 1024 };

/* Reads nothing before it has written: only a client that reads while it writes gets through. */
static void script_big(struct server *s)
{
    char *json = malloc(BIG + 1);
    int fd = server_accept(s);

    server_check(s, json != NULL, "memory");
    memset(json, ' ', BIG);
    json[BIG] = '\0';
    memcpy(json, "{\"a\":", 5);
    memcpy(json + BIG - 2, "1}", 2);
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 1, "session 1");
    server_write(s, fd, WIRE_OP_RESPONSE, 1, json);
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 2, "session 2");
    server_check(s, buf_len(&s->payload) > BIG, "a big request");
    server_write(s, fd, WIRE_OP_RESPONSE, 2, "{}");
    server_wait_closed(s, fd);
    free(json);
}

static void big_frames_go_both_ways_at_once(void **state)
{
    struct server s;
    struct mcp_client *c;
    char *json = malloc(BIG + 100);

    (void)state;
    assert_non_null(json);
    server_start(&s, SERVER_UNIX, script_big);
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    memset(json, ' ', BIG + 100);
    memcpy(json, LIST, strlen(LIST) - 1);
    json[BIG + 99] = '}';
    assert_int_equal(request(c, 1, LIST), 0);
    assert_int_equal(mcp_client_request(c, 2, json, BIG + 100), 0);
    expect_part(c, 1, NULL, true, 0);
    expect_part(c, 2, "{}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
    free(json);
}

static void script_heartbeat(struct server *s)
{
    int fd = server_accept(s);
    struct buf echo = {0};

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":false}");
    server_read(s, fd, WIRE_OP_HEARTBEAT);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    wire_frame_append(&echo, WIRE_OP_HEARTBEAT, 0, buf_slice(&s->payload));
    server_write_bytes(s, fd, buf_slice(&echo));
    server_wait_closed(s, fd);
    buf_fini(&echo);
}

static void a_heartbeat_measures_and_keeps_the_parts(void **state)
{
    struct server s;
    struct mcp_client *c;
    uint64_t us = 0;

    (void)state;
    server_start(&s, SERVER_TCP, script_heartbeat);
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_heartbeat(c, 10, &us), MCP_ECLOSED);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, GENERATE), 0);
    assert_int_equal(mcp_client_heartbeat(c, PATIENCE_MS, &us), 0);
    assert_in_range(us, 1, PATIENCE_MS * 1000);
    assert_int_equal(mcp_client_in_flight(c), 1);
    expect_part(c, 5, "{\"done\":false}", false, 0);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

/* --- waiting
 * --------------------------------------------------------------------------------------- */

static void script_silent(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_wait_closed(s, fd);
}

static void *interrupt(void *arg)
{
    mcp_client_interrupt(arg);
    return NULL;
}

static void waiting_ends_by_time_or_interrupt(void **state)
{
    const struct mcp_part *part;
    struct server s;
    struct mcp_client *c;
    pthread_t thread;

    (void)state;
    server_start(&s, SERVER_UNIX, script_silent);
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(mcp_client_receive(c, 0, &part), MCP_EARGUMENT); /* nothing to wait for */
    assert_int_equal(request(c, 0, GENERATE), MCP_EARGUMENT);
    assert_int_equal(request(c, 5, "{"), MCP_EBAD_REQUEST);
    assert_int_equal(request(c, 5, GENERATE), 0);
    assert_int_equal(mcp_client_receive(c, 0, &part), MCP_ETIMEOUT);
    assert_int_equal(mcp_client_receive(c, 20, &part), MCP_ETIMEOUT);
    mcp_client_interrupt(c); /* before the call: it counts */
    assert_int_equal(mcp_client_receive(c, -1, &part), MCP_ECANCELLED);
    assert_int_equal(mcp_client_receive(c, 0, &part), MCP_ETIMEOUT); /* once */
    assert_int_equal(pthread_create(&thread, NULL, interrupt, c), 0);
    assert_int_equal(mcp_client_receive(c, -1, &part), MCP_ECANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mcp_client_in_flight(c), 1);
    mcp_client_close(c); /* what was interrupted is given up like this */
    assert_int_equal(mcp_client_in_flight(c), 0);
    assert_int_equal(request(c, 5, GENERATE), MCP_ECLOSED);
    mcp_client_free(&c);
    server_stop(&s);
}

/* --- connections that fail or break
 * ------------------------------------------------------------------ */

static void script_nothing(struct server *s)
{
    (void)s;
}

static void nothing_there_is_said_at_once(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_nothing);
    server_stop(&s); /* a port where nobody listens any more */
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_connect(c), MCP_ECONNECT);
    assert_non_null(strstr(mcp_client_error(c), s.address));
    assert_non_null(strstr(mcp_client_error(c), "refused"));
    assert_int_equal(request(c, 1, LIST), MCP_ECLOSED);
    mcp_client_free(&c);
}

static void an_interrupt_ends_the_back_off(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_nothing);
    server_stop(&s);
    c = client_to(s.address, 30, NULL);
    mcp_client_interrupt(c);
    assert_int_equal(mcp_client_connect(c), MCP_ECANCELLED);
    mcp_client_free(&c);
}

static void script_breaks(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 7, "{\"done\":false}");
    close(fd);
    fd = server_accept(s); /* the client comes back with what is safe to repeat */
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 5, "session 5 again");
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"models\":[]}");
    server_wait_closed(s, fd);
}

static void a_lost_request_is_sent_again_and_an_answered_one_is_not(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_breaks);
    c = client_to(s.address, 1, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, LIST), 0);
    assert_int_equal(request(c, 7, GENERATE), 0);
    expect_part(c, 7, "{\"done\":false}", false, 0);
    expect_part(c, 7, NULL, true, MCP_ECLOSED);
    expect_part(c, 5, "{\"models\":[]}", true, 0); /* after 1 to 2 s */
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_idle_close(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 1, "{}");
    close(fd);
    server_reached(s);
    fd = server_accept(s);
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 1, "the request on a new connection");
    server_write(s, fd, WIRE_OP_RESPONSE, 1, "{\"status\":\"success\",\"done\":true}");
    server_wait_closed(s, fd);
}

/* The server closed the idle connection: even what may not be sent twice goes to a new one. */
static void a_connection_closed_while_idle_is_replaced(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_idle_close);
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 1, LIST), 0);
    expect_part(c, 1, "{}", true, 0);
    server_await(&s);
    assert_int_equal(request(c, 1, PUSH), 0);
    expect_part(c, 1, "{\"status\":\"success\",\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_http(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write_bytes(s, fd, SLICE("HTTP/1.1 400 Bad Request\r\n\r\n"));
    server_wait_closed(s, fd);
}

static void an_http_port_is_named_as_such(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_http);
    c = client_to(s.address, 3, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 1, LIST), 0);
    expect_part(c, 1, NULL, true, MCP_EPROTOCOL);
    assert_non_null(strstr(mcp_client_error(c), "HTTP"));
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_last_words(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 1,
                 "{\"error\":\"too much\",\"code\":\"too_large\",\"done\":true}");
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

/* The error arrives although writing had failed before. */
static void the_last_words_of_a_closing_server_are_heard(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_last_words);
    c = client_to(s.address, 0, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 1, LIST), 0);
    server_join(&s);
    assert_int_equal(request(c, 2, LIST), 0); /* into a closed socket */
    expect_part(c, 1, NULL, true, MCP_ETOO_LARGE);
    expect_part(c, 2, NULL, true, MCP_ECLOSED);
    mcp_client_free(&c);
    server_stop(&s);
}

/* --- options and memory
 * ------------------------------------------------------------------------------ */

static void options_refuse_what_is_wrong(void **state)
{
    struct mcp_options *o = mcp_options_new();

    (void)state;
    assert_int_equal(mcp_options_set_address(o, "http://x"), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_address(o, NULL), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_timeout_ms(o, 0), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_timeout_ms(o, 1), 0);
    assert_int_equal(mcp_options_set_retries(o, 31), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_auth(o, "\xff"), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_auth(o, "\xe4\xbd\xa0\x01\""), 0);
    assert_int_equal(mcp_options_set_auth(o, NULL), 0);
    mcp_options_free(&o);
    mcp_options_free(&o);
}

static void build_without_memory(void *arg)
{
    struct mcp_options *o = mcp_options_new();
    struct mcp_client *c = NULL;

    (void)arg;
    if (o != NULL) {
        (void)!mcp_options_set_auth(o, "key");
        c = mcp_client_new(o);
    }
    mcp_client_free(&c);
    mcp_options_free(&o);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_fault_each(build_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_arrive_over_tcp),
        cmocka_unit_test(parts_arrive_over_a_unix_socket),
        cmocka_unit_test(big_frames_go_both_ways_at_once),
        cmocka_unit_test(a_heartbeat_measures_and_keeps_the_parts),
        cmocka_unit_test(waiting_ends_by_time_or_interrupt),
        cmocka_unit_test(nothing_there_is_said_at_once),
        cmocka_unit_test(an_interrupt_ends_the_back_off),
        cmocka_unit_test(a_lost_request_is_sent_again_and_an_answered_one_is_not),
        cmocka_unit_test(a_connection_closed_while_idle_is_replaced),
        cmocka_unit_test(an_http_port_is_named_as_such),
        cmocka_unit_test(the_last_words_of_a_closing_server_are_heard),
        cmocka_unit_test(options_refuse_what_is_wrong),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
