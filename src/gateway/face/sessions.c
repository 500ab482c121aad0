/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/sessions.h"

#include <inttypes.h>

#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/face/http.h"
#include "gateway/face/http_reply.h"
#include "gateway/face/mcp.h"
#include "gateway/face/mcp_conn.h"
#include "gateway/sub.h"
#include "gateway/turns.h"

struct page {
    struct buf *out;
    struct loop *loop;
    size_t most;  /* so many are written */
    size_t count; /* there are */
    bool idle;    /* those are looked for, or else all others */
};

/* False: it finds no room. */
static bool begin_row(struct page *p, const char *state, const char *face)
{
    if (p->count++ >= p->most) {
        return false;
    }
    buf_printf(p->out, "%s{\"state\":\"%s\",\"face\":\"%s\"", p->count > 1 ? "," : "", state, face);
    return true;
}

static void add_text(struct page *p, const char *key, struct slice text)
{
    if (text.len > 0) {
        buf_printf(p->out, ",\"%s\":", key);
        json_append_string(p->out, text);
    }
}

static void add_number(struct page *p, const char *key, uint64_t number)
{
    buf_printf(p->out, ",\"%s\":%" PRIu64, key, number);
}

static void add_age(struct page *p, uint64_t since_us)
{
    uint64_t now_us = loop_now_us(p->loop);

    add_number(p, "ms", now_us > since_us ? (now_us - since_us) / 1000 : 0);
}

static void end_row(struct page *p)
{
    buf_append_byte(p->out, '}');
}

/* --- requests --------------------------------------------------------------------------------- */

static const char *state_of(const struct exchange *x)
{
    if (!x->started && !x->refused) {
        return "reading";
    }
    if (x->turn.state == TURN_WAITS) {
        return "queued";
    }
    if (x->paused) {
        return "stalled"; /* the client does not take what there is */
    }
    if (x->parts > 0) {
        return "streaming";
    }
    if (x->node_id == 0) {
        return "waiting"; /* for news of nodes, or what another request is answered */
    }
    return x->turn.loads ? "loading" : "running";
}

static void add_exchange(struct page *p, const struct exchange *x)
{
    add_text(p, "id", slice_str(x->id));
    add_text(p, "client", slice_str(x->client));
    add_text(p, "tenant", turn_tenant(x));
    add_text(p, "op", slice_str(x->op == OP_NONE ? "" : op_info(x->op)->name));
    add_text(p, "model", buf_slice(&x->model));
    add_text(p, "route", exchange_asked_model(x));
    add_text(p, "node", slice_str(x->node_name));
    add_age(p, x->received_us);
    if (x->turn.state == TURN_WAITS) {
        add_number(p, "position", x->turn.position);
        if (x->turn.eta_us != SCHED_UNKNOWN) {
            add_number(p, "eta_ms", x->turn.eta_us / 1000);
        }
    }
    add_number(p, "parts", x->parts);
    add_number(p, "bytes_in", x->bytes_in);
    add_number(p, "bytes_out", x->bytes_out);
}

/* --- HTTP ------------------------------------------------------------------------------------- */

static void add_address(struct page *p, const struct addr *peer)
{
    char client[ADDR_TEXT_MAX];

    addr_format_host(peer, client);
    add_text(p, "client", slice_str(client));
}

static void on_http(void *owner, const struct http_conn_view *v)
{
    struct page *p = owner;
    const struct http_exchange *h = v->request_owner;
    const struct exchange *x = h == NULL ? NULL : h->exchange;
    bool rests = v->idle && v->unsent_bytes == 0;

    if (p->idle != rests || !begin_row(p,
                                       x != NULL             ? state_of(x)
                                       : rests               ? "idle"
                                       : v->unsent_bytes > 0 ? "sending"
                                                             : "reading",
                                       "http")) {
        return;
    }
    if (x != NULL) {
        add_exchange(p, x);
    } else {
        add_address(p, v->peer);
    }
    if (v->idle) {
        add_age(p, v->idle_us);
    }
    add_number(p, "unsent", v->unsent_bytes);
    end_row(p);
}

/* --- MCP -------------------------------------------------------------------------------------- */

/* What is over but for parts that the client has not taken. */
static const char *state_of_rest(const struct mcp_exchange *m)
{
    if (m->state == MCP_ARRIVING) {
        return "reading";
    }
    return mcp_lane_holds_last(&m->lane) ? "stalled" : "sending";
}

static void add_mcp_exchange(struct page *p, const struct mcp_exchange *m)
{
    const struct mcp_conn *c = m->conn;
    const struct exchange *x = m->exchange;

    if (!begin_row(p, x == NULL ? state_of_rest(m) : state_of(x), "mcp")) {
        return;
    }
    add_number(p, "connection", c->number);
    add_number(p, "session", m->session->id);
    if (x != NULL) {
        add_exchange(p, x);
    } else {
        add_text(p, "client", slice_str(c->client));
        add_text(p, "model", m->session->inherited.model);
    }
    add_number(p, "unsent", m->lane.charged_bytes + m->lane.free_bytes);
    if (mcp_conn_has(c, WIRE_SINCE_CREDIT)) {
        buf_printf(p->out, ",\"credit\":%" PRId64, m->lane.balance);
    }
    end_row(p);
}

static void on_mcp(void *owner, const struct mcp_conn *c)
{
    struct page *p = owner;

    if (!p->idle) {
        for (const struct mcp_exchange *m = mcp_exchange_list_first(&c->running); m != NULL;
             m = mcp_exchange_list_next(&c->running, m)) {
            add_mcp_exchange(p, m);
        }
    } else if (c->running.count == 0 && begin_row(p, "idle", "mcp")) {
        add_number(p, "connection", c->number);
        add_text(p, "client", slice_str(c->client));
        add_age(p, c->heard_ms * 1000);
        add_number(p, "remembered", c->sessions.idle.count);
        add_number(p, "unsent", mcp_out_unsent(&c->out));
        end_row(p);
    }
}

size_t sessions_look(const struct sub *sub, struct slice about, struct buf *out)
{
    struct page p = {
        .out = out,
        .loop = sub->loop,
        .most = (SESSIONS_SHOWN_MAX + sub->sibling_count - 1) / sub->sibling_count,
    };

    (void)about;
    for (int i = 0; i < 2; i++) {
        p.idle = i > 0;
        mcp_face_walk(sub->mcp, on_mcp, &p);
        http_face_walk(sub->http, on_http, &p);
    }
    return p.count;
}
