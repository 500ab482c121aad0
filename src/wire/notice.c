/* SPDX-License-Identifier: Apache-2.0 */
/* ACK and GOAWAY of wire/hello.h. */
#include "wire/hello.h"

#include <inttypes.h>

#include "mcp/error.h"
#include "wire/members.h"

/* --- ACK -----------------------------------------------------------------------------------------
 */

static void append_known(struct buf *out, const char *name, uint64_t value)
{
    if (value != WIRE_ACK_UNKNOWN) {
        buf_printf(out, ",\"%s\":%" PRIu64, name, value);
    }
}

bool wire_ack_append(struct buf *out, const struct wire_ack *ack)
{
    buf_printf(out, "{\"state\":\"%s\"", ack->running ? "running" : "queued");
    append_known(out, "position", ack->position);
    append_known(out, "depth", ack->depth);
    append_known(out, "eta_ms", ack->eta_ms);
    if (ack->node.len > 0) {
        buf_append_str(out, ",\"node\":");
        json_append_string(out, ack->node);
    }
    if (ack->model.len > 0) {
        buf_append_str(out, ",\"model\":");
        json_append_string(out, ack->model);
    }
    append_known(out, "attempt", ack->attempt == 0 ? WIRE_ACK_UNKNOWN : ack->attempt);
    return buf_append_byte(out, '}');
}

/* Texts are left as they stand in the JSON. */
static bool read_ack_member(struct wire_members *r, const struct json_member *m,
                            struct wire_ack *ack)
{
    if (json_key_is(m, SLICE("state"))) {
        ack->running = wire_member_is(m, "running");
        return ack->running || wire_member_is(m, "queued") ||
               wire_members_wrong(r, "state", "queued or running");
    }
    if (json_key_is(m, SLICE("position"))) {
        return wire_member_number(r, m, "position", 0, UINT64_MAX, &ack->position);
    }
    if (json_key_is(m, SLICE("depth"))) {
        return wire_member_number(r, m, "depth", 0, UINT64_MAX, &ack->depth);
    }
    if (json_key_is(m, SLICE("eta_ms"))) {
        return wire_member_number(r, m, "eta_ms", 0, UINT64_MAX, &ack->eta_ms);
    }
    if (json_key_is(m, SLICE("attempt"))) {
        return wire_member_u32(r, m, "attempt", 0, UINT32_MAX, &ack->attempt);
    }
    if (json_key_is(m, SLICE("model"))) {
        return wire_member_text(r, m, "model", &ack->model);
    }
    return !json_key_is(m, SLICE("node")) || wire_member_text(r, m, "node", &ack->node);
}

static bool unescape(struct slice quoted, struct buf *texts)
{
    return (quoted.len == 0 || json_unescape(quoted, texts)) && buf_append_byte(texts, '\0');
}

int wire_ack_read(struct wire_ack *ack, struct slice payload, struct buf *texts, struct err *e)
{
    struct wire_members r = {.what = "ACK", .code = MCP_EPROTOCOL, .e = e};
    struct json_member m;
    enum json_status status;
    size_t node_len;

    *ack = (struct wire_ack){
        .position = WIRE_ACK_UNKNOWN,
        .depth = WIRE_ACK_UNKNOWN,
        .eta_ms = WIRE_ACK_UNKNOWN,
    };
    buf_clear(texts);
    if (wire_members_begin(&r, payload) != 0) {
        return MCP_EPROTOCOL;
    }
    while ((status = wire_members_next(&r, &m)) == JSON_OK) {
        if (!read_ack_member(&r, &m, ack)) {
            return MCP_EPROTOCOL;
        }
    }
    if (status < 0) {
        return MCP_EPROTOCOL;
    }
    if (!unescape(ack->node, texts)) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    node_len = buf_len(texts);
    if (!unescape(ack->model, texts)) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    ack->node = slice_first(buf_slice(texts), node_len - 1);
    ack->model = slice_skip(buf_slice(texts), node_len);
    ack->model.len--; /* its NUL */
    return 0;
}

/* --- GOAWAY --------------------------------------------------------------------------------------
 */

static const char *const REASONS[] = {
    [WIRE_GOAWAY_DRAIN] = "drain",     [WIRE_GOAWAY_IDLE] = "idle",
    [WIRE_GOAWAY_CORRUPT] = "corrupt", [WIRE_GOAWAY_TOO_MANY_ERRORS] = "too_many_errors",
    [WIRE_GOAWAY_OTHER] = "other",
};

const char *wire_goaway_name(enum wire_goaway_reason reason)
{
    return REASONS[reason];
}

bool wire_goaway_append(struct buf *out, const struct wire_goaway *goaway)
{
    return buf_printf(out, "{\"reason\":\"%s\",\"retry_after_ms\":%" PRIu64 "}",
                      REASONS[goaway->reason], goaway->retry_after_ms);
}

static enum wire_goaway_reason find_reason(const struct json_member *m)
{
    enum wire_goaway_reason reason = 0;

    while (reason < WIRE_GOAWAY_OTHER && !wire_member_is(m, REASONS[reason])) {
        reason++;
    }
    return reason;
}

int wire_goaway_read(struct wire_goaway *goaway, struct slice payload, struct err *e)
{
    struct wire_members r = {.what = "GOAWAY", .code = MCP_EPROTOCOL, .e = e};
    struct json_member m;
    enum json_status status;

    *goaway = (struct wire_goaway){.reason = WIRE_GOAWAY_OTHER};
    if (wire_members_begin(&r, payload) != 0) {
        return MCP_EPROTOCOL;
    }
    while ((status = wire_members_next(&r, &m)) == JSON_OK) {
        if (json_key_is(&m, SLICE("reason"))) {
            goaway->reason = find_reason(&m);
        } else if (json_key_is(&m, SLICE("retry_after_ms")) &&
                   !wire_member_number(&r, &m, "retry_after_ms", 0, UINT64_MAX,
                                       &goaway->retry_after_ms)) {
            return MCP_EPROTOCOL;
        }
    }
    return status < 0 ? MCP_EPROTOCOL : 0;
}
