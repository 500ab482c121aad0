/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on a loop. Unix socket paths left behind by a dead process are removed first,
 * live ones are not. When descriptors run out, or only a reserve for other things is left (a
 * quarter, 1024 at most), accepting pauses until there are more and is counted
 * (COUNTER_ACCEPT_FAILED). TCP keep-alive finds clients that vanished within two minutes. */
#ifndef MCP_REACTOR_LISTENER_H
#define MCP_REACTOR_LISTENER_H

#include "base/err.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

struct listener;

/* A connection came; `fd` now belongs to the callback (non-blocking, close-on-exec, TCP_NODELAY
 * and keep-alive set). */
typedef void (*listener_cb)(void *owner, int fd, const struct addr *peer);

/* NULL with the error: MCP_ENOMEM, or MCP_ECONNECT and why the kernel refuses. Address in use names
 * the process that holds it where /proc lets us see: "127.0.0.1:8080 is in use by llama-server (pid
 * 123)". */
struct listener *listener_new(struct loop *loop, const struct addr *at, listener_cb cb, void *owner,
                              struct err *e);
/* Stops accepting and closes; removes its unix path. */
void listener_free(struct listener **l);
/* For those who look after the process: it takes connections from the reserve too, and holds a few
 * descriptors that it gives up for one when there is no other. */
void listener_keep_reachable(struct listener *l);
/* Where it listens, port 0 resolved. */
const struct addr *listener_addr(const struct listener *l);

#endif
