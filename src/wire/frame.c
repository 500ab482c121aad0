/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <string.h>

static const struct wire_opcode_info OPCODES[] = {
#define WIRE_OPCODE(name, byte, direction, since, session, least, most)                            \
    {#name, byte, WIRE_##direction, WIRE_SINCE_##since, WIRE_SESSION_##session, least, most},
#include "wire/opcode.def"
#undef WIRE_OPCODE
};

const struct wire_opcode_info *wire_opcode_info(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof(OPCODES) / sizeof(OPCODES[0]); i++) {
        if (OPCODES[i].opcode == opcode) {
            return &OPCODES[i];
        }
    }
    return NULL;
}

void wire_put_u32(uint8_t out[4], uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

uint32_t wire_get_u32(const uint8_t in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | (uint32_t)in[3];
}

void wire_header_encode(const struct mcp_header *h, uint8_t out[WIRE_HEADER_BYTES])
{
    out[0] = h->version;
    out[1] = h->opcode;
    wire_put_u32(out + 2, h->session_id);
    wire_put_u32(out + 6, h->length);
}

struct mcp_header wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES])
{
    return (struct mcp_header){
        .version = in[0],
        .opcode = in[1],
        .session_id = wire_get_u32(in + 2),
        .length = wire_get_u32(in + 6),
    };
}

/* Reserves room for what follows too, so that a frame is appended whole or not at all. */
static char *reserve_frame(struct buf *out, enum wire_opcode opcode, uint32_t session,
                           size_t length, size_t room)
{
    struct mcp_header h = {WIRE_VERSION, (uint8_t)opcode, session, (uint32_t)length};
    uint8_t bytes[WIRE_HEADER_BYTES];
    char *at;

    if (length > UINT32_MAX) {
        out->failed = true; /* sticky, as every failure of a buf */
        return NULL;
    }
    at = buf_reserve(out, WIRE_HEADER_BYTES + room);
    if (at != NULL) {
        wire_header_encode(&h, bytes);
        memcpy(at, bytes, WIRE_HEADER_BYTES);
        buf_commit(out, WIRE_HEADER_BYTES);
    }
    return at;
}

bool wire_header_append(struct buf *out, enum wire_opcode opcode, uint32_t session, size_t length)
{
    return reserve_frame(out, opcode, session, length, 0) != NULL;
}

bool wire_frame_append(struct buf *out, enum wire_opcode opcode, uint32_t session,
                       struct slice payload)
{
    if (reserve_frame(out, opcode, session, payload.len, payload.len) == NULL) {
        return false;
    }
    return buf_append(out, payload);
}
