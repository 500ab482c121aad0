/* SPDX-License-Identifier: Apache-2.0 */
/* The memory all request bodies of the process share (`limits.body_memory`). Any thread. */
#ifndef MCP_GATEWAY_BODY_MEMORY_H
#define MCP_GATEWAY_BODY_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct body_memory {
    _Atomic uint64_t limit_bytes;
    _Atomic uint64_t held_bytes;
};

#define BODY_MEMORY_FULL_TEXT "the memory for request bodies is used up"

/* Takes `n` more bytes; false: the limit is reached (counted). */
bool body_memory_take(struct body_memory *m, size_t n);
void body_memory_give(struct body_memory *m, size_t n);

#endif
