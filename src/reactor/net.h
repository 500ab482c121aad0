/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the kernel, for the backends that use them. All return 0 (or a descriptor) or -errno.
 */
#ifndef MCP_REACTOR_NET_H
#define MCP_REACTOR_NET_H

#include <stdbool.h>

#include "reactor/addr.h"

/* A non-blocking stream socket for that family, TCP_NODELAY set. */
int net_socket(int family);
int net_listen(const struct addr *at, struct addr *bound);
int net_set_nonblocking(int fd);
void net_peer(int fd, struct addr *peer);
size_t net_unacked(int fd);
/* The error pending on the socket, cleared by asking; 0: none. */
int net_error(int fd);
void net_close(int fd, bool reset);

#endif
