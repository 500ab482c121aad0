/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking calls with a server that negotiates; test_client.c is the base profile. */
#include "mcp/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "asker.h"
#include "server.h"
#include "wire/frame.h"

#define WELCOME                                                                                    \
    "{\"version\":1,\"codec\":\"json\",\"features\":[\"ack\",\"cancel\",\"credit\",\"goaway\","    \
    "\"chunk\"],\"heartbeat_ms\":20000,\"max_frame\":16777216,\"window\":1000,"                    \
    "\"max_sessions\":10,\"server\":\"s/1\",\"connection\":7}"

enum {
    ALL = MCP_FEATURES_DEFAULT | MCP_FEATURE_ACK,
    BIG = 3 * 1024 * 1024,
};

static struct mcp_client *client_to(const char *address, const char *key)
{
    return client_offering(ALL, address, RETRIES_BY_DEFAULT, key);
}

static int accept_and_welcome(struct server *s, const char *welcome)
{
    int fd = server_accept(s);

    server_check(s, server_read(s, fd, WIRE_OP_HELLO) == 0, "HELLO on session 0");
    server_write(s, fd, WIRE_OP_WELCOME, 0, welcome);
    return fd;
}

/* --- negotiation ---------------------------------------------------------------------------------
 */

static void script_acks(struct server *s)
{
    int fd = accept_and_welcome(s, WELCOME);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_ACK, 5, "{\"state\":\"queued\",\"position\":1,\"depth\":1}");
    server_write(s, fd, WIRE_OP_ACK, 5, "{\"state\":\"running\",\"node\":\"n1\",\"attempt\":1}");
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
}

static void what_was_agreed_on_can_be_asked_for(void **state)
{
    struct mcp_agreement agreement;
    const struct mcp_ack *ack;
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_acks);
    c = client_to(s.address, NULL);
    assert_false(mcp_client_agreement(c, &agreement));
    assert_int_equal(mcp_client_connect(c), 0);
    assert_true(mcp_client_agreement(c, &agreement));
    assert_int_equal(agreement.features, ALL & ~MCP_FEATURE_CRC32C);
    assert_string_equal(agreement.codec, "json");
    assert_int_equal(agreement.heartbeat_ms, 20000);
    assert_int_equal(agreement.max_frame_bytes, 16777216);
    assert_int_equal(agreement.window_bytes, 1000);
    assert_int_equal(agreement.max_sessions, 10);
    assert_string_equal(agreement.server, "s/1");
    assert_int_equal(agreement.connection, 7);

    assert_int_equal(request(c, 5, GENERATE), 0);
    ack = mcp_part_ack(receive(c));
    assert_non_null(ack);
    assert_false(ack->running);
    assert_int_equal(ack->position, 1);
    ack = mcp_part_ack(receive(c));
    assert_non_null(ack);
    assert_true(ack->running);
    assert_string_equal(ack->node, "n1");
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_close(c);
    assert_false(mcp_client_agreement(c, &agreement));
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_base(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_HELLO);
    server_write(s, fd, WIRE_OP_RESPONSE, 0,
                 "{\"error\":\"opcode 0x10 is not known here\",\"code\":\"bad_request\","
                 "\"retryable\":false,\"done\":true}");
    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
}

static void a_server_of_the_base_profile_is_served(void **state)
{
    struct mcp_agreement agreement;
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_base);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_false(mcp_client_agreement(c, &agreement));
    assert_int_equal(request(c, 5, GENERATE), 0);
    assert_int_equal(mcp_client_cancel(c, 5), MCP_EUNSUPPORTED_OP);
    assert_non_null(strstr(mcp_client_error(c), "cancel"));
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_refuses(struct server *s)
{
    int fd = server_accept(s);

    server_read(s, fd, WIRE_OP_HELLO);
    server_check(s, memmem(s->payload.data, buf_len(&s->payload), "\"auth\":\"k\"", 10) != NULL,
                 "the key in HELLO");
    server_write(s, fd, WIRE_OP_WELCOME, 0,
                 "{\"error\":\"the key is not known\",\"code\":\"unauthorized\"}");
    server_wait_closed(s, fd);
}

static void a_wrong_key_is_told_at_once(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_refuses);
    c = client_to(s.address, "k");
    assert_int_equal(mcp_client_connect(c), MCP_EUNAUTHORIZED); /* not tried again */
    assert_string_equal(mcp_client_error(c), "the key is not known");
    assert_int_equal(request(c, 5, GENERATE), MCP_ECLOSED);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_parts_behind_welcome(struct server *s)
{
    int fd = server_accept(s);
    struct buf bytes = {0};

    server_read(s, fd, WIRE_OP_HELLO);
    server_reached(s);
    close(fd);
    fd = server_accept(s);
    server_read(s, fd, WIRE_OP_HELLO);
    wire_frame_append(&bytes, WIRE_OP_WELCOME, 0, SLICE(WELCOME));
    wire_frame_append(&bytes, WIRE_OP_RESPONSE, 0,
                      SLICE("{\"error\":\"x\",\"code\":\"internal\"}"));
    server_write_bytes(s, fd, buf_slice(&bytes));
    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
    buf_fini(&bytes);
}

static void what_comes_with_welcome_is_kept(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_parts_behind_welcome);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0); /* the second time */
    assert_int_equal(request(c, 5, GENERATE), 0);
    expect_part(c, 0, NULL, false, MCP_EINTERNAL);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

/* --- exchanges -----------------------------------------------------------------------------------
 */

static void script_cancel(struct server *s)
{
    int fd = accept_and_welcome(s, WELCOME);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":false}");
    server_check(s, server_read(s, fd, WIRE_OP_CANCEL) == 5, "session 5");
    server_write(s, fd, WIRE_OP_RESPONSE, 5,
                 "{\"error\":\"cancelled\",\"code\":\"cancelled\",\"done\":true}");
    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
}

static void an_exchange_is_cancelled_and_the_connection_stays(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_cancel);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(mcp_client_cancel(c, 5), MCP_EARGUMENT);
    assert_int_equal(request(c, 5, GENERATE), 0);
    expect_part(c, 5, "{\"done\":false}", false, 0);
    assert_int_equal(mcp_client_cancel(c, 5), 0);
    expect_part(c, 5, NULL, true, MCP_ECANCELLED);
    assert_int_equal(request(c, 5, GENERATE), 0);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

/* Sends a part of BIG bytes in pieces, and only then reads a request of as many. */
static void script_big(struct server *s)
{
    enum { PIECE = 64 * 1024 };
    int fd = accept_and_welcome(s, WELCOME);
    struct buf pieces = {0};
    char *json = malloc(BIG);
    size_t got = 0;

    server_check(s, json != NULL, "memory");
    memset(json, ' ', BIG);
    memcpy(json, "{\"a\":", 5);
    memcpy(json + BIG - 2, "1}", 2);
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 1, "session 1");
    for (size_t at = 0; at + PIECE < BIG; at += PIECE) {
        wire_frame_append(&pieces, WIRE_OP_CHUNK, 1, slice_of(json + at, PIECE));
    }
    wire_frame_append(&pieces, WIRE_OP_RESPONSE, 1, slice_of(json + BIG - PIECE, PIECE));
    server_write_bytes(s, fd, buf_slice(&pieces));
    for (int i = 0; i < BIG / PIECE; i++) {
        server_check(s, server_read(s, fd, WIRE_OP_CHUNK) == 2, "session 2");
        got += buf_len(&s->payload);
    }
    server_check(s, server_read(s, fd, WIRE_OP_REQUEST) == 2, "session 2");
    server_check(s, got + buf_len(&s->payload) == BIG + 100, "a big request");
    server_write(s, fd, WIRE_OP_RESPONSE, 2, "{}");
    server_wait_closed(s, fd);
    buf_fini(&pieces);
    free(json);
}

static void pieces_go_both_ways_at_once(void **state)
{
    struct server s;
    struct mcp_client *c;
    const char *data;
    char *json = malloc(BIG + 100);
    size_t len;

    (void)state;
    assert_non_null(json);
    server_start(&s, SERVER_UNIX, script_big);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    memset(json, ' ', BIG + 100);
    memcpy(json, LIST, strlen(LIST) - 1);
    json[BIG + 99] = '}';
    assert_int_equal(request(c, 1, LIST), 0);
    assert_int_equal(mcp_client_request(c, 2, json, BIG + 100), 0);
    data = mcp_part_data(receive(c), &len);
    assert_int_equal(len, BIG);
    assert_memory_equal(data, "{\"a\":", 5);
    assert_memory_equal(data + BIG - 2, "1}", 2);
    expect_part(c, 2, "{}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
    free(json);
}

static void script_credit(struct server *s)
{
    char part[700];
    int fd = accept_and_welcome(s, WELCOME);

    memset(part, ' ', sizeof(part));
    memcpy(part, "{\"done\":false}", 14);
    part[sizeof(part) - 1] = '\0';
    server_read(s, fd, WIRE_OP_REQUEST);
    for (int i = 0; i < 3; i++) { /* more than the window: each needs the credit before it */
        server_write(s, fd, WIRE_OP_RESPONSE, 5, part);
        server_check(s, server_read(s, fd, WIRE_OP_CREDIT) == 5, "session 5");
        server_check(s,
                     buf_len(&s->payload) == 4 &&
                         wire_get_u32((const uint8_t *)buf_slice(&s->payload).ptr) == 699,
                     "credit for what was received");
    }
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
}

static void credit_leaves_as_parts_are_received(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_credit);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, GENERATE), 0);
    for (int i = 0; i < 3; i++) {
        expect_part(c, 5, NULL, false, 0);
    }
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

/* --- the end of a connection ---------------------------------------------------------------------
 */

static void script_goaway(struct server *s)
{
    int fd = accept_and_welcome(s, WELCOME);
    int next;

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_GOAWAY, 0, "{\"reason\":\"drain\",\"retry_after_ms\":1}");
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":false}");
    server_await(s); /* the client has begun another request */
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    next = accept_and_welcome(s, WELCOME);
    server_check(s, server_read(s, next, WIRE_OP_REQUEST) == 6, "session 6");
    server_write(s, next, WIRE_OP_RESPONSE, 6, "{\"done\":true}");
    server_wait_closed(s, fd);
    server_wait_closed(s, next);
}

static void after_goaway_a_new_connection_is_made(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_goaway);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, GENERATE), 0);
    expect_part(c, 5, "{\"done\":false}", false, 0);
    assert_int_equal(request(c, 6, GENERATE), 0);
    server_reached(&s);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    expect_part(c, 6, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_goaway_when_idle(struct server *s)
{
    int fd = accept_and_welcome(s, WELCOME);

    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_write(s, fd, WIRE_OP_GOAWAY, 0, "{\"reason\":\"idle\",\"retry_after_ms\":0}");
    close(fd);
    server_reached(s);
    fd = accept_and_welcome(s, WELCOME);
    server_read(s, fd, WIRE_OP_REQUEST);
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
}

static void a_connection_left_by_the_server_is_not_used_again(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_TCP, script_goaway_when_idle);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, PUSH), 0);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    server_await(&s);
    assert_int_equal(request(c, 5, PUSH), 0); /* what is never sent twice is not lost there */
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_heartbeats(struct server *s)
{
    int fd = accept_and_welcome(s, "{\"heartbeat_ms\":300}");
    struct buf echo = {0};

    server_read(s, fd, WIRE_OP_REQUEST);
    for (int i = 0; i < 4; i++) { /* longer than three missed ones */
        server_read(s, fd, WIRE_OP_HEARTBEAT);
        buf_clear(&echo);
        wire_frame_append(&echo, WIRE_OP_HEARTBEAT, 0, buf_slice(&s->payload));
        server_write_bytes(s, fd, buf_slice(&echo));
    }
    server_write(s, fd, WIRE_OP_RESPONSE, 5, "{\"done\":true}");
    server_wait_closed(s, fd);
    buf_fini(&echo);
}

static void heartbeats_leave_while_an_answer_is_awaited(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_heartbeats);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, GENERATE), 0);
    expect_part(c, 5, "{\"done\":true}", true, 0);
    mcp_client_free(&c);
    server_stop(&s);
}

static void script_silent(struct server *s)
{
    int fd = accept_and_welcome(s, "{\"heartbeat_ms\":30}");

    server_read(s, fd, WIRE_OP_REQUEST);
    server_wait_closed(s, fd);
}

static void a_server_that_is_gone_is_found_out(void **state)
{
    struct server s;
    struct mcp_client *c;

    (void)state;
    server_start(&s, SERVER_UNIX, script_silent);
    c = client_to(s.address, NULL);
    assert_int_equal(mcp_client_connect(c), 0);
    assert_int_equal(request(c, 5, "{\"prompt\":\"a\"}"), 0); /* cannot be sent again */
    expect_part(c, 5, NULL, true, MCP_ETIMEOUT);
    mcp_client_free(&c);
    server_stop(&s);
}

static void options_are_checked(void **state)
{
    struct mcp_options *options = mcp_options_new();

    (void)state;
    assert_non_null(options);
    assert_int_equal(mcp_options_set_features(options, 1), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_features(options, 1 << 7), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_features(options, 0), 0);
    assert_int_equal(mcp_options_set_window_bytes(options, 0), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_window_bytes(options, 0x80000000), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_window_bytes(options, 0x7fffffff), 0);
    assert_int_equal(mcp_options_set_heartbeat_ms(options, 0), MCP_EARGUMENT);
    assert_int_equal(mcp_options_set_heartbeat_ms(options, 1), 0);
    mcp_options_free(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_agreed_on_can_be_asked_for),
        cmocka_unit_test(a_server_of_the_base_profile_is_served),
        cmocka_unit_test(a_wrong_key_is_told_at_once),
        cmocka_unit_test(what_comes_with_welcome_is_kept),
        cmocka_unit_test(an_exchange_is_cancelled_and_the_connection_stays),
        cmocka_unit_test(pieces_go_both_ways_at_once),
        cmocka_unit_test(credit_leaves_as_parts_are_received),
        cmocka_unit_test(after_goaway_a_new_connection_is_made),
        cmocka_unit_test(a_connection_left_by_the_server_is_not_used_again),
        cmocka_unit_test(heartbeats_leave_while_an_answer_is_awaited),
        cmocka_unit_test(a_server_that_is_gone_is_found_out),
        cmocka_unit_test(options_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
