/* SPDX-License-Identifier: Apache-2.0 */
/* MCP 1 frames (protocol.md section 1): the opcodes, the 10-byte header, and how to write a frame.
 * Pure: no state, any thread. Reading a stream of frames is wire/conn.h's. All integers are
 * unsigned and big-endian:
 *
 *  0        1        2                    6                   10
 *  +--------+--------+--------------------+--------------------+----------------
 *  | version| opcode |     session_id     |       length       | payload ...
 *  |  u8    |  u8    |        u32         |        u32         | length bytes
 *  +--------+--------+--------------------+--------------------+---------------- */
#ifndef MCP_WIRE_FRAME_H
#define MCP_WIRE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    WIRE_VERSION = 1,
    WIRE_HEADER_BYTES = 10,
};

enum wire_opcode {
#define WIRE_OPCODE(name, byte, direction, since, session, least, most) WIRE_OP_##name = byte,
#include "wire/opcode.def"
#undef WIRE_OPCODE
};

enum wire_direction { WIRE_TO_SERVER = 1, WIRE_TO_CLIENT = 2, WIRE_BOTH = 3 }; /* bits */

/* What a connection speaks, as bits. BASE needs no negotiation. */
enum wire_feature {
    WIRE_SINCE_BASE = 1,
#define WIRE_FEATURE(name, text, bit) WIRE_SINCE_##name = 1 << (bit),
#include "wire/feature.def"
#undef WIRE_FEATURE
    WIRE_SINCE_GREETING = 1 << 30, /* HELLO and WELCOME, at their one moment */
};

enum wire_session_rule { WIRE_SESSION_ANY, WIRE_SESSION_POSITIVE };

struct wire_opcode_info {
    const char *name;
    uint8_t opcode;
    enum wire_direction direction;
    enum wire_feature since;
    enum wire_session_rule session;
    uint32_t payload_min_bytes;
    uint32_t payload_max_bytes;
};

/* As integers stand on the wire. */
void wire_put_u32(uint8_t out[4], uint32_t value);
uint32_t wire_get_u32(const uint8_t in[4]);

/* NULL: not in the table. */
const struct wire_opcode_info *wire_opcode_info(uint8_t opcode);

/* A header in host order. Wire bytes are never cast to it. */
struct mcp_header {
    uint8_t version;
    uint8_t opcode;
    uint32_t session_id;
    uint32_t length; /* of the payload */
};

void wire_header_encode(const struct mcp_header *h, uint8_t out[WIRE_HEADER_BYTES]);
/* Any ten bytes decode; what they may say is wire/conn.h's business. */
struct mcp_header wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES]);

/* Append to `out`; false as buf_append, or where the payload is over 4 GiB. The header alone is for
 * payloads that follow on their own way. */
bool wire_header_append(struct buf *out, enum wire_opcode opcode, uint32_t session, size_t length);
bool wire_frame_append(struct buf *out, enum wire_opcode opcode, uint32_t session,
                       struct slice payload);

#endif
