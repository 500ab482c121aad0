/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/slab.h"

#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(ptr, size) ASAN_POISON_MEMORY_REGION(ptr, size)
#define UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#else
#define POISON(ptr, size) ((void)(ptr), (void)(size))
#define UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

enum { PAGE_BYTES = 16 * 1024, LINE_BYTES = 64, LEAST_BYTES = 16 };

void slab_init(struct slab *slab, size_t size)
{
    size_t unit = size < LINE_BYTES ? LEAST_BYTES : LINE_BYTES;

    *slab = (struct slab){.size = (size + unit - 1) / unit * unit};
}

void slab_fini(struct slab *slab)
{
    void *page = slab->pages, *next;

    for (; page != NULL; page = next) {
        next = *(void **)page;
        UNPOISON(page, PAGE_BYTES);
        free(page);
    }
    *slab = (struct slab){.size = slab->size};
}

static void add_page(struct slab *slab)
{
    char *page = aligned_alloc(LINE_BYTES, PAGE_BYTES);

    if (page == NULL) {
        return;
    }
    *(void **)(void *)page = slab->pages;
    slab->pages = page;
    for (size_t at = LINE_BYTES; at + slab->size <= PAGE_BYTES; at += slab->size) {
        slab_put(slab, page + at);
    }
}

void *slab_get(struct slab *slab)
{
    void *ptr;

    if (slab->free == NULL) {
        add_page(slab);
    }
    ptr = slab->free;
    if (ptr != NULL) {
        UNPOISON(ptr, slab->size);
        slab->free = *(void **)ptr;
        memset(ptr, 0, slab->size);
    }
    return ptr;
}

void slab_put(struct slab *slab, void *ptr)
{
    *(void **)ptr = slab->free;
    slab->free = ptr;
    POISON(ptr, slab->size);
}
