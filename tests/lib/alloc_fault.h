/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations that fail on demand. Every unit test is linked with --wrap for malloc, calloc and
 * realloc, so this reaches our own code and nothing inside shared libraries. */
#ifndef MCP_TESTS_ALLOC_FAULT_H
#define MCP_TESTS_ALLOC_FAULT_H

#include <stddef.h>

/* The n-th allocation from now on fails, once; 0: none. Counts anew. */
void alloc_fault_at(size_t n);
/* Allocations since the last alloc_fault_at. */
size_t alloc_fault_count(void);

/* Runs `run(arg)` with the i-th allocation failing, for every i it makes. The clean run comes last.
 */
void alloc_fault_each(void (*run)(void *arg), void *arg);

#endif
