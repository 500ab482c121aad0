/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MCP_REACTOR_CHOICE_H
#define MCP_REACTOR_CHOICE_H

#include "reactor/loop.h"
#include "reactor/uring.h"

struct backend_ops;

/* As loop_choose, with what AUTO begins with and on that kernel; NULL: it cannot be had. */
const struct backend_ops *choice_of(enum loop_backend wanted, bool prefers_uring,
                                    const struct uring_sys *uring, char why[LOOP_WHY_MAX]);

#endif
