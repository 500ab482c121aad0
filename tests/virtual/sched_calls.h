/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what the gateway asks its scheduler: the linker puts these functions in between. */
#ifndef MCP_TEST_VIRTUAL_SCHED_CALLS_H
#define MCP_TEST_VIRTUAL_SCHED_CALLS_H

#include <stddef.h>

struct sched_calls {
    size_t arrive, leave, started;
    size_t tickets; /* that were given, */
    size_t refused; /* and those of them that a decision ended */
};

/* Since the program began, unless somebody sets them. */
extern struct sched_calls sched_calls;

#endif
