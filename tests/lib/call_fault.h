/* SPDX-License-Identifier: Apache-2.0 */
/* System calls of a loop that go wrong on demand: give call_fault_sys to loop_new_on. epoll_ctl,
 * which is not in that table, is taken from the C library for a program that uses this. On io_uring
 * requests go wrong too: one that shall fail is replaced, before the kernel has it, by one that
 * does nothing and completes with the error. */
#ifndef MCP_TESTS_CALL_FAULT_H
#define MCP_TESTS_CALL_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "reactor/backend.h"

enum call_fault {
    CALL_FAULT_SHORT, /* one byte of a recv or sendmsg */
    CALL_FAULT_EAGAIN,
    CALL_FAULT_EINTR,
    CALL_FAULT_ECONNRESET, /* and what connect and accept4 say in its place */
    CALL_FAULT_ENOMEM,     /* and no descriptor for accept4 */
    CALL_FAULT_COUNT
};

extern const struct loop_sys call_fault_sys;

/* The n-th call from now on goes wrong, if that call can; 0: none. Counts anew. */
void call_fault_at(enum call_fault fault, size_t n);
/* Calls since then. */
size_t call_fault_count(void);
/* One went wrong in a way that may end a connection. */
bool call_fault_was_fatal(void);

#endif
