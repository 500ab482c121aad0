/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is sent a second time, and when it must not be; and calls while memory is out. */
#include <stdio.h>
#include <string.h>

#include "alloc_fault.h"
#include "node_caller.h"

static struct peer peer;

static const struct slice stale_pieces[] = {SLICE("{\"a\""), SLICE(":1}")};

static const struct node_call_request stale_request = {
    .method = SLICE("POST"),
    .path = SLICE("/api/generate"),
    .pieces = stale_pieces,
    .piece_count = 2,
    .has_body = true,
};

/* A node with `count` connections in its pool. */
static struct node *node_with_pooled(size_t count)
{
    struct caller c[4] = {0};
    struct node *n;

    peer_open(&peer);
    n = peer_node(&peer);
    node_mark_up(n);
    for (size_t i = 0; i < count; i++) {
        caller_get(&c[i], n);
        peer_wait_conns(&peer, i + 1);
    }
    for (size_t i = 0; i < count; i++) {
        peer_wait_request(&peer, i);
        peer_send(&peer, i, SLICE(ANSWER_HI));
        caller_wait(&c[i], "hbe");
    }
    assert_int_equal(n->pool.unused.count, count);
    return n;
}

static void want_stale_request(char want[128])
{
    (void)snprintf(want, 128,
                   "POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                   "Content-Length: 7\r\n\r\n{\"a\":1}",
                   addr_port(&peer.at));
}

static void a_stale_connection_is_replaced_once(void **state)
{
    struct caller c = {0};
    char want[128];
    struct node *n = node_with_pooled(3);

    (void)state;
    want_stale_request(want);
    for (int reset = 0; reset < 2; reset++) {
        size_t pooled = 2 - (size_t)reset;
        size_t fresh = 3 + (size_t)reset;
        int64_t bytes = counted(COUNTER_BYTES_TO_NODES);

        c = (struct caller){0};
        caller_start(&c, n, &stale_request);
        peer_wait_text(&peer, pooled, want);
        peer_close(&peer, pooled, reset);
        /* Not on another pooled one, which may be as stale. */
        peer_wait_conns(&peer, fresh + 1);
        peer_wait_text(&peer, fresh, want);
        assert_string_equal(c.told, "");
        assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), reset + 1);
        assert_int_equal(counted(COUNTER_BYTES_TO_NODES) - bytes, 2 * strlen(want));
        peer_send(&peer, fresh, SLICE(OK_HEAD("2") "ok"));
        caller_wait(&c, "hbe");
        assert_string_equal(c.body, "ok");
        peer_close(&peer, fresh, false); /* leaves the older ones */
        run_turns();
        assert_int_equal(n->pool.unused.count, 2 - reset);
    }
    assert_int_equal(n->state, NODE_UP);
}

static void a_retry_that_closes_too_is_an_error(void **state)
{
    struct caller c = {0};
    struct node *n = node_with_pooled(2);

    (void)state;
    caller_start(&c, n, &stale_request);
    peer_wait_request(&peer, 1);
    peer_close(&peer, 1, false);
    peer_wait_conns(&peer, 3);
    peer_wait_request(&peer, 2);
    peer_close(&peer, 2, false);
    caller_wait(&c, "f");
    assert_failed(&c, MCP_EUPSTREAM_ERROR, false, "closed the connection without an answer");
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 1);
    assert_int_equal(peer.count, 3);
}

/* The node may have seen the request on the first connection, and have died of it. */
static void a_retry_that_is_refused_has_sent_something(void **state)
{
    struct caller c = {0};
    struct node *n = node_with_pooled(1);

    (void)state;
    caller_start(&c, n, &stale_request);
    peer_wait_request(&peer, 0);
    peer_refuse(&peer);
    peer_close(&peer, 0, false);
    caller_wait(&c, "f");
    assert_failed(&c, MCP_ENODE_UNAVAILABLE, false, "Connection refused");
    assert_int_equal(n->state, NODE_DOWN);
}

static void one_byte_of_an_answer_forbids_a_retry(void **state)
{
    struct caller c = {0};
    struct node *n = node_with_pooled(1);

    (void)state;
    caller_start(&c, n, &stale_request);
    peer_wait_request(&peer, 0);
    peer_send(&peer, 0, SLICE("H"));
    peer_close(&peer, 0, false);
    caller_wait(&c, "f");
    assert_failed(&c, MCP_ESTREAM_INTERRUPTED, false, "within its answer");
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 0);
    assert_int_equal(peer.count, 1);
}

static void what_must_be_sent_once_is(void **state)
{
    struct node *n = node_with_pooled(1);

    (void)state;
    for (size_t upload = 0; upload < 2; upload++) {
        const struct node_call_request request = {.method = SLICE("POST"),
                                                  .path = SLICE("/x"),
                                                  .once = !upload,
                                                  .upload = upload,
                                                  .upload_length = 1};
        struct caller c = {0};

        caller_start(&c, n, &request);
        peer_wait_conns(&peer, 2 + upload);
        peer_wait_request(&peer, 1 + upload);
        peer_close(&peer, 1 + upload, false);
        caller_wait(&c, "f");
        assert_failed(&c, MCP_EUPSTREAM_ERROR, false, "without an answer");
    }
    assert_int_equal(counted(COUNTER_NODE_STALE_RETRY), 0);
    assert_int_equal(n->pool.unused.count, 1);
    assert_int_equal(peer.count, 3);
}

/* --- memory
 * ---------------------------------------------------------------------------------------- */

enum path { PATH_FRESH, PATH_POOLED, PATH_STALE, PATH_UPLOAD, PATH_COUNT };

static bool take_request(struct peer_conn *p)
{
    bool whole = p->fd >= 0 && strstr(p->in, "\r\n\r\n") != NULL;

    if (whole) {
        p->in_len = 0;
        p->in[0] = '\0';
    }
    return whole;
}

/* One call; it goes well, or it says that memory is out. */
static void try_call(struct node *n, enum path path)
{
    const struct node_call_request upload = {
        .method = SLICE("PUT"), .path = SLICE("/b"), .upload = true, .upload_length = 3};
    bool stale = path == PATH_STALE && n->pool.unused.count > 0;
    struct caller c = {0};

    caller_start(&c, n, path == PATH_UPLOAD ? &upload : &stale_request);
    if (c.call != NULL && path == PATH_UPLOAD) {
        (void)node_call_body(c.call, SLICE("abc")); /* a failure comes as `failed` */
    }
    while (c.call != NULL) {
        run_turns();
        for (size_t i = 0; i < peer.count && c.call != NULL; i++) {
            if (!take_request(&peer.conns[i])) {
                continue;
            }
            if (stale) {
                peer_close(&peer, i, false);
                stale = false;
            } else {
                peer_send(&peer, i,
                          SLICE("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi"));
            }
        }
    }
    if (strcmp(c.told, "hbe") != 0) {
        assert_int_equal(c.told[0] == '\0' ? MCP_ENOMEM : c.code, MCP_ENOMEM);
    }
}

/* What the node has closed, so that there is room for more. */
static void forget_gone(void)
{
    run_turns();
    for (size_t i = 0; i < peer.count; i++) {
        if (peer.conns[i].gone) {
            peer_close(&peer, i, false);
        }
    }
}

static void memory_that_is_out_fails_that_call_alone(void **state)
{
    (void)state;
    for (int path = 0; path < PATH_COUNT; path++) {
        bool reached = true;
        size_t i;
        struct node *n;

        peer_open(&peer);
        n = peer_node(&peer);
        node_mark_up(n);
        for (i = 1; reached; i++) {
            if (path == PATH_FRESH) {
                node_pool_fini(&n->pool);
            } else if (n->pool.unused.count == 0) {
                try_call(n, PATH_FRESH);
            }
            forget_gone();
            alloc_fault_at(i);
            try_call(n, (enum path)path);
            reached = alloc_fault_count() >= i;
            alloc_fault_at(0);
            assert_int_equal(n->calls, 0);
            assert_int_equal(n->state, NODE_UP);
        }
        assert_in_range(i, 5, 40);
        node_peers_close();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(a_stale_connection_is_replaced_once),
        NODE_TEST(a_retry_that_closes_too_is_an_error),
        NODE_TEST(a_retry_that_is_refused_has_sent_something),
        NODE_TEST(one_byte_of_an_answer_forbids_a_retry),
        NODE_TEST(what_must_be_sent_once_is),
        NODE_TEST(memory_that_is_out_fails_that_call_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
