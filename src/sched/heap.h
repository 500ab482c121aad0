/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive pairing heaps, typed by macro: HEAP_DECLARE(flow_heap, struct flow, link, flow_before)
 * makes `struct flow_heap` and flow_heap_push/remove/first. `before(a, b)`: a leaves earlier. An
 * element embeds `struct heap_link link`; a key changes only while it is on no heap. Nothing is
 * allocated, so nothing can fail. */
#ifndef MCP_SCHED_HEAP_H
#define MCP_SCHED_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct heap_link {
    struct heap_link *child;
    struct heap_link *next; /* sibling */
    struct heap_link *prev; /* sibling, or the parent of a first child */
    bool in;
};

#define HEAP_DECLARE(heap, type, member, before)                                                   \
    struct heap {                                                                                  \
        struct heap_link *root;                                                                    \
        size_t count;                                                                              \
    };                                                                                             \
    static inline __attribute__((unused)) type *heap##_of(struct heap_link *l)                     \
    {                                                                                              \
        return l == NULL ? NULL : (type *)(void *)((char *)l - offsetof(type, member));            \
    }                                                                                              \
    static inline __attribute__((unused)) bool heap##_has(const type *e)                           \
    {                                                                                              \
        return e->member.in;                                                                       \
    }                                                                                              \
    static inline __attribute__((unused)) type *heap##_first(const struct heap *h)                 \
    {                                                                                              \
        return heap##_of(h->root);                                                                 \
    }                                                                                              \
    static inline struct heap_link *heap##_meld(struct heap_link *a, struct heap_link *b)          \
    {                                                                                              \
        struct heap_link *t;                                                                       \
                                                                                                   \
        if (before(heap##_of(b), heap##_of(a))) {                                                  \
            t = a;                                                                                 \
            a = b;                                                                                 \
            b = t;                                                                                 \
        }                                                                                          \
        b->prev = a;                                                                               \
        b->next = a->child;                                                                        \
        if (a->child != NULL) {                                                                    \
            a->child->prev = b;                                                                    \
        }                                                                                          \
        a->child = b;                                                                              \
        return a;                                                                                  \
    }                                                                                              \
    /* Two passes: pairs from the left, then all into one from the right. */                       \
    static inline struct heap_link *heap##_join(struct heap_link *first)                           \
    {                                                                                              \
        struct heap_link *pairs = NULL, *a, *b;                                                    \
                                                                                                   \
        while (first != NULL) {                                                                    \
            a = first;                                                                             \
            b = a->next;                                                                           \
            first = b == NULL ? NULL : b->next;                                                    \
            a->next = a->prev = NULL;                                                              \
            if (b != NULL) {                                                                       \
                b->next = b->prev = NULL;                                                          \
                a = heap##_meld(a, b);                                                             \
            }                                                                                      \
            a->next = pairs;                                                                       \
            pairs = a;                                                                             \
        }                                                                                          \
        while (pairs != NULL && pairs->next != NULL) {                                             \
            a = pairs;                                                                             \
            b = a->next;                                                                           \
            pairs = b->next;                                                                       \
            a->next = b->next = NULL;                                                              \
            a = heap##_meld(a, b);                                                                 \
            a->next = pairs;                                                                       \
            pairs = a;                                                                             \
        }                                                                                          \
        return pairs;                                                                              \
    }                                                                                              \
    static inline __attribute__((unused)) void heap##_push(struct heap *h, type *e)                \
    {                                                                                              \
        struct heap_link *l = &e->member;                                                          \
                                                                                                   \
        ASSERT(!l->in);                                                                            \
        *l = (struct heap_link){.in = true};                                                       \
        h->root = h->root == NULL ? l : heap##_meld(h->root, l);                                   \
        h->count++;                                                                                \
    }                                                                                              \
    static inline __attribute__((unused)) void heap##_remove(struct heap *h, type *e)              \
    {                                                                                              \
        struct heap_link *l = &e->member, *rest;                                                   \
                                                                                                   \
        ASSERT(l->in && h->count > 0);                                                             \
        if (l != h->root) {                                                                        \
            if (l->prev->child == l) {                                                             \
                l->prev->child = l->next;                                                          \
            } else {                                                                               \
                l->prev->next = l->next;                                                           \
            }                                                                                      \
            if (l->next != NULL) {                                                                 \
                l->next->prev = l->prev;                                                           \
            }                                                                                      \
        }                                                                                          \
        rest = heap##_join(l->child);                                                              \
        if (l == h->root) {                                                                        \
            h->root = rest;                                                                        \
        } else if (rest != NULL) {                                                                 \
            h->root = heap##_meld(h->root, rest);                                                  \
        }                                                                                          \
        *l = (struct heap_link){0};                                                                \
        h->count--;                                                                                \
    }                                                                                              \
    struct heap

#endif
