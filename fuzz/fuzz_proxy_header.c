/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: a PROXY header is the same however much of it is there at first, and is never
 * longer than what is kept of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, cut;
    struct err e = {0}, cut_e = {0};
    ptrdiff_t used = proxy_header_read(slice_of(data, size), &whole, &e), n = 0;

    for (size_t len = 0; n == 0 && len <= size; len++) {
        n = proxy_header_read(slice_of(data, len), &cut, &cut_e);
    }
    if (n != used || used > (ptrdiff_t)size || used > PROXY_HEADER_BYTES_MAX ||
        (used == 0 && size >= PROXY_HEADER_BYTES_MAX)) {
        abort();
    }
    if (used > 0 && (whole.names_client != cut.names_client || whole.port != cut.port ||
                     memcmp(&whole.ip, &cut.ip, sizeof(whole.ip)) != 0)) {
        abort();
    }
    if (used < 0 && strcmp(e.text, cut_e.text) != 0) {
        abort();
    }
    return 0;
}
