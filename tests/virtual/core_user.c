/* SPDX-License-Identifier: Apache-2.0 */
/* A client that is libmcp's state machine on a virtual socket: it comes back when its connection is
 * lost, asks again what may be asked again, and gives up on its own. So every deal of it ends, with
 * an answer or an error, whatever the network does. */
#include <stdlib.h>

#include "base/check.h"
#include "client/core.h"
#include "world.h"

enum { FEATURES_MAX = 2 * WIRE_SINCE_CHUNK - 1 };
enum { CONNECT_MS = 5000, KEEPALIVE_MS = 3 * 60 * 1000, PATIENCE_MS = 30 * 60 * 1000 };

struct core_user {
    struct client_core core;
    struct mcp_part part;
    struct sock *s;
    bool connected;
    bool done;
    unsigned deals_left;
    struct deal *deals[SESSIONS_MAX];
    bool cancelled[SESSIONS_MAX];
    struct timer tick;
    struct timer connecting;
    struct timer keepalive;
    struct timer patience;
};

static uint64_t now_ms(void)
{
    return loop_now_ms(world.loop);
}

static void finish(struct core_user *u)
{
    if (!u->done) {
        u->done = true;
        world.users_done++;
        timer_cancel(world.loop, &u->tick);
        timer_cancel(world.loop, &u->connecting);
        timer_cancel(world.loop, &u->keepalive);
        timer_cancel(world.loop, &u->patience);
        sock_close(&u->s, one_in(2));
        client_core_close(&u->core);
    }
}

static void lose_patience(void *owner)
{
    const struct core_user *u = owner;

    fail_msg("a client of libmcp waits for ever: state %d, %zu in flight, %u left",
             (int)u->core.state, client_core_in_flight(&u->core), u->deals_left);
}

static void lose_connection(struct core_user *u, int code)
{
    sock_close(&u->s, false);
    u->connected = false;
    timer_cancel(world.loop, &u->connecting);
    timer_cancel(world.loop, &u->keepalive);
    client_core_lost(&u->core, code, "lost", now_ms());
}

/* --- deals */

static void ask(struct core_user *u)
{
    for (size_t i = 0; i < SESSIONS_MAX && u->deals_left > 0; i++) {
        struct deal *d = u->deals[i] != NULL || one_in(3) ? NULL : deal_new(true);
        struct err e = {0};

        if (d != NULL) {
            u->deals[i] = d;
            u->cancelled[i] = false;
            u->deals_left--;
            world.more_asked += u->core.config.retries;
            d->asked_us = virtual_net_now_us(world.net);
            assert_int_equal(
                client_core_request(&u->core, (uint32_t)i + 1, deal_asked_for(d), now_ms(), &e), 0);
        } else if (world.deal_count == DEALS_MAX) {
            u->deals_left = 0;
        }
    }
}

/* Now and then one is not wanted any more. It ends all the same: with an error, or whole. */
static void cancel(struct core_user *u)
{
    size_t i = (size_t)pick(SESSIONS_MAX);
    struct err e = {0};

    if (u->deals[i] != NULL && one_in(20)) {
        int rv = client_core_cancel(&u->core, (uint32_t)i + 1, now_ms(), &e);

        assert_true(rv == 0 || rv == MCP_EUNSUPPORTED_OP);
        u->cancelled[i] |= rv == 0;
    }
}

static void take_part(struct core_user *u)
{
    const struct mcp_part *p = &u->part;
    struct deal *d =
        p->session >= 1 && p->session <= SESSIONS_MAX ? u->deals[p->session - 1] : NULL;

    assert_non_null(d); /* nobody asked, or it has ended */
    if (mcp_part_ack(p) == NULL && p->error == 0) {
        assert_int_equal(p->last, deal_part(d, p->data));
    }
    if (p->last) {
        deal_ended(d, p->error == 0                  ? DEAL_WHOLE
                      : u->cancelled[p->session - 1] ? DEAL_LEFT
                                                     : DEAL_FAILED);
        u->deals[p->session - 1] = NULL;
    }
    client_core_seen(&u->core, p, now_ms());
}

/* --- the socket */

static const struct sock_ops core_ops;

static void open_socket(struct core_user *u)
{
    struct addr at;

    assert_int_equal(addr_parse(&at, slice_str(MCP_ADDRESS), NULL), 0);
    u->s = sock_connect(world.loop, &at, &core_ops, u);
    if (u->s == NULL) {
        lose_connection(u, MCP_ECONNECT);
    } else {
        timer_arm(world.loop, &u->connecting, CONNECT_MS);
    }
}

/* The socket follows the core, and the timer its deadline. */
static void follow(struct core_user *u)
{
    uint64_t deadline_ms;

    while (client_core_part(&u->core, &u->part)) {
        take_part(u);
    }
    ask(u);
    cancel(u);
    if (u->deals_left == 0 && client_core_in_flight(&u->core) == 0) {
        finish(u);
        return;
    }
    client_core_tick(&u->core, now_ms());
    if (!client_core_is_up(&u->core) && u->connected) {
        sock_close(&u->s, false);
        u->connected = false;
        timer_cancel(world.loop, &u->keepalive);
    }
    if (u->core.state == CLIENT_CONNECT && u->s == NULL) {
        open_socket(u);
    }
    while (client_core_is_up(&u->core) && buf_len(&u->core.out) > 0) {
        assert_true(sock_write(u->s, buf_slice(&u->core.out)));
        client_core_wrote(&u->core, buf_len(&u->core.out), now_ms());
    }
    deadline_ms = client_core_deadline_ms(&u->core);
    if (u->core.failures > 0 || (deadline_ms != 0 && deadline_ms <= now_ms())) {
        timer_arm(world.loop, &u->tick, 0);
    } else {
        /* Now and then in any case: a deal may be left to ask for. */
        timer_arm(world.loop, &u->tick,
                  deadline_ms != 0 && deadline_ms - now_ms() < 100 ? deadline_ms - now_ms() : 100);
    }
}

static void on_tick(void *owner)
{
    follow(owner);
}

static void on_connect_limit(void *owner)
{
    lose_connection(owner, MCP_ECONNECT);
    follow(owner);
}

/* While exchanges are in flight silence is the kernel's business. */
static void on_keepalive(void *owner)
{
    struct core_user *u = owner;

    if (world.plan.net_hangs) {
        lose_connection(u, MCP_ECLOSED);
        follow(u);
    } else {
        timer_arm(world.loop, &u->keepalive, KEEPALIVE_MS);
    }
}

static void on_connected(void *owner)
{
    struct core_user *u = owner;

    u->connected = true;
    timer_cancel(world.loop, &u->connecting);
    timer_arm(world.loop, &u->keepalive, KEEPALIVE_MS);
    client_core_connected(&u->core, now_ms());
    follow(u);
}

static void on_data(void *owner, struct slice in)
{
    struct core_user *u = owner;

    timer_arm(world.loop, &u->keepalive, KEEPALIVE_MS);
    while (in.len > 0 && client_core_is_up(&u->core)) {
        ptrdiff_t n = client_core_recv(&u->core, in, now_ms(), &u->part);

        if (n <= 0) {
            break;
        }
        take_part(u);
        in = slice_of(in.ptr + n, in.len - (size_t)n);
    }
    follow(u);
}

static void on_eof(void *owner)
{
    lose_connection(owner, MCP_ECLOSED);
    follow(owner);
}

static void on_closed(void *owner, int error)
{
    (void)error;
    lose_connection(owner, ((struct core_user *)owner)->connected ? MCP_ECLOSED : MCP_ECONNECT);
    follow(owner);
}

static const struct sock_ops core_ops = {
    .connected = on_connected, .data = on_data, .eof = on_eof, .closed = on_closed};

/* --- life */

struct core_user *core_user_new(void)
{
    struct core_user *u = xcalloc(1, sizeof(*u));
    const struct client_config config = {
        .retries = (unsigned)pick(4),
        .seed = pick(UINT64_MAX),
        /* The base profile, or any of what can be negotiated. */
        .features = one_in(3) ? 0 : (uint32_t)pick(FEATURES_MAX + 1) & ~(uint32_t)WIRE_SINCE_BASE,
        .window_bytes = one_in(2) ? 0 : (uint32_t)pick(2000) + 1,
    };

    client_core_init(&u->core, &config);
    client_part_init(&u->part);
    timer_init(&u->tick, on_tick, u);
    timer_init(&u->connecting, on_connect_limit, u);
    timer_init(&u->keepalive, on_keepalive, u);
    timer_init(&u->patience, lose_patience, u);
    timer_arm(world.loop, &u->patience, PATIENCE_MS);
    u->deals_left = (unsigned)pick(8) + 1;
    client_core_connect(&u->core, false);
    timer_arm(world.loop, &u->tick, 0);
    return u;
}

void core_user_free(struct core_user **up)
{
    struct core_user *u = *up;

    if (u != NULL) {
        *up = NULL;
        finish(u);
        client_part_fini(&u->part);
        client_core_fini(&u->core);
        free(u);
    }
}
