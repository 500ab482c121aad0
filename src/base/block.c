/* SPDX-License-Identifier: Apache-2.0 */
#include "base/block.h"

#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(ptr, size) ASAN_POISON_MEMORY_REGION(ptr, size)
#define UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#define SANITIZED true
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif
#ifndef POISON
#define POISON(ptr, size) ((void)(ptr), (void)(size))
#define UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

enum { CLASS_COUNT = 9 }; /* 64 bytes to 16 KiB */

struct kept {
    struct kept *next;
};

struct block_class {
    struct kept *first;
    size_t count;
    size_t unused; /* least count since the last trim */
};

static bool keeping = !SANITIZED;
static _Thread_local struct block_class classes[CLASS_COUNT];

static struct kept *pop(size_t index)
{
    struct block_class *c = &classes[index];
    struct kept *k = c->first;

    UNPOISON(k, (size_t)BLOCK_BYTES_MIN << index);
    c->first = k->next;
    c->count--;
    return k;
}

/* CLASS_COUNT: too large for any. */
static size_t class_of(size_t size)
{
    if (size <= BLOCK_BYTES_MIN) {
        return 0;
    }
    return size > BLOCK_BYTES_MAX ? (size_t)CLASS_COUNT
                                  : 58U - (size_t)__builtin_clzll((unsigned long long)(size - 1));
}

size_t block_room(size_t size)
{
    size_t index = class_of(size);

    return index == CLASS_COUNT ? size : (size_t)BLOCK_BYTES_MIN << index;
}

void *block_get(size_t size)
{
    size_t index = class_of(size);
    struct block_class *c;
    void *ptr;

    if (index == CLASS_COUNT) {
        return malloc(size);
    }
    c = &classes[index];
    if (c->first == NULL) {
        return malloc((size_t)BLOCK_BYTES_MIN << index);
    }
    ptr = pop(index);
    if (c->count < c->unused) {
        c->unused = c->count;
    }
    return ptr;
}

void *block_get_zeroed(size_t size)
{
    void *ptr = block_get(size);

    if (ptr != NULL) {
        memset(ptr, 0, size);
    }
    return ptr;
}

void block_take_back(void *ptr, size_t size)
{
    size_t index = class_of(size);
    struct kept *k = ptr;

    if (index == CLASS_COUNT || !keeping ||
        classes[index].count >= ((size_t)BLOCK_CLASS_KEPT_BYTES / BLOCK_BYTES_MIN) >> index) {
        free(ptr);
        return;
    }
    k->next = classes[index].first;
    classes[index].first = k;
    classes[index].count++;
    POISON(ptr, (size_t)BLOCK_BYTES_MIN << index);
}

size_t blocks_kept(void)
{
    size_t bytes = 0;

    for (size_t i = 0; i < CLASS_COUNT; i++) {
        bytes += classes[i].count * ((size_t)BLOCK_BYTES_MIN << i);
    }
    return bytes;
}

static void drop(size_t index, size_t count)
{
    for (; count > 0; count--) {
        free(pop(index));
    }
    classes[index].unused = classes[index].count;
}

void blocks_trim(void)
{
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        drop(i, classes[i].unused);
    }
}

void blocks_release(void)
{
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        drop(i, classes[i].count);
    }
}

void blocks_set_keeping(bool keep)
{
    keeping = keep;
}
