/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked lists, typed by macro: LIST_DECLARE(conn_list, struct conn, link) makes
 * `struct conn_list` and conn_list_push/pop/remove/first/next, so that the wrong list does not
 * compile. An element embeds `struct list_link link`; zeroed means "on no list". */
#ifndef MCP_BASE_LIST_H
#define MCP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct list_link {
    struct list_link *prev;
    struct list_link *next;
};

#define LIST_DECLARE(list, type, member)                                                           \
    struct list {                                                                                  \
        struct list_link ends; /* ends.next: first, ends.prev: last; zeroed: empty */              \
        size_t count;                                                                              \
    };                                                                                             \
    static inline __attribute__((unused)) type *list##_of(struct list_link *l)                     \
    {                                                                                              \
        return l == NULL ? NULL : (type *)(void *)((char *)l - offsetof(type, member));            \
    }                                                                                              \
    static inline __attribute__((unused)) bool list##_has(const type *e)                           \
    {                                                                                              \
        return e->member.next != NULL;                                                             \
    }                                                                                              \
    static inline __attribute__((unused)) void list##_push(struct list *l, type *e)                \
    {                                                                                              \
        if (l->ends.next == NULL) {                                                                \
            l->ends.next = l->ends.prev = &l->ends;                                                \
        }                                                                                          \
        ASSERT(e->member.next == NULL);                                                            \
        e->member.prev = l->ends.prev;                                                             \
        e->member.next = &l->ends;                                                                 \
        l->ends.prev->next = &e->member;                                                           \
        l->ends.prev = &e->member;                                                                 \
        l->count++;                                                                                \
    }                                                                                              \
    static inline __attribute__((unused)) void list##_remove(struct list *l, type *e)              \
    {                                                                                              \
        ASSERT(e->member.next != NULL && l->count > 0);                                            \
        e->member.prev->next = e->member.next;                                                     \
        e->member.next->prev = e->member.prev;                                                     \
        e->member.prev = e->member.next = NULL;                                                    \
        l->count--;                                                                                \
    }                                                                                              \
    static inline __attribute__((unused)) type *list##_first(const struct list *l)                 \
    {                                                                                              \
        return l->count == 0 ? NULL : list##_of(l->ends.next);                                     \
    }                                                                                              \
    static inline __attribute__((unused)) type *list##_last(const struct list *l)                  \
    {                                                                                              \
        return l->count == 0 ? NULL : list##_of(l->ends.prev);                                     \
    }                                                                                              \
    static inline __attribute__((unused)) type *list##_next(const struct list *l, const type *e)   \
    {                                                                                              \
        return e->member.next == &l->ends ? NULL : list##_of(e->member.next);                      \
    }                                                                                              \
    static inline __attribute__((unused)) type *list##_pop(struct list *l)                         \
    {                                                                                              \
        type *e = list##_first(l);                                                                 \
        if (e != NULL) {                                                                           \
            list##_remove(l, e);                                                                   \
        }                                                                                          \
        return e;                                                                                  \
    }                                                                                              \
    struct list

#endif
