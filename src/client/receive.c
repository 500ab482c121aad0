/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives at a client: events of the connection become parts, or change what it does; and how
 * the caller gets the parts. */
#include "client/core_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/json_scan.h"

static void lose(struct client_core *c, const struct err *e, uint64_t now_ms)
{
    client_core_lost(c, e->code, e->text, now_ms);
}

static void lose_for_memory(struct client_core *c, uint64_t now_ms)
{
    client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
}

/* --- negotiation ---------------------------------------------------------------------------------
 */

static void read_welcome(struct client_core *c, struct slice payload, uint64_t now_ms)
{
    struct err e;

    if (wire_welcome_read(&c->agreed, &c->hello, payload, &e) != 0) {
        lose(c, &e, now_ms);
        return;
    }
    buf_clear(&c->server_name);
    if ((c->agreed.server.ptr != NULL && !json_unescape(c->agreed.server, &c->server_name)) ||
        !buf_append_byte(&c->server_name, '\0')) {
        lose_for_memory(c, now_ms);
        return;
    }
    c->agreed.server = (struct slice){0}; /* it was borrowed */
    if (client_has(c, WIRE_SINCE_CREDIT) && c->agreed.window_bytes == 0) {
        client_core_lost(c, MCP_EPROTOCOL, "WELCOME: with a window of 0 nothing can come", now_ms);
        return;
    }
    c->negotiated = true;
    wire_conn_negotiated(&c->conn, c->agreed.features);
    client_core_ready(c, now_ms);
}

static void read_goaway(struct client_core *c, struct slice payload, uint64_t now_ms)
{
    struct wire_goaway goaway;

    /* One that cannot be read says as much. */
    (void)wire_goaway_read(&goaway, payload, NULL);
    c->going_away = true;
    c->return_ms = now_ms + (goaway.retry_after_ms < CLIENT_RETURN_MS_MAX ? goaway.retry_after_ms
                                                                          : CLIENT_RETURN_MS_MAX);
}

/* --- heartbeats ----------------------------------------------------------------------------------
 */

static void read_echo(struct client_core *c, struct slice payload)
{
    uint64_t number = 0;

    if (payload.len != CLIENT_BEAT_BYTES) {
        return; /* not one of ours */
    }
    for (size_t i = 0; i < CLIENT_BEAT_BYTES; i++) {
        number = number << 8 | (uint8_t)payload.ptr[i];
    }
    if (number <= c->beats_sent && number > c->beat_echoed) {
        c->beat_echoed = number;
    }
}

/* --- parts ---------------------------------------------------------------------------------------
 */

/* The server drains and took the request for a new one: it goes to the next connection, if that is
 * right for it. */
static bool goes_elsewhere(struct client_core *c, struct client_exchange *x,
                           const struct mcp_part *part)
{
    if (!c->going_away || part->error != MCP_ESHUTTING_DOWN || client_send_list_has(x) ||
        !client_may_be_sent_again(c, x)) {
        return false;
    }
    x->sent = false;
    x->repeats++;
    return true;
}

/* True: `part` is for the caller. */
static bool read_part(struct client_core *c, uint32_t session, struct slice payload,
                      uint64_t now_ms, struct mcp_part *part)
{
    struct client_exchange *x = client_exchange_find(c, session, now_ms);

    if (session == 0) { /* never ends an exchange */
        client_part_read(part, 0, payload, true);
        part->last = false;
        return part->error != 0;
    }
    if (x == NULL || !x->sent) {
        return false;
    }
    client_part_read(part, session, payload, !x->streams);
    if (part->last && goes_elsewhere(c, x, part)) {
        return false;
    }
    if (!client_send_stop(c, x, now_ms)) { /* answered before it was all there: refused */
        lose_for_memory(c, now_ms);
        return false;
    }
    if (x->progress == CLIENT_WAITING) {
        x->progress = CLIENT_ANSWERING;
        buf_release(&x->body); /* never sent again */
    }
    if (part->last) {
        x->progress = CLIENT_ENDED;
        (void)wire_chunks_drop(&c->chunks, session); /* what is behind the end is nothing */
    }
    return true;
}

/* The last piece of a part, or all of it. */
static bool read_response(struct client_core *c, const struct wire_event *ev, uint64_t now_ms,
                          struct mcp_part *part)
{
    struct slice payload = ev->payload;
    struct err e;

    switch (wire_chunks_last(&c->chunks, ev->session, payload, &c->whole, &e)) {
    case WIRE_CHUNK_ALONE:
        break;
    case WIRE_CHUNK_WHOLE:
        payload = buf_slice(&c->whole);
        break;
    case WIRE_CHUNK_REFUSED:
        lose(c, &e, now_ms);
        return false;
    default: /* discarded */
        return false;
    }
    return read_part(c, ev->session, payload, now_ms, part);
}

static void read_chunk(struct client_core *c, const struct wire_event *ev, uint64_t now_ms)
{
    bool wanted = client_exchange_find(c, ev->session, now_ms) != NULL;
    struct err e;

    switch (wire_chunks_piece(&c->chunks, ev->session, ev->payload, now_ms, &e)) {
    case WIRE_CHUNK_BEGUN:
        if (!wanted && !wire_chunks_refuse(&c->chunks, ev->session)) {
            client_core_lost(c, MCP_EPROTOCOL, "too many pieces of answers nobody waits for",
                             now_ms);
        }
        break;
    case WIRE_CHUNK_REFUSED: /* the exchange cannot go on, and its session would not be free */
    case WIRE_CHUNK_CLOSE:
        lose(c, &e, now_ms);
        break;
    default:
        break;
    }
}

static bool read_ack(struct client_core *c, const struct wire_event *ev, uint64_t now_ms,
                     struct mcp_part *part)
{
    const struct client_exchange *x = client_exchange_find(c, ev->session, now_ms);
    struct err e;
    int rv;

    if (x == NULL || !x->sent) {
        return false;
    }
    rv = client_part_read_ack(part, ev->session, ev->payload, &e);
    if (rv != 0) {
        lose(c, &e, now_ms);
    }
    return rv == 0;
}

/* --- events --------------------------------------------------------------------------------------
 */

static void read_refusal(struct client_core *c, const struct wire_event *ev, uint64_t now_ms)
{
    if (ev->code == MCP_ENOMEM) { /* the part is lost, and whether it was the last one */
        lose_for_memory(c, now_ms);
    } else if (ev->close) {
        client_core_lost(c, MCP_EPROTOCOL, ev->text, now_ms);
    }
}

static bool handle_event(struct client_core *c, const struct wire_event *ev, uint64_t now_ms,
                         struct mcp_part *part)
{
    switch (ev->kind) {
    case WIRE_EVENT_RESPONSE:
        if (c->state == CLIENT_READY) {
            return read_response(c, ev, now_ms, part);
        }
        client_core_ready(c, now_ms); /* it does not know HELLO: a server of the base profile */
        break;
    case WIRE_EVENT_WELCOME: /* known in NEGOTIATE alone */
        read_welcome(c, ev->payload, now_ms);
        break;
    case WIRE_EVENT_ACK:
        return read_ack(c, ev, now_ms, part);
    case WIRE_EVENT_CHUNK:
        read_chunk(c, ev, now_ms);
        break;
    case WIRE_EVENT_GOAWAY:
        read_goaway(c, ev->payload, now_ms);
        break;
    case WIRE_EVENT_HEARTBEAT:
        read_echo(c, ev->payload);
        break;
    case WIRE_EVENT_REFUSE:
        read_refusal(c, ev, now_ms);
        break;
    case WIRE_EVENT_CORRUPT: /* of the way, not of the server: another connection may be better */
        client_core_lost(c, MCP_ECLOSED, ev->text, now_ms);
        break;
    case WIRE_EVENT_HTTP:
        client_core_lost(c, MCP_EPROTOCOL, "the server speaks HTTP there, not MCP", now_ms);
        break;
    case WIRE_EVENT_TLS:
        client_core_lost(c, MCP_EPROTOCOL, "the server speaks TLS there", now_ms);
        break;
    case WIRE_EVENT_HELLO: /* to a server: they do not come */
    case WIRE_EVENT_CREDIT:
    case WIRE_EVENT_CANCEL:
    case WIRE_EVENT_NONE:
    case WIRE_EVENT_REQUEST:
    case WIRE_EVENT_CLOSE:
        break;
    }
    return false;
}

ptrdiff_t client_core_recv(struct client_core *c, struct slice in, uint64_t now_ms,
                           struct mcp_part *part)
{
    struct wire_event ev;
    ptrdiff_t used = 0, n;

    c->unanswered_ms = 0;
    buf_release(&c->whole);
    while (client_core_is_up(c) &&
           (n = wire_conn_recv(&c->conn, slice_skip(in, (size_t)used), now_ms, &ev)) > 0) {
        used += n;
        if (handle_event(c, &ev, now_ms, part)) {
            return used;
        }
    }
    return 0;
}

/* --- to the caller
 * --------------------------------------------------------------------------------
 */

void client_core_keep(struct client_core *c, struct mcp_part *part, uint64_t now_ms)
{
    struct mcp_part *kept = calloc(1, sizeof(*kept));
    struct wire_session *session;

    if (kept != NULL && client_part_keep(part)) {
        *kept = *part;
        client_part_list_push(&c->kept, kept);
        client_part_init(part);
        return;
    }
    free(kept);
    session = wire_session_find(&c->sessions, part->session, now_ms);
    if (session != NULL) {
        client_core_fail(c, session->exchange, MCP_ENOMEM);
        client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
    }
}

static bool pop_kept(struct client_core *c, struct mcp_part *part)
{
    struct mcp_part *kept = client_part_list_pop(&c->kept);

    if (kept == NULL) {
        return false;
    }
    client_part_fini(part);
    *part = *kept;
    free(kept);
    return true;
}

bool client_core_part(struct client_core *c, struct mcp_part *part)
{
    struct client_exchange *x;

    if (pop_kept(c, part)) {
        return true;
    }
    if (c->failures == 0) {
        return false;
    }
    for (x = client_exchange_list_first(&c->exchanges); x->failure == 0;
         x = client_exchange_list_next(&c->exchanges, x)) {
    }
    client_part_make_error(part, x->session->id, x->failure,
                           x->failure == c->err.code ? c->err.text : mcp_error_text(x->failure));
    return true;
}

void client_core_seen(struct client_core *c, const struct mcp_part *part, uint64_t now_ms)
{
    struct wire_session *session = wire_session_find(&c->sessions, part->session, now_ms);
    struct client_exchange *x = session == NULL ? NULL : session->exchange;

    if (!part->last) {
        if (x != NULL && x->progress == CLIENT_ANSWERING && c->state == CLIENT_READY &&
            !client_send_credit(c, x, part, now_ms)) {
            client_core_lost(c, MCP_ENOMEM, "out of memory", now_ms);
        }
        return;
    }
    ASSERT(x != NULL);
    if (x->failure != 0) {
        c->failures--;
    }
    client_exchange_end(c, x, now_ms);
}
