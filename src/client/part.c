/* SPDX-License-Identifier: Apache-2.0 */
#include "client/part.h"

#include "base/json_scan.h"
#include "codec/error_body.h"
#include "codec/part.h"
#include "wire/hello.h"

_Static_assert(MCP_ACK_UNKNOWN == WIRE_ACK_UNKNOWN, "an unknown number is the same in both");

void client_part_init(struct mcp_part *part)
{
    *part = (struct mcp_part){0};
}

void client_part_fini(struct mcp_part *part)
{
    buf_fini(&part->text);
    buf_fini(&part->own);
}

static void clear(struct mcp_part *part, uint32_t session)
{
    part->session = session;
    part->data = SLICE("");
    part->last = false;
    part->error = 0;
    part->retry_after_ms = 0;
    part->is_ack = false;
    buf_clear(&part->text);
    buf_clear(&part->own);
}

/* The members of an error part; what is missing keeps its default. */
static void read_error(struct mcp_part *part)
{
    struct json_member m;

    part->error = MCP_EINTERNAL;
    if (json_find(part->data, SLICE("code"), &m) == JSON_OK && m.kind == JSON_STRING) {
        part->error = mcp_error_from_name(m.value.ptr + 1, m.value.len - 2);
    }
    if (json_find(part->data, SLICE("retry_after_ms"), &m) == JSON_OK) {
        (void)json_uint(m.value, &part->retry_after_ms); /* not a number: it does not say */
    }
    if (json_find(part->data, SLICE("error"), &m) != JSON_OK || m.kind != JSON_STRING ||
        !json_unescape(m.value, &part->text) || !buf_append_byte(&part->text, '\0')) {
        buf_clear(&part->text);
    }
}

void client_part_read(struct mcp_part *part, uint32_t session, struct slice payload, bool whole)
{
    enum part_kind kind = whole ? part_classify_whole(payload) : part_classify(payload);

    clear(part, session);
    part->data = payload;
    part->last = whole || kind == PART_LAST || kind == PART_ERROR;
    if (kind == PART_ERROR) {
        read_error(part);
    }
}

int client_part_read_ack(struct mcp_part *part, uint32_t session, struct slice payload,
                         struct err *e)
{
    struct wire_ack ack;
    int rv;

    clear(part, session);
    rv = wire_ack_read(&ack, payload, &part->text, e);
    if (rv != 0) {
        return rv;
    }
    part->data = payload;
    part->is_ack = true;
    part->ack = (struct mcp_ack){
        .running = ack.running,
        .position = ack.position,
        .depth = ack.depth,
        .eta_ms = ack.eta_ms,
        .node = ack.node.ptr,
        .model = ack.model.ptr,
        .attempt = ack.attempt,
    };
    return 0;
}

void client_part_make_error(struct mcp_part *part, uint32_t session, int code, const char *text)
{
    clear(part, session);
    part->last = true;
    part->error = code;
    if (error_body_mcp(&part->own, code, slice_str(text), 0, ERROR_NO_SESSION)) {
        part->data = buf_slice(&part->own);
    } else {
        buf_clear(&part->own);
        part->data = SLICE("{\"error\":\"out of memory\",\"code\":\"out_of_memory\","
                           "\"retryable\":false,\"done\":true}");
    }
    if (!buf_append(&part->text, slice_of(text, strlen(text) + 1))) {
        buf_clear(&part->text);
    }
}

bool client_part_keep(struct mcp_part *part)
{
    if (part->data.ptr == buf_slice(&part->own).ptr) {
        return true;
    }
    buf_clear(&part->own);
    if (!buf_append(&part->own, part->data)) {
        return false;
    }
    part->data = buf_slice(&part->own);
    return true;
}

uint32_t mcp_part_session(const struct mcp_part *part)
{
    return part->session;
}

const char *mcp_part_data(const struct mcp_part *part, size_t *len)
{
    *len = part->data.len;
    return part->data.ptr;
}

bool mcp_part_last(const struct mcp_part *part)
{
    return part->last;
}

int mcp_part_error(const struct mcp_part *part)
{
    return part->error;
}

const char *mcp_part_error_text(const struct mcp_part *part)
{
    if (part->error == 0) {
        return "";
    }
    return buf_len(&part->text) > 0 ? buf_slice(&part->text).ptr : mcp_error_text(part->error);
}

const struct mcp_ack *mcp_part_ack(const struct mcp_part *part)
{
    return part->is_ack ? &part->ack : NULL;
}

uint64_t mcp_part_retry_after_ms(const struct mcp_part *part)
{
    return part->retry_after_ms;
}
