/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/server_timing.h"

#include <inttypes.h>
#include <stdio.h>

#include "gateway/exchange.h"
#include "gateway/sub.h"

static size_t append(char *out, size_t at, const char *name, uint64_t us)
{
    int n = snprintf(out + at, SERVER_TIMING_MAX - at, "%s%s;dur=%" PRIu64 ".%03u",
                     at == 0 ? "" : ", ", name, us / 1000, (unsigned)(us % 1000));

    return n < 0 || (size_t)n >= SERVER_TIMING_MAX - at ? at : at + (size_t)n;
}

static uint64_t between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

struct slice server_timing(const struct exchange *x, char out[SERVER_TIMING_MAX])
{
    uint64_t all_us = between(x->received_us, loop_clock_us(x->sub->loop));
    uint64_t elsewhere_us = 0;
    size_t len = 0;

    if (x->sent_us > 0) {
        uint64_t queue_us = between(x->received_us, x->sent_us);
        uint64_t node_us = between(x->sent_us, exchange_read_us(x));

        elsewhere_us = queue_us + node_us;
        len = append(out, len, "queue", queue_us);
        if (x->load_us > 0) {
            len = append(out, len, "load", x->load_us);
        }
        len = append(out, len, "node", node_us);
    }
    len = append(out, len, "gateway", between(elsewhere_us, all_us));
    return slice_of(out, len);
}
