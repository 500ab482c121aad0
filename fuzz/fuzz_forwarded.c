/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the hops of Forwarded and X-Forwarded-For. Whatever was read is written as a
 * value of its own, which must then be read as the same hop. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "http/parse/forwarded.h"

typedef bool (*next_fn)(struct slice *value, struct forwarded_hop *hop);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_read_again(const struct forwarded_hop *hop)
{
    struct forwarded_hop again;
    char ip[IP_TEXT_MAX];
    struct buf b = {0};
    struct slice value;

    ip_format(&hop->ip, ip);
    (void)buf_printf(&b, "for=\"%s\"", hop->kind == FORWARDED_IP ? ip : hop->name);
    value = buf_slice(&b);
    if (!forwarded_next(&value, &again) || again.kind != hop->kind ||
        memcmp(&again.ip, &hop->ip, sizeof(hop->ip)) != 0 || strcmp(again.name, hop->name) != 0) {
        abort();
    }
    buf_fini(&b);
}

static void walk(next_fn next, struct slice value)
{
    struct forwarded_hop hop;
    size_t left = value.len;

    while (next(&value, &hop)) {
        if (value.len >= left) {
            abort(); /* it would never end */
        }
        left = value.len;
        if (hop.kind != FORWARDED_UNKNOWN) {
            must_be_read_again(&hop);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(forwarded_next, slice_of(data, size));
    walk(x_forwarded_for_next, slice_of(data, size));
    return 0;
}
