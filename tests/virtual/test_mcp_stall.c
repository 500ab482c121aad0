/* SPDX-License-Identifier: Apache-2.0 */
/* What a client that grants no credit, or reads late, is allowed, in virtual time: a node that
 * answers at once, and client_stall of 30 s. */
#include <string.h>

#include "http/parse/message.h"
#include "mcp_peer.h"
#include "wire/frame.h"

enum { PART_BYTES = 60000, WINDOW_PARTS = 5, CONNS = 4 };

/* --- the node */

static struct listener *listener;
static struct node_conn {
    struct sock *sock; /* NULL: free */
    struct http_parser *parser;
} conns[CONNS];
static struct buf answer; /* to generate: its parts */

static const char version[] = "{\"version\":\"0.33.0\"}";
static const char tags[] =
    "{\"models\":[{\"name\":\"m:latest\",\"model\":\"m:latest\",\"digest\":\"a1\"}]}";

static void put_part(const char *begin, size_t bytes, const char *end)
{
    static char filler[PART_BYTES];

    memset(filler, 'x', sizeof(filler));
    assert_true(buf_printf(&answer, "%zx\r\n%s%.*s%s\n\r\n",
                           strlen(begin) + bytes + strlen(end) + 1, begin, (int)bytes, filler,
                           end));
}

static void answer_with(struct node_conn *c, struct slice body)
{
    struct buf out = {0};

    assert_true(buf_printf(&out,
                           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n\r\n%.*s",
                           body.len, SLICE_ARG(body)) &&
                sock_write(c->sock, buf_slice(&out)));
    buf_fini(&out);
}

static void stream_answer(struct node_conn *c)
{
    assert_true(
        sock_write(c->sock, SLICE("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n")) &&
        sock_write(c->sock, buf_slice(&answer)) && sock_write(c->sock, SLICE("0\r\n\r\n")));
}

static void on_data(void *owner, struct slice in)
{
    struct node_conn *c = owner;
    struct http_event ev;

    do {
        struct err e = {0};
        ptrdiff_t n = http_parser_feed(c->parser, in, &ev, &e);

        assert_true(n >= 0);
        in = slice_skip(in, (size_t)n);
        if (ev.kind != HTTP_EV_HEAD) {
            continue;
        }
        if (slice_eq(ev.head->target, SLICE("/api/generate"))) {
            stream_answer(c);
        } else {
            answer_with(c, slice_eq(ev.head->target, SLICE("/api/version")) ? slice_str(version)
                                                                            : slice_str(tags));
        }
    } while (ev.kind != HTTP_EV_MORE);
}

static void on_eof(void *owner)
{
    struct node_conn *c = owner;

    sock_close(&c->sock, false);
    http_parser_free(&c->parser);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    on_eof(owner);
}

static const struct sock_ops ops = {.data = on_data, .eof = on_eof, .closed = on_closed};

static void on_accepted(void *owner, int fd, const struct addr *from)
{
    struct node_conn *c = conns;

    (void)owner;
    (void)from;
    while (c->sock != NULL) {
        c++;
        assert_true(c < conns + CONNS);
    }
    c->parser = http_parser_new(HTTP_PARSE_REQUESTS);
    c->sock = sock_adopt(world.loop, fd, &ops, c);
    assert_true(c->parser != NULL && c->sock != NULL);
}

/* --- the world */

static int open_world(void **state)
{
    struct virtual_profile profile = virtual_calm;
    struct addr at;

    (void)state;
    profile.send_min_bytes = profile.send_max_bytes = 16384;
    profile.receive_min_bytes = profile.receive_max_bytes = 16384;
    (void)mcp_peer_open(&profile);
    assert_int_equal(addr_parse(&at, SLICE(MCP_PEER_NODE), NULL), 0);
    listener = listener_new(world.loop, &at, on_accepted, NULL, NULL);
    assert_non_null(listener);
    mcp_peer_run_ms(10000); /* the node is up */
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    listener_free(&listener);
    for (size_t i = 0; i < CONNS; i++) {
        on_eof(&conns[i]);
    }
    buf_release(&answer);
    return mcp_peer_close();
}

/* --- tests */

/* Its bytes left just before: what it has not had time for is granting. */
static void who_has_just_read_is_not_cancelled(void **state)
{
    (void)state;
    for (int i = 0; i < WINDOW_PARTS + 1; i++) {
        put_part("{\"response\":\"", PART_BYTES - 15, "\"}");
    }
    put_part("{\"done\":true}", 0, "");
    peer.sips = true;
    mcp_peer_greet("{\"features\":[\"credit\"],\"window\":262144}", WIRE_SINCE_CREDIT);
    mcp_peer_say(WIRE_OP_REQUEST, 1, SLICE("{\"model\":\"m\",\"prompt\":\"a\"}"));
    mcp_peer_run_ms(15000);
    sock_resume(peer.sock); /* a little, so that it does not count as gone */
    mcp_peer_run_ms(14900);
    mcp_peer_expect("");
    peer.sips = false;
    sock_resume(peer.sock);
    mcp_peer_run_ms(29000);
    mcp_peer_expect("1 part\n1 part\n1 part\n1 part\n1 part\n");
    mcp_peer_say(WIRE_OP_CREDIT, 1, SLICE("\0\2\0\0"));
    mcp_peer_run_ms(1000);
    mcp_peer_expect("1 part\n1 part\n");
}

static void who_grants_nothing_for_30_s_is(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        put_part("{\"response\":\"", PART_BYTES - 15, "\"}");
    }
    mcp_peer_greet("{\"features\":[\"credit\"],\"window\":100000}", WIRE_SINCE_CREDIT);
    mcp_peer_say(WIRE_OP_REQUEST, 1, SLICE("{\"model\":\"m\",\"prompt\":\"a\"}"));
    mcp_peer_run_ms(29900);
    mcp_peer_expect("1 part\n1 part\n");
    mcp_peer_run_ms(200);
    mcp_peer_expect("1 cancelled\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(who_has_just_read_is_not_cancelled),
        TEST(who_grants_nothing_for_30_s_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
