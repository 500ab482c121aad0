/* SPDX-License-Identifier: Apache-2.0 */
/* A message of DNS: whatever it is, it is read within its bounds, and reading it again finds the
 * same. */
#include "reactor/dns.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "mcp/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t addresses(struct slice message, const char *owner)
{
    struct dns_found f = {.ttl_s = UINT32_MAX};
    char text[ADDR_TEXT_MAX];
    int rv = dns_read_addresses(message, owner, 1, &f);
    size_t count = f.count;

    ASSERT(rv == MCP_OK || rv == MCP_EBAD_REQUEST);
    ASSERT(count <= DNS_FOUND_MAX);
    for (size_t i = 0; i < count; i++) {
        addr_format(&f.at[i], text);
    }
    dns_found_fini(&f);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice message = slice_of(data, size);
    struct dns_service s;
    uint32_t ttl_s = UINT32_MAX;
    size_t count = 0;

    if (size > UINT16_MAX) {
        return 0; /* there are none so long */
    }
    ASSERT(addresses(message, NULL) == addresses(message, NULL));
    while (dns_read_service(message, count, &s, &ttl_s)) {
        ASSERT(s.port > 0 && s.port <= UINT16_MAX && s.target[0] != '\0');
        (void)addresses(message, s.target);
        if (++count == 16) {
            break;
        }
    }
    return 0;
}
