/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a stream of HTTP responses gives the same events however it is cut. The first
 * two bytes say how: size of the first piece (odd: it answers a HEAD), size of the others. */
#include <stdint.h>

#include "same.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf cut = {0};
    struct slice in;
    bool no_body;

    if (size < 2) {
        return 0;
    }
    in = slice_of(data + 2, size - 2);
    no_body = (data[0] & 1) != 0;
    http_trace(&whole, HTTP_PARSE_RESPONSES, no_body, in, (struct cuts){in.len, 0});
    http_trace(&cut, HTTP_PARSE_RESPONSES, no_body, in, (struct cuts){data[0], data[1]});
    must_be_same(&whole, &cut);
    return 0;
}
