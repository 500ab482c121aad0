/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a stream of HTTP requests gives the same events however it is cut. The first
 * two bytes say how: size of the first piece, size of the others. */
#include <stdint.h>

#include "same.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf cut = {0};
    struct slice in;

    if (size < 2) {
        return 0;
    }
    in = slice_of(data + 2, size - 2);
    http_trace(&whole, HTTP_PARSE_REQUESTS, false, in, (struct cuts){in.len, 0});
    http_trace(&cut, HTTP_PARSE_REQUESTS, false, in, (struct cuts){data[0], data[1]});
    must_be_same(&whole, &cut);
    return 0;
}
