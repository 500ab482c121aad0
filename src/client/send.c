/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves a client: frames, requests whole or in pieces, credit. */
#include "client/core_internal.h"

#include "base/version.h"
#include "mcp/error.h"
#include "wire/crc32c.h"

bool client_send_frame(struct client_core *c, enum wire_opcode opcode, uint32_t session,
                       struct slice payload, uint64_t now_ms)
{
    size_t crc_bytes = client_has(c, WIRE_SINCE_CRC32C) ? WIRE_CRC_BYTES : 0;
    size_t length = payload.len + crc_bytes;
    size_t before = buf_len(&c->out);
    uint8_t crc[WIRE_CRC_BYTES];

    if (buf_reserve(&c->out, WIRE_HEADER_BYTES + length) == NULL) {
        c->out.failed = false; /* the frame is not in it, what is before is whole */
        return false;
    }
    /* There is room, so nothing of this fails. */
    (void)wire_header_append(&c->out, opcode, session, length);
    (void)buf_append(&c->out, payload);
    if (crc_bytes > 0) {
        wire_crc32c_encode(wire_crc32c(0, slice_skip(buf_slice(&c->out), before)), crc);
        (void)buf_append(&c->out, slice_of(crc, sizeof(crc)));
    }
    c->sent_ms = now_ms;
    return true;
}

bool client_send_hello(struct client_core *c, uint64_t now_ms)
{
    struct buf text = {0};
    bool ok;

    wire_hello_init(&c->hello);
    c->hello.features = c->config.features | WIRE_SINCE_BASE;
    c->hello.heartbeat_ms = c->config.heartbeat_ms;
    c->hello.max_frame_bytes = c->config.max_frame_bytes;
    c->hello.window_bytes = c->config.window_bytes;
    if (c->config.auth_json.len > 0) {
        c->hello.auth = c->config.auth_json;
    }
    c->hello.client = SLICE("\"libmcp/" MCPGATE_VERSION "\"");
    ok = wire_hello_append(&text, &c->hello) &&
         client_send_frame(c, WIRE_OP_HELLO, 0, buf_slice(&text), now_ms);
    buf_fini(&text);
    return ok;
}

/* --- requests ------------------------------------------------------------------------------------
 */

static bool in_pieces(const struct client_core *c)
{
    return c->state == CLIENT_READY ? client_has(c, WIRE_SINCE_CHUNK)
                                    : (c->config.features & WIRE_SINCE_CHUNK) != 0;
}

size_t client_send_most(const struct client_core *c)
{
    size_t crc_bytes = client_has(c, WIRE_SINCE_CRC32C) ? WIRE_CRC_BYTES : 0;

    if (in_pieces(c)) {
        return CLIENT_REQUEST_BYTES_MAX;
    }
    return c->state == CLIENT_READY ? c->agreed.max_frame_bytes - crc_bytes : WIRE_MAX_FRAME_BYTES;
}

/* The next piece of the exchange: the REQUEST where it is the last one. */
static bool send_piece(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    size_t most =
        client_has(c, WIRE_SINCE_CHUNK)
            ? wire_piece_bytes_max(c->agreed.max_frame_bytes, client_has(c, WIRE_SINCE_CRC32C))
            : x->left.len;
    struct slice rest = x->left;
    struct slice piece = wire_piece_take(&rest, most);

    if (!client_send_frame(c, rest.len > 0 ? WIRE_OP_CHUNK : WIRE_OP_REQUEST, x->session->id, piece,
                           now_ms)) {
        return false;
    }
    client_send_list_remove(&c->sending, x);
    x->sent = true;
    x->left = rest;
    if (rest.len > 0) {
        client_send_list_push(&c->sending, x);
    } else if (!client_may_be_sent_again(c, x)) {
        buf_release(&x->body);
    }
    return true;
}

bool client_send_fill(struct client_core *c, uint64_t now_ms)
{
    struct client_exchange *x;

    while (buf_len(&c->out) < CLIENT_OUT_BYTES &&
           (x = client_send_list_first(&c->sending)) != NULL) {
        if (!send_piece(c, x, now_ms)) {
            return buf_len(&c->out) > 0;
        }
    }
    return true;
}

bool client_send_request(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    x->seen_bytes = 0;
    x->left = buf_slice(&x->body);
    client_send_list_push(&c->sending, x);
    return client_send_fill(c, now_ms);
}

bool client_send_stop(struct client_core *c, struct client_exchange *x, uint64_t now_ms)
{
    if (!client_send_list_has(x)) {
        return true;
    }
    if (x->sent && !client_send_frame(c, WIRE_OP_CHUNK, x->session->id, SLICE(""), now_ms)) {
        return false;
    }
    client_send_list_remove(&c->sending, x);
    return true;
}

/* --- credit --------------------------------------------------------------------------------------
 */

bool client_send_credit(struct client_core *c, struct client_exchange *x,
                        const struct mcp_part *part, uint64_t now_ms)
{
    uint8_t bytes[4];
    uint64_t seen;

    if (!client_has(c, WIRE_SINCE_CREDIT) || part->is_ack || !x->sent) {
        return true;
    }
    seen = x->seen_bytes + part->data.len;
    x->seen_bytes = seen;
    /* Half of the window at once: seldom, and before it is used up. */
    if (seen == 0 || seen < c->agreed.window_bytes / 2) {
        return true;
    }
    wire_put_u32(bytes, (uint32_t)seen);
    x->seen_bytes = 0;
    return client_send_frame(c, WIRE_OP_CREDIT, x->session->id, slice_of(bytes, 4), now_ms);
}
