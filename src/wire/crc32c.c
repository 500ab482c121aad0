/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/crc32c.h"

#include <isa-l/crc.h>

enum { STEP_BYTES_MAX = 1 << 30 }; /* ISA-L counts in int */

uint32_t wire_crc32c(uint32_t crc, struct slice bytes)
{
    /* ISA-L inverts neither at the beginning nor at the end, CRC32C does both. */
    crc = ~crc;
    while (bytes.len > 0) {
        struct slice step = slice_first(bytes, STEP_BYTES_MAX);

        /* It only reads, but does not say so. */
        crc = crc32_iscsi((unsigned char *)(uintptr_t)step.ptr, (int)step.len, crc);
        bytes = slice_skip(bytes, step.len);
    }
    return ~crc;
}

void wire_crc32c_encode(uint32_t crc, uint8_t out[WIRE_CRC_BYTES])
{
    out[0] = (uint8_t)(crc >> 24);
    out[1] = (uint8_t)(crc >> 16);
    out[2] = (uint8_t)(crc >> 8);
    out[3] = (uint8_t)crc;
}

uint32_t wire_crc32c_decode(const uint8_t in[WIRE_CRC_BYTES])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | (uint32_t)in[3];
}
