/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: every text is read by the scanner and by yyjson, and both must read the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "json_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *difference = json_oracle_difference(slice_of(data, size));

    if (difference != NULL) {
        (void)fprintf(stderr, "reads differently from yyjson: %s\n", difference);
        abort();
    }
    return 0;
}
