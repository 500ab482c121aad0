/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any body said to be zstd. It is refused with a text, or what it holds is within
 * the limit. Input: the limit in units of 16 bytes, then the body. */
#include <stdint.h>

#include "base/check.h"
#include "codec/zstd_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = {0};
    struct err e = {0};
    size_t limit;
    int rv;

    if (size == 0) {
        return 0;
    }
    limit = (size_t)data[0] * 16;
    rv = zstd_body_read(slice_of(data + 1, size - 1), limit, &out, &e);
    ASSERT(rv == MCP_OK || rv == MCP_EBAD_REQUEST || rv == MCP_ETOO_LARGE);
    ASSERT(rv == MCP_OK ? buf_len(&out) <= limit : e.text[0] != '\0');
    buf_fini(&out);
    return 0;
}
