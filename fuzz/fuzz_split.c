/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a stream gives the same parts however it is cut, and each part can be read as
 * an event. The first three bytes: NDJSON or SSE, size of the first piece, size of the others. */
#include <stdint.h>
#include <stdlib.h>

#include "http/parse/sse.h"
#include "same.h"
#include "trace.h"

enum { PART_BYTES_MAX = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf cut = {0};
    struct sse_event ev;
    enum split_kind kind;
    struct slice in;

    if (size < 3) {
        return 0;
    }
    kind = (data[0] & 1) != 0 ? SPLIT_SSE : SPLIT_NDJSON;
    in = slice_of(data + 3, size - 3);
    split_trace(&whole, kind, PART_BYTES_MAX, in, (struct cuts){in.len, 0});
    split_trace(&cut, kind, PART_BYTES_MAX, in, (struct cuts){data[1], data[2]});
    must_be_same(&whole, &cut);
    if (!sse_event_read(in, &cut, &ev)) {
        abort();
    }
    buf_fini(&cut);
    return 0;
}
