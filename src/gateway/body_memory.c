/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/body_memory.h"

#include "base/check.h"
#include "base/counter.h"

bool body_memory_take(struct body_memory *m, size_t n)
{
    /* Relaxed: nothing but the number itself is shared. */
    uint64_t before = atomic_fetch_add_explicit(&m->held_bytes, n, memory_order_relaxed);

    if (before + n > atomic_load_explicit(&m->limit_bytes, memory_order_relaxed)) {
        (void)atomic_fetch_sub_explicit(&m->held_bytes, n, memory_order_relaxed);
        counter_add(COUNTER_BODY_MEMORY_REFUSED, 1);
        return false;
    }
    counter_add(COUNTER_BODY_BYTES, (int64_t)n);
    return true;
}

void body_memory_give(struct body_memory *m, size_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(&m->held_bytes, n, memory_order_relaxed);

    ASSERT(before >= n);
    counter_add(COUNTER_BODY_BYTES, -(int64_t)n);
}
