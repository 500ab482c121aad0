/* SPDX-License-Identifier: Apache-2.0 */
/* What the halves of the book of routes share: route_book.c, and route_book_text.c, which writes
 * and reads it as JSON. */
#ifndef MCP_GATEWAY_ROUTE_BOOK_INTERNAL_H
#define MCP_GATEWAY_ROUTE_BOOK_INTERNAL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "gateway/route_book.h"
#include "sched/route.h"

struct route_entry {
    uint64_t id; /* 0: of a set that is not in use yet */
    char *name;
    char *models[MODEL_ROUTE_ARMS_MAX];
    uint64_t window_ms;
    struct model_route route;
};

struct route_set {
    struct route_entry *entries;
    size_t count;
};

struct route_book {
    struct loop *loop;
    loop_cb changed;
    void *owner;
    pthread_mutex_t lock; /* guards the rest */
    uint64_t last_id;
    struct route_set set;
};

/* By the values of their enums. */
extern const char *const route_state_names[MODEL_ROUTE_ROLLED_BACK + 1];
extern const char *const route_why_names[MODEL_ROUTE_WHY_FIRST_PART + 1];

/* NULL: there is none of that name. */
struct route_entry *route_set_find(struct route_set *s, struct slice name);
/* The arm of that model; MODEL_ROUTE_NO_ARM: none. */
size_t route_entry_arm(const struct route_entry *en, struct slice model);

#endif
