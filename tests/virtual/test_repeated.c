/* SPDX-License-Identifier: Apache-2.0 */
/* How long an answer stands for later requests with its idempotency key, in virtual time. */
#include "mcp_peer.h"

enum { BEAT_MS = 10000 };

static struct deal *deal;
static struct buf asked_for;

static int open_world(void **state)
{
    struct slice body;

    (void)state;
    (void)mcp_peer_open(&virtual_calm);
    world.nodes[0] = script_node_new(MCP_PEER_NODE);
    mcp_peer_run_ms(5000); /* it is polled */
    deal = deal_new(true);
    body = buf_slice(&deal->request);
    assert_true(buf_append(&asked_for, slice_of(body.ptr, body.len - 1)) &&
                buf_append_str(&asked_for, ",\"mcp\":{\"idempotency_key\":\"k\"}}"));
    mcp_peer_greet("{\"features\":[\"goaway\"]}", WIRE_SINCE_GOAWAY);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    buf_fini(&asked_for);
    script_node_vanish(world.nodes[0]);
    (void)mcp_peer_close();
    script_node_free(&world.nodes[0]);
    for (size_t i = 0; i < world.deal_count; i++) {
        deal_fini(&world.deals[i]);
    }
    world.deal_count = 0;
    return 0;
}

/* With heartbeats: a silent client would be left. */
static void pass_ms(uint64_t ms)
{
    for (; ms > 0; ms -= ms < BEAT_MS ? ms : BEAT_MS) {
        mcp_peer_say(WIRE_OP_HEARTBEAT, 1, SLICE(""));
        mcp_peer_run_ms(ms < BEAT_MS ? ms : BEAT_MS);
    }
}

static void ask(unsigned asked_of_node)
{
    mcp_peer_say(WIRE_OP_REQUEST, 7, buf_slice(&asked_for));
    pass_ms(2 * BEAT_MS); /* its node takes its time */
    assert_int_equal(deal->asked, asked_of_node);
    assert_false(peer.is_closed);
}

static void an_answer_is_repeated_for_ten_minutes(void **state)
{
    (void)state;
    ask(1);
    ask(1);
    pass_ms(9 * 60 * 1000);
    ask(1);
    pass_ms(60 * 1000); /* from its end on, however often it was asked for since */
    ask(2);
    ask(2);
    buf_clear(&peer.said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_repeated_for_ten_minutes, open_world,
                                        close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
