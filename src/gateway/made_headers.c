/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/made_headers.h"

#include <string.h>

#include "gateway/exchange.h"

/* Version, trace id, parent id and flags, as W3C's Trace Context has them. */
enum { TRACEPARENT_BYTES = 55 };

static bool is_traceparent(struct slice value)
{
    if (value.len != TRACEPARENT_BYTES) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        bool is_good = i == 2 || i == 35 || i == 52
                           ? value.ptr[i] == '-'
                           : memchr("0123456789abcdef", value.ptr[i], 16) != NULL;

        if (!is_good) {
            return false;
        }
    }
    return true;
}

/* Empty: none, or not that: then the node begins a trace of its own. */
static struct slice traceparent(const struct exchange *x)
{
    struct slice quoted = x->native && x->body_is_json ? x->request.mcp.traceparent : SLICE("");
    struct slice value = quoted.len < 2 ? SLICE("") : slice_of(quoted.ptr + 1, quoted.len - 2);

    return is_traceparent(value) ? value : SLICE("");
}

size_t made_headers(const struct exchange *x, struct http_header headers[MADE_HEADERS_MAX])
{
    struct slice parent = traceparent(x);
    size_t count = 0;

    headers[count++] = (struct http_header){SLICE("Content-Type"), SLICE("application/json")};
    headers[count++] = (struct http_header){SLICE("X-Request-Id"), slice_str(x->id)};
    if (parent.len > 0) {
        headers[count++] = (struct http_header){SLICE("traceparent"), parent};
    }
    return count;
}
