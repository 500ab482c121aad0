/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a test, and running it until something holds. The test's own fixture makes and frees
 * it. Allocates nothing, so that failing allocations hit the code under test. */
#ifndef MCP_TESTS_LIB_LOOP_FIXTURE_H
#define MCP_TESTS_LIB_LOOP_FIXTURE_H

#include <stdbool.h>

#include "reactor/addr.h"
#include "reactor/loop.h"

extern struct loop *loop;

typedef bool (*condition_fn)(void *arg);
/* Runs the loop until the condition holds, which is looked at every millisecond; fails after 10 s.
 */
void run_until(condition_fn condition, void *arg);
/* Runs it for that long, without anything that would wake it in between. */
void run_for_ms(unsigned ms);
/* Exactly `n` turns. */
void run_turns(unsigned n);

/* A listening TCP socket on loopback; its address. */
int listen_local(struct addr *at);
/* The two ends of a TCP connection, blocking. */
void tcp_pair(int fds[2]);

#endif
