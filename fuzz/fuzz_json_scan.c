/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: every text is read by the scanner and by yyjson, and both must read the same.
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -D_GNU_SOURCE -Isrc
 *     -Iinclude -Itests/unit/base fuzz/fuzz_json_scan.c tests/unit/base/json_oracle.c
 * src/base/json_*.c src/base/buf.c src/base/check.c -lyyjson */
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
