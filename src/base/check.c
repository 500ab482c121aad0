/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_failed(const char *cond, const char *file, int line, const char *func)
{
    (void)fprintf(stderr, "mcpgate: bug: %s:%d: %s: %s does not hold\n", file, line, func, cond);
    abort();
}

static void *or_die(void *ptr)
{
    if (ptr == NULL) {
        (void)fprintf(stderr, "mcpgate: out of memory at start-up\n");
        exit(1);
    }
    return ptr;
}

void *xcalloc(size_t count, size_t size)
{
    return or_die(calloc(count, size));
}

char *xstrdup(const char *str)
{
    return or_die(strdup(str));
}
