/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: recordings of traffic (docs/recording.md). What is read comes out in order,
 * each request once, and of models and tenants that are known. Input: lines. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "farm/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct farm_trace *t)
{
    struct farm_trace_source s = {.trace = t, .speed = 0.001};
    struct farm_request q;
    uint64_t before_us = 1;
    size_t count = 0;

    for (; farm_trace_next(&s, &q); count++) {
        ASSERT(q.due_us >= before_us && q.model < farm_trace_models(t));
        ASSERT(q.tenant_number < farm_trace_tenants(t) && q.prefix_count <= SCHED_PREFIX_MAX);
        before_us = q.due_us;
    }
    ASSERT(count == farm_trace_requests(t) && count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct farm_trace *t = farm_trace_new();
    struct slice rest = slice_of(data, size);
    int rc = MCP_OK;

    while (rest.len > 0 && rc == MCP_OK) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);

        rc = farm_trace_add(t, slice_first(rest, len), NULL);
        rest = slice_skip(rest, end == NULL ? len : len + 1);
    }
    if (rc == MCP_OK && farm_trace_ready(t, NULL) == MCP_OK) {
        check(t);
    }
    farm_trace_free(&t);
    return 0;
}
