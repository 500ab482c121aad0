/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/zstd_body.h"

#include <stdbool.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { WINDOW_LOG_MAX = 25 };

static int failed(size_t rv, struct err *e)
{
    switch (ZSTD_getErrorCode(rv)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        return err_set(e, MCP_ETOO_LARGE, "the zstd body needs too large a window");
    case ZSTD_error_memory_allocation:
        return err_set(e, MCP_ENOMEM, "out of memory");
    default:
        return err_set(e, MCP_EBAD_REQUEST, "the body is not zstd: %s", ZSTD_getErrorName(rv));
    }
}

static int decode(ZSTD_DCtx *decoder, struct slice body, size_t max_bytes, struct buf *out,
                  struct err *e)
{
    ZSTD_inBuffer in = {.src = body.ptr, .size = body.len};
    size_t before = buf_len(out);
    size_t room = ZSTD_DStreamOutSize();
    size_t rv;

    do {
        ZSTD_outBuffer step = {.dst = buf_reserve(out, room), .size = room};

        if (step.dst == NULL) {
            return err_set(e, MCP_ENOMEM, "out of memory");
        }
        rv = ZSTD_decompressStream(decoder, &step, &in);
        if (ZSTD_isError(rv)) {
            return failed(rv, e);
        }
        buf_commit(out, step.pos);
        if (buf_len(out) - before > max_bytes) {
            return err_set(e, MCP_ETOO_LARGE, "the zstd body holds more than %zu bytes", max_bytes);
        }
        if (in.pos == in.size && rv != 0 && step.pos < step.size) {
            return err_set(e, MCP_EBAD_REQUEST, "the zstd body is cut short");
        }
    } while (in.pos < in.size || rv != 0);
    return MCP_OK;
}

int zstd_body_read(struct slice body, size_t max_bytes, struct buf *out, struct err *e)
{
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    size_t rv;
    int result;

    if (decoder == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rv = ZSTD_DCtx_setParameter(decoder, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    result = ZSTD_isError(rv) ? failed(rv, e) : decode(decoder, body, max_bytes, out, e);
    (void)ZSTD_freeDCtx(decoder); /* always 0 */
    return result;
}
