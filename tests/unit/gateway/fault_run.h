/* SPDX-License-Identifier: Apache-2.0 */
/* One request on each face of the whole gateway, again and again, with the i-th system call or the
 * i-th allocation going wrong, for every i: of the client's and the node's ends too, which are on
 * the same loop. What happens in good health changes no byte of the answer; whatever else happens
 * comes to an end, says so, and is over with it. */
#ifndef MCP_TESTS_FAULT_RUN_H
#define MCP_TESTS_FAULT_RUN_H

#include <stdbool.h>

#include "reactor/backend.h"

/* As a program's main, on that backend. `calls_only`: no allocations, and only what differs there.
 */
int fault_run(const char *name, const struct backend_ops *on, bool calls_only);

#endif
