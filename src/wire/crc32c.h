/* SPDX-License-Identifier: Apache-2.0 */
/* CRC32C (Castagnoli) as it stands behind the frames of a connection with the feature `crc32c`:
 * over header and payload, 4 bytes, big-endian, counted in the header's length. Pure, any thread.
 */
#ifndef MCP_WIRE_CRC32C_H
#define MCP_WIRE_CRC32C_H

#include <stdint.h>

#include "base/slice.h"

enum { WIRE_CRC_BYTES = 4 };

/* The CRC of what `crc` is the CRC of, followed by `bytes`; that of nothing is 0. */
uint32_t wire_crc32c(uint32_t crc, struct slice bytes);
/* As it stands behind a frame. */
void wire_crc32c_encode(uint32_t crc, uint8_t out[WIRE_CRC_BYTES]);
uint32_t wire_crc32c_decode(const uint8_t in[WIRE_CRC_BYTES]);

#endif
