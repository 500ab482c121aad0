/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of our own invariants, on in every build. Peer input can never trip one. */
#ifndef MCP_BASE_CHECK_H
#define MCP_BASE_CHECK_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            check_failed(#cond, __FILE__, __LINE__, __func__);                                     \
        }                                                                                          \
    } while (0)

/* First line after any cast from void *: the object is what it should be. */
#define OBJ_CHECK(ptr, magic_value) ASSERT((ptr) != NULL && (ptr)->magic == (magic_value))

/* Prints one line to stderr and aborts. */
void check_failed(const char *cond, const char *file, int line, const char *func)
    __attribute__((cold, noreturn));

/* calloc that ends the process with one line when memory is out: for start-up only. */
void *xcalloc(size_t count, size_t size) __attribute__((malloc));
char *xstrdup(const char *str);

#endif
