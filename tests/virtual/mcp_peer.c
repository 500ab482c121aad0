/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp_peer.h"

#include <string.h>

#include "wire/conn.h"

struct mcp_peer peer;
bool mcp_peer_is_proxied;

static struct wire_conn conn;
static uint32_t agreed;

static void on_connected(void *owner)
{
    (void)owner;
}

/* What stands behind `key` up to a quote; empty: it is not there. */
static struct slice word_behind(struct slice text, struct slice key)
{
    const char *at = text.len == 0 ? NULL : memmem(text.ptr, text.len, key.ptr, key.len);
    struct slice word = {0};

    if (at != NULL) {
        word = slice_skip(text, (size_t)(at - text.ptr) + key.len);
        word.len = (size_t)((const char *)memchr(word.ptr, '"', word.len) - word.ptr);
    }
    return word;
}

static void hear(const struct wire_event *ev)
{
    struct slice code = word_behind(ev->payload, SLICE("\"code\":\""));
    struct slice reason = word_behind(ev->payload, SLICE("\"reason\":\""));

    if (ev->kind == WIRE_EVENT_WELCOME) {
        wire_conn_negotiated(&conn, agreed);
    } else if (code.len > 0) {
        buf_printf(&peer.said, "%u %.*s\n", ev->session, SLICE_ARG(code));
    } else if (reason.len > 0) {
        buf_printf(&peer.said, "GOAWAY %.*s\n", SLICE_ARG(reason));
    } else if (ev->kind == WIRE_EVENT_RESPONSE) {
        buf_printf(&peer.said, "%u part\n", ev->session);
    } else {
        assert_int_equal(ev->kind, WIRE_EVENT_HEARTBEAT);
        peer.beats++;
        if (!peer.counts_only) {
            buf_append_str(&peer.said, "beat\n");
        }
    }
}

static void on_data(void *owner, struct slice in)
{
    struct wire_event ev;
    ptrdiff_t used;

    (void)owner;
    while ((used = wire_conn_recv(&conn, in, 0, &ev)) > 0) {
        in = slice_skip(in, (size_t)used);
        hear(&ev);
    }
    if (peer.sips) {
        sock_pause(peer.sock);
    }
}

static void on_eof(void *owner)
{
    (void)owner;
    peer.is_closed = true;
}

static void on_closed(void *owner, int error)
{
    (void)owner;
    (void)error;
    peer.is_closed = true;
}

static const struct sock_ops ops = {
    .connected = on_connected, .data = on_data, .eof = on_eof, .closed = on_closed};

void mcp_peer_say(enum wire_opcode opcode, uint32_t session, struct slice payload)
{
    struct buf out = {0};

    assert_true(wire_frame_append(&out, opcode, session, payload) &&
                sock_write(peer.sock, buf_slice(&out)));
    buf_fini(&out);
}

void mcp_peer_run_ms(uint64_t ms)
{
    (void)virtual_net_run(world.net, NULL, NULL, ms * 1000);
}

void mcp_peer_expect(const char *want)
{
    assert_true(buf_append_byte(&peer.said, '\0'));
    assert_string_equal(buf_slice(&peer.said).ptr, want);
    buf_clear(&peer.said);
}

void mcp_peer_greet(const char *hello, uint32_t features)
{
    agreed = features;
    mcp_peer_say(WIRE_OP_HELLO, 0, slice_str(hello));
    wire_conn_greeted(&conn);
    mcp_peer_run_ms(100);
    mcp_peer_expect("");
}

int mcp_peer_open(const struct virtual_profile *profile)
{
    static const char *const urls[] = {"http://" MCP_PEER_NODE};
    const struct config_args args = {.node_urls = urls,
                                     .node_count = 1,
                                     .mcp_listen = MCP_ADDRESS,
                                     .http_listen = "off",
                                     .admin_listen = "off",
                                     .access_log = "off",
                                     .mode = "single"};
    const struct wire_config wire = {.role = WIRE_CLIENT, .max_frame_bytes = 16 << 20};
    struct err e = {0};
    struct addr at;

    world.net = virtual_net_new(1, profile);
    world.loop = virtual_loop_new(world.net);
    world.gateway_loop = virtual_loop_new(world.net);
    world.config = config_load(&args, &e);
    assert_non_null(world.config);
    world.config->mcp_proxied = mcp_peer_is_proxied;
    assert_int_equal(trust_add(&world.config->trusted, SLICE("127.0.0.1"), &e), MCP_OK);
    assert_int_equal(gateway_open(&world.gateway, world.config, NULL, world.gateway_loop, &e), 0);
    gateway_start(&world.gateway);
    assert_int_equal(addr_parse(&at, SLICE(MCP_ADDRESS), NULL), 0);
    peer = (struct mcp_peer){.sock = sock_connect(world.loop, &at, &ops, NULL)};
    assert_non_null(peer.sock);
    wire_conn_init(&conn, &wire);
    return 0;
}

int mcp_peer_close(void)
{
    sock_close(&peer.sock, false);
    wire_conn_fini(&conn);
    buf_release(&peer.said);
    mcp_peer_run_ms(10000);
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    gateway_close(&world.gateway);
    loop_free(&world.gateway_loop);
    loop_free(&world.loop);
    config_unref(&world.config);
    virtual_net_free(&world.net);
    return 0;
}
