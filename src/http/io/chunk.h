/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before the bytes of a chunk. */
#ifndef MCP_HTTP_IO_CHUNK_H
#define MCP_HTTP_IO_CHUNK_H

#include "base/slice.h"

enum { HTTP_CHUNK_BEGIN_BYTES = 2 * sizeof(size_t) + 2 };

/* The size's line, in `room`. */
static inline struct slice http_chunk_begin(char room[HTTP_CHUNK_BEGIN_BYTES], size_t size)
{
    size_t at = HTTP_CHUNK_BEGIN_BYTES;

    room[--at] = '\n';
    room[--at] = '\r';
    do {
        room[--at] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size > 0);
    return slice_of(room + at, HTTP_CHUNK_BEGIN_BYTES - at);
}

#endif
