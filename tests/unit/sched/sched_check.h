/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a scheduler between any two calls, found by walking all of it: counts, sums,
 * who stands where, and that each index gives what a plain search gives. Ends the process by
 * ASSERT where something does not hold. */
#ifndef MCP_TESTS_SCHED_CHECK_H
#define MCP_TESTS_SCHED_CHECK_H

#include "sched/sched.h"

void sched_check(struct sched *s);
/* Before the request arrives: the node that would be chosen is the one that a search over all of
 * them finds. */
void sched_check_choice(struct sched *s, const struct sched_job *job);

#endif
