/* SPDX-License-Identifier: Apache-2.0 */
/* How many share what never changes any more: a count beside it, and whoever leaves last frees it.
 * Any thread. */
#ifndef MCP_NODE_USERS_H
#define MCP_NODE_USERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* Of one; NULL: out of memory. */
static inline _Atomic size_t *users_new(void)
{
    _Atomic size_t *users = malloc(sizeof(*users));

    if (users != NULL) {
        atomic_init(users, 1);
    }
    return users;
}

/* `users` may be NULL: there is nothing to share. */
static inline void users_join(_Atomic size_t *users)
{
    if (users != NULL) {
        (void)atomic_fetch_add_explicit(users, 1, memory_order_relaxed);
    }
}

/* True: the last, and the count is freed; also where it is NULL and nobody else can have it.
 * Acquire and release: who frees sees that the others are done. */
static inline bool users_leave(_Atomic size_t *users)
{
    if (users != NULL && atomic_fetch_sub_explicit(users, 1, memory_order_acq_rel) > 1) {
        return false;
    }
    free(users);
    return true;
}

#endif
