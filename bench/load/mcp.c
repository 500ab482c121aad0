/* SPDX-License-Identifier: Apache-2.0 */
/* An MCP connection in the base profile: one request at a time on each of its sessions. */
#include "load/load.h"

bool load_mcp_begin(struct load_conn *c)
{
    const struct wire_config config = {.role = WIRE_CLIENT,
                                       .max_frame_bytes = WIRE_MAX_FRAME_BYTES};

    wire_conn_init(&c->wire, &config);
    return true;
}

void load_mcp_finish(struct load_conn *c)
{
    wire_conn_fini(&c->wire);
}

static bool take_response(struct load_conn *c, uint32_t session, struct slice payload)
{
    struct load_lane *lane;

    if (session == 0 || session > c->load->o.sessions || !c->lanes[session - 1].busy) {
        return load_conn_fail(c, "a response nobody asked for");
    }
    lane = &c->lanes[session - 1];
    return load_part(lane, payload) && (!lane->whole || load_answered(lane));
}

void load_mcp_recv(struct load_conn *c, struct slice in)
{
    uint64_t now_ms = c->load->now_ns / 1000000;
    struct wire_event ev;

    while (in.len > 0) {
        ptrdiff_t n = wire_conn_recv(&c->wire, in, now_ms, &ev);

        if (n == 0) {
            return;
        }
        in = slice_skip(in, (size_t)n);
        if (ev.kind != WIRE_EVENT_RESPONSE) {
            (void)load_conn_fail(c, ev.kind == WIRE_EVENT_HEARTBEAT ? "a heartbeat" : ev.text);
            return;
        }
        if (!take_response(c, ev.session, ev.payload)) {
            return;
        }
    }
}
