/* SPDX-License-Identifier: Apache-2.0 */
/* Received bytes that stay where they are for as long as somebody refers to them, so that they can
 * be sent on from there. A lease belongs to the backend, which counts as one who refers to it while
 * it hands the bytes over. One thread. */
#ifndef MCP_REACTOR_LEASE_H
#define MCP_REACTOR_LEASE_H

#include "base/slice.h"

struct lease {
    unsigned refs;
    void (*over)(struct lease *l); /* nobody is left: the memory may be received into again */
};

/* What is being handed over; without a lease it goes when that is done. */
struct leased {
    struct slice bytes;
    struct lease *lease;
};

static inline void lease_take(struct lease *l)
{
    l->refs++;
}

static inline void lease_give(struct lease *l)
{
    if (--l->refs == 0) {
        l->over(l);
    }
}

#endif
