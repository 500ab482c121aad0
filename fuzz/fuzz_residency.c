/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: what a node says of the models in its memory. Each is found by its name, what
 * is shared is the same, and what cannot be read changes nothing. Input: two answers with a NUL
 * between them. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "mcp/error.h"
#include "node/residency.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct residency *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct resident_model *m = &r->models[i];

        ASSERT(strlen(m->name) <= m->name_len);
        ASSERT(residency_find(r, slice_of(m->name, m->name_len)) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice first = slice_of(data, size);
    struct slice second = SLICE("");
    const char *end = size == 0 ? NULL : memchr(data, '\0', size);
    struct residency one = {0}, two = {0};

    if (end != NULL) {
        second = slice_skip(first, (size_t)(end - first.ptr) + 1);
        first = slice_first(first, (size_t)(end - first.ptr));
    }
    if (residency_read(&one, first) == MCP_OK) {
        ASSERT(slice_eq(buf_slice(&one.body), first));
        check(&one);
    }
    residency_share(&two, &one);
    ASSERT(two.count == one.count);
    if (residency_read(&one, second) != MCP_OK) {
        ASSERT(two.count == one.count && two.models == one.models);
    }
    residency_fini(&one);
    check(&two);
    residency_fini(&two);
    return 0;
}
