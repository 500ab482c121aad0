/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "mcp/error.h"

enum { KEPT_BYTES = 4096 }; /* memory for pieces that a connection keeps between frames */

void wire_conn_init(struct wire_conn *c, const struct wire_config *config)
{
    *c = (struct wire_conn){.config = *config, .features = WIRE_SINCE_BASE};
    if (config->role == WIRE_SERVER) {
        c->features |= WIRE_SINCE_GREETING; /* of the first frame */
    }
    c->authenticated = config->max_frame_unauthenticated_bytes == 0;
}

void wire_conn_fini(struct wire_conn *c)
{
    buf_fini(&c->collected);
    c->payload = (struct slice){0};
    c->state = WIRE_STATE_CLOSED;
}

void wire_conn_close(struct wire_conn *c)
{
    buf_release(&c->collected);
    c->payload = (struct slice){0};
    c->state = WIRE_STATE_CLOSED;
}

void wire_conn_set_authenticated(struct wire_conn *c, bool is)
{
    c->authenticated = is;
}

void wire_conn_greeted(struct wire_conn *c)
{
    c->features |= WIRE_SINCE_GREETING;
}

void wire_conn_negotiated(struct wire_conn *c, uint32_t features)
{
    c->features = features | WIRE_SINCE_BASE;
}

bool wire_conn_in_frame(const struct wire_conn *c)
{
    return c->header_len > 0 && c->state != WIRE_STATE_CLOSED;
}

/* --- events -------------------------------------------------------------------------------------
 */

static void __attribute__((format(printf, 2, 3)))
set_text(struct wire_event *ev, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(ev->text, sizeof(ev->text), fmt, args); /* cut where it is too long */
    va_end(args);
}

static void set_none(struct wire_event *ev)
{
    ev->kind = WIRE_EVENT_NONE;
    ev->session = 0;
    ev->payload = (struct slice){0};
    ev->credit_bytes = 0;
    ev->code = 0;
    ev->close = false;
    ev->too_many = false;
    ev->lost = false;
    ev->text[0] = '\0';
}

static void next_frame(struct wire_conn *c)
{
    c->header_len = 0;
    c->state = WIRE_STATE_HEADER;
}

static void refuse(struct wire_conn *c, struct wire_event *ev, int code, bool close)
{
    ev->kind = WIRE_EVENT_REFUSE;
    ev->session = c->header.session_id;
    ev->code = code;
    ev->close = close;
    if (close) {
        wire_conn_close(c);
    }
}

/* The frame is skipped; the 17th in 60 s closes. */
static void refuse_frame(struct wire_conn *c, uint64_t now_ms, struct wire_event *ev)
{
    uint32_t *oldest;
    bool too_many;

    if (now_ms - c->refused_last_ms >= WIRE_REFUSALS_SPAN_MS) {
        c->refused_count = 0;
    }
    oldest = &c->refused_ms[c->refused_count % WIRE_REFUSALS_MAX];
    too_many =
        c->refused_count >= WIRE_REFUSALS_MAX && (uint32_t)now_ms - *oldest < WIRE_REFUSALS_SPAN_MS;
    *oldest = (uint32_t)now_ms;
    c->refused_last_ms = now_ms;
    c->refused_count++;
    c->state = WIRE_STATE_SKIP;
    ev->too_many = too_many;
    refuse(c, ev, MCP_EBAD_REQUEST, too_many);
}

static void corrupt(struct wire_conn *c, struct wire_event *ev)
{
    ev->kind = WIRE_EVENT_CORRUPT;
    ev->session = c->header.session_id;
    ev->close = true;
    wire_conn_close(c);
}

static enum wire_event_kind event_of(enum wire_opcode opcode)
{
    static const enum wire_event_kind KINDS[] = {
        [WIRE_OP_REQUEST] = WIRE_EVENT_REQUEST,     [WIRE_OP_RESPONSE] = WIRE_EVENT_RESPONSE,
        [WIRE_OP_HEARTBEAT] = WIRE_EVENT_HEARTBEAT, [WIRE_OP_HELLO] = WIRE_EVENT_HELLO,
        [WIRE_OP_WELCOME] = WIRE_EVENT_WELCOME,     [WIRE_OP_ACK] = WIRE_EVENT_ACK,
        [WIRE_OP_CREDIT] = WIRE_EVENT_CREDIT,       [WIRE_OP_CANCEL] = WIRE_EVENT_CANCEL,
        [WIRE_OP_GOAWAY] = WIRE_EVENT_GOAWAY,       [WIRE_OP_CHUNK] = WIRE_EVENT_CHUNK,
    };

    return KINDS[opcode];
}

static void deliver(struct wire_conn *c, struct slice payload, struct wire_event *ev)
{
    ev->kind = event_of((enum wire_opcode)c->header.opcode);
    ev->session = c->header.session_id;
    ev->payload = c->payload = payload;
    if (ev->kind == WIRE_EVENT_CREDIT && payload.len == sizeof(ev->credit_bytes)) {
        ev->credit_bytes = wire_get_u32((const uint8_t *)payload.ptr);
    }
    next_frame(c);
}

/* --- header -------------------------------------------------------------------------------------
 */

/* Section 9: what a lost browser or a TLS peer sends first; to a client, what their servers answer.
 */
static size_t read_first(struct wire_conn *c, uint8_t byte, struct wire_event *ev)
{
    enum { TLS_ALERT = 0x15, TLS_HANDSHAKE = 0x16 };

    if (byte >= 'A' && byte <= 'Z') {
        ev->kind = WIRE_EVENT_HTTP;
    } else if (byte == TLS_HANDSHAKE || (byte == TLS_ALERT && c->config.role == WIRE_CLIENT)) {
        ev->kind = WIRE_EVENT_TLS;
    } else {
        c->state = WIRE_STATE_HEADER;
        return 0;
    }
    ev->close = true;
    wire_conn_close(c);
    return 1;
}

static uint32_t length_limit(const struct wire_conn *c)
{
    return c->authenticated ? c->config.max_frame_bytes : c->config.max_frame_unauthenticated_bytes;
}

/* The opcode's line, where this connection speaks it in this direction. */
static const struct wire_opcode_info *known_opcode(const struct wire_conn *c)
{
    const struct wire_opcode_info *info = wire_opcode_info(c->header.opcode);
    unsigned towards_us = c->config.role == WIRE_SERVER ? WIRE_TO_SERVER : WIRE_TO_CLIENT;

    if (info == NULL || (c->features & info->since) == 0 || (info->direction & towards_us) == 0) {
        return NULL;
    }
    return info;
}

static uint32_t crc_bytes(const struct wire_conn *c)
{
    return (c->features & WIRE_SINCE_CRC32C) != 0 ? WIRE_CRC_BYTES : 0;
}

/* What stands behind the CRC in section 5's order: opcode, session id, payload size. False: `ev`
 * has the text of the refusal. */
static bool check_meaning(const struct wire_conn *c, struct wire_event *ev)
{
    const struct mcp_header *h = &c->header;
    const struct wire_opcode_info *info = known_opcode(c);
    uint32_t length = h->length - crc_bytes(c);

    if (info == NULL) {
        set_text(ev, "opcode 0x%02x is not known here", h->opcode);
    } else if (info->session == WIRE_SESSION_POSITIVE && h->session_id == 0) {
        set_text(ev, "%s needs a session id above 0", info->name);
    } else if (length < info->payload_min_bytes) {
        set_text(ev, "%s of %u bytes, expected %u", info->name, length, info->payload_min_bytes);
    } else if (length > info->payload_max_bytes) {
        set_text(ev, "%s of %u bytes, at most %u", info->name, length, info->payload_max_bytes);
    } else {
        return true;
    }
    return false;
}

/* The frame's meaning is wrong, as `ev` says; a HELLO that comes late ends the connection. */
static void refuse_meaning(struct wire_conn *c, uint64_t now_ms, struct wire_event *ev)
{
    if (c->header.opcode == WIRE_OP_HELLO && c->config.role == WIRE_SERVER) {
        set_text(ev, "HELLO is only ever the first frame");
        c->header.session_id = 0;
        refuse(c, ev, MCP_EBAD_REQUEST, true);
    } else {
        refuse_frame(c, now_ms, ev);
    }
}

/* Section 5: the first failure wins, in this order. True: the payload is wanted. */
static bool check_header(struct wire_conn *c, uint64_t now_ms, struct wire_event *ev)
{
    const struct mcp_header *h = &c->header;

    if (h->version != WIRE_VERSION) {
        set_text(ev, "version %u is not supported; supported: %d", h->version, WIRE_VERSION);
        refuse(c, ev, MCP_EUNSUPPORTED_VERSION, true);
        return false;
    }
    if (h->length > length_limit(c)) {
        set_text(ev, "a frame of %u bytes is over the limit of %u%s", h->length, length_limit(c),
                 c->authenticated ? "" : " before authentication");
        refuse(c, ev, MCP_ETOO_LARGE, true);
        return false;
    }
    if (h->length < crc_bytes(c)) {
        set_text(ev, "a frame of %u bytes has no CRC", h->length);
        corrupt(c, ev);
        return false;
    }
    if (check_meaning(c, ev)) {
        return true;
    }
    if (crc_bytes(c) > 0) {
        c->refused = true;
        c->state = WIRE_STATE_SKIP;
    } else {
        refuse_meaning(c, now_ms, ev);
    }
    return false;
}

/* The whole frame is here. False: it is not what was sent. */
static bool check_crc(struct wire_conn *c, struct wire_event *ev)
{
    if (crc_bytes(c) == 0 || c->crc == wire_crc32c_decode(c->crc_bytes)) {
        return true;
    }
    set_text(ev, "the CRC of a frame is wrong");
    corrupt(c, ev);
    return false;
}

static void begin_frame(struct wire_conn *c, uint64_t now_ms)
{
    c->header = wire_header_decode(c->header_bytes);
    c->left_bytes = c->header.length;
    c->begun_ms = c->byte_ms = now_ms;
    c->window_bytes = 0;
    c->refused = false;
    if (crc_bytes(c) > 0) {
        c->crc = wire_crc32c(0, slice_of(c->header_bytes, WIRE_HEADER_BYTES));
        c->crc_len = 0;
    }
}

static size_t read_header(struct wire_conn *c, struct slice in, uint64_t now_ms,
                          struct wire_event *ev)
{
    size_t n = slice_first(in, WIRE_HEADER_BYTES - c->header_len).len;
    bool wanted;

    if (c->header_len == 0) {
        c->begun_ms = now_ms;
    }
    memcpy(c->header_bytes + c->header_len, in.ptr, n);
    c->header_len += n;
    if (c->header_len < WIRE_HEADER_BYTES) {
        return n;
    }
    begin_frame(c, now_ms);
    wanted = check_header(c, now_ms, ev);
    c->features &= ~(uint32_t)WIRE_SINCE_GREETING; /* the moment is over */
    if (wanted) {
        c->state = WIRE_STATE_PAYLOAD;
        if (c->left_bytes == 0) {
            deliver(c, SLICE(""), ev);
        }
    } else if (c->state == WIRE_STATE_SKIP && c->left_bytes == 0) {
        next_frame(c);
    }
    return n;
}

/* --- payload ------------------------------------------------------------------------------------
 */

/* Takes what `in` has of the frame, and its CRC apart; `data`: of the payload. */
static size_t take_bytes(struct wire_conn *c, struct slice in, uint64_t now_ms, struct slice *data)
{
    struct slice piece = slice_first(in, c->left_bytes);
    uint32_t behind = crc_bytes(c);

    *data = piece;
    if (behind > 0) {
        struct slice crc;

        *data = slice_first(piece, c->left_bytes > behind ? c->left_bytes - behind : 0);
        crc = slice_skip(piece, data->len);
        c->crc = wire_crc32c(c->crc, *data);
        if (crc.len > 0) {
            memcpy(c->crc_bytes + c->crc_len, crc.ptr, crc.len);
            c->crc_len += crc.len;
        }
    }
    c->left_bytes -= (uint32_t)piece.len;
    c->byte_ms = now_ms;
    c->window_bytes += piece.len;
    return piece.len;
}

static void refuse_for_memory(struct wire_conn *c, struct wire_event *ev)
{
    set_text(ev, "out of memory");
    refuse(c, ev, c->config.role == WIRE_SERVER ? MCP_EINTERNAL : MCP_ENOMEM, false);
    ev->lost = true;
    buf_release(&c->collected);
    if (c->left_bytes > 0) {
        c->state = WIRE_STATE_SKIP;
    } else {
        next_frame(c);
    }
}

static size_t read_payload(struct wire_conn *c, struct slice in, uint64_t now_ms,
                           struct wire_event *ev)
{
    bool first = c->left_bytes == c->header.length;
    struct slice data;
    size_t used = take_bytes(c, in, now_ms, &data);

    if (c->left_bytes == 0 && !check_crc(c, ev)) {
        return used;
    }
    if (c->left_bytes == 0 && first) {
        deliver(c, data, ev);
    } else if (!buf_append_of(&c->collected, data, c->header.length - crc_bytes(c))) {
        refuse_for_memory(c, ev);
    } else if (c->left_bytes == 0) {
        deliver(c, buf_slice(&c->collected), ev);
    }
    return used;
}

static size_t read_skipped(struct wire_conn *c, struct slice in, uint64_t now_ms,
                           struct wire_event *ev)
{
    struct slice data;
    size_t used = take_bytes(c, in, now_ms, &data);

    if (c->left_bytes > 0 || !check_crc(c, ev)) {
        return used;
    }
    if (c->refused) {
        (void)check_meaning(c, ev); /* for its text */
        refuse_meaning(c, now_ms, ev);
    }
    if (c->state == WIRE_STATE_SKIP) {
        next_frame(c);
    }
    return used;
}

/* The last event's payload is over; a large one must not stay with an idle connection. */
static void forget_payload(struct wire_conn *c)
{
    c->payload = (struct slice){0};
    if (c->state == WIRE_STATE_PAYLOAD) {
        return; /* what is collected is a payload still to come */
    }
    if (c->collected.cap > KEPT_BYTES) {
        buf_release(&c->collected);
    } else {
        buf_clear(&c->collected);
    }
}

ptrdiff_t wire_conn_recv(struct wire_conn *c, struct slice in, uint64_t now_ms,
                         struct wire_event *ev)
{
    size_t used = 0;

    set_none(ev);
    forget_payload(c);
    while (used < in.len && ev->kind == WIRE_EVENT_NONE) {
        struct slice rest = slice_skip(in, used);

        switch (c->state) {
        case WIRE_STATE_FIRST:
            used += read_first(c, (uint8_t)rest.ptr[0], ev);
            break;
        case WIRE_STATE_HEADER:
            used += read_header(c, rest, now_ms, ev);
            break;
        case WIRE_STATE_PAYLOAD:
            used += read_payload(c, rest, now_ms, ev);
            break;
        case WIRE_STATE_SKIP:
            used += read_skipped(c, rest, now_ms, ev);
            break;
        case WIRE_STATE_CLOSED:
            return 0;
        }
    }
    return ev->kind == WIRE_EVENT_NONE ? 0 : (ptrdiff_t)used;
}

int wire_conn_take_payload(struct wire_conn *c, struct buf *out)
{
    struct slice payload = c->payload;

    c->payload = (struct slice){0};
    if (payload.len > 0 && payload.ptr == buf_slice(&c->collected).ptr) {
        buf_move(out, &c->collected);
        return 0;
    }
    buf_release(out);
    return buf_append_of(out, payload, payload.len) ? 0 : MCP_ENOMEM;
}

size_t wire_conn_held_bytes(const struct wire_conn *c)
{
    return c->state == WIRE_STATE_PAYLOAD ? c->collected.cap : 0;
}

void wire_conn_drop_held(struct wire_conn *c)
{
    ASSERT(c->state == WIRE_STATE_PAYLOAD);
    buf_release(&c->collected);
    c->state = WIRE_STATE_SKIP;
}
