/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/block.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static atomic_size_t calls;
static atomic_size_t failing;

void alloc_fault_at(size_t n)
{
    if (n > 0) {
        /* What is kept for reuse would stand in for the one that fails. */
        blocks_set_keeping(false);
        blocks_release();
    }
    atomic_store(&calls, 0);
    atomic_store(&failing, n);
}

size_t alloc_fault_count(void)
{
    return atomic_load(&calls);
}

static bool fails(void)
{
    bool now = atomic_fetch_add(&calls, 1) + 1 == atomic_load(&failing);

    if (now) {
        errno = ENOMEM;
    }
    return now;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return fails() ? NULL : __real_realloc(ptr, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

void alloc_fault_each(void (*run)(void *arg), void *arg)
{
    bool reached = true;

    for (size_t i = 1; reached; i++) {
        alloc_fault_at(i);
        run(arg);
        reached = alloc_fault_count() >= i;
    }
    alloc_fault_at(0);
}
