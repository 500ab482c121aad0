/* SPDX-License-Identifier: Apache-2.0 */
/* A sub reactor on a thread of its own. Everything here is called by the main reactor's thread. */
#ifndef MCP_GATEWAY_SUB_THREAD_H
#define MCP_GATEWAY_SUB_THREAD_H

#include "base/err.h"
#include "gateway/sub.h"

struct sub_thread;

/* Starts the thread and makes its loop; nothing runs on it yet. While the main loop does not run.
 * NULL with the error. `leader` is the main reactor's registry; `o` may go afterwards. Once the sub
 * reactor is drained o->on_drained is called on the main reactor's loop; its own goes on. */
struct sub_thread *sub_thread_new(struct sub *s, struct nodes *leader, const struct sub_options *o,
                                  struct err *e);
/* Its loop runs from now on. */
void sub_thread_start(struct sub_thread *t);
/* sub_drain, on its thread. */
void sub_thread_drain(struct sub_thread *t);
/* Ends the thread with its loop and all that is on it: one that was never started, or is drained.
 * The sub's counters stay. */
void sub_thread_free(struct sub_thread **t);

#endif
