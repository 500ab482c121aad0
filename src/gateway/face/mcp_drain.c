/* SPDX-License-Identifier: Apache-2.0 */
/* Saying why a connection ends, and ending it when the gateway does. */
#include "base/check.h"
#include "base/counter.h"
#include "gateway/face/mcp_conn.h"
#include "mcp/error.h"

enum { RETRY_DRAIN_MS = 1000 }; /* said in GOAWAY: another gateway may be there by then */

static void write_goaway(struct mcp_conn *c, enum wire_goaway_reason reason)
{
    const struct wire_goaway goaway = {
        .reason = reason,
        .retry_after_ms = reason == WIRE_GOAWAY_DRAIN             ? RETRY_DRAIN_MS
                          : reason == WIRE_GOAWAY_TOO_MANY_ERRORS ? WIRE_REFUSALS_SPAN_MS
                                                                  : 0,
    };
    struct buf body = {0};

    if (mcp_conn_has(c, WIRE_SINCE_GOAWAY) && wire_goaway_append(&body, &goaway)) {
        counter_add(COUNTER_MCP_GOAWAYS, 1);
        mcp_conn_control(c, WIRE_OP_GOAWAY, 0, buf_slice(&body));
    }
    buf_fini(&body);
}

void mcp_conn_go_away(struct mcp_conn *c, enum wire_goaway_reason reason)
{
    write_goaway(c, reason);
    mcp_conn_close(c);
}

void mcp_conn_drain(struct mcp_conn *c)
{
    struct mcp_exchange *m = mcp_exchange_list_first(&c->running);

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    if (!c->draining) {
        write_goaway(c, WIRE_GOAWAY_DRAIN);
    }
    c->draining = true;
    while (m != NULL) {
        struct mcp_exchange *next = mcp_exchange_list_next(&c->running, m);

        if (m->state == MCP_ARRIVING) {
            mcp_input_refuse_arriving(c, m->session->id, MCP_ESHUTTING_DOWN);
        }
        m = next;
    }
    (void)mcp_conn_settle(c);
}

static bool is_held(const struct mcp_exchange *m)
{
    return m->state == MCP_LEAVING && mcp_lane_holds_last(&m->lane);
}

size_t mcp_conn_held(const struct mcp_conn *c)
{
    size_t count = 0;

    for (const struct mcp_exchange *m = mcp_exchange_list_first(&c->running); m != NULL;
         m = mcp_exchange_list_next(&c->running, m)) {
        count += is_held(m);
    }
    return count;
}

void mcp_conn_drain_over(struct mcp_conn *c)
{
    struct mcp_exchange *m = mcp_exchange_list_first(&c->running);

    OBJ_CHECK(c, MCP_CONN_MAGIC);
    while (m != NULL) {
        struct mcp_exchange *next = mcp_exchange_list_next(&c->running, m);

        if (is_held(m)) {
            mcp_exchange_end(m, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
        }
        m = next;
    }
    (void)mcp_conn_settle(c);
}
